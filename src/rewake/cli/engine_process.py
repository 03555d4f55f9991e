"""The process of `rewake run` and `rewake server`: starts workers, engine and server, reports them, and stops them.

The ports are taken first. Workers are spawned before everything is imported, because importing an app takes longest.
worker_pool.py replaces a worker that crashes; nothing of it shows here. Called by run.py only; imports everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import structlog

from rewake.cli.announce import announce, announce_json_log
from rewake.cli.doorkeeper import gate_of
from rewake.cli.exits import INTERRUPTED
from rewake.cli.logs import configure_logging
from rewake.cli.start_options import StartOptions
from rewake.cli.web import WebPort
from rewake.errors import RewakeError
from rewake.garbage import GC_THRESHOLD

if TYPE_CHECKING:
    from rewake.access.gate import Gate
    from rewake.deployments.app_loader import Loaded
    from rewake.deployments.worker_pool import WorkerPool
    from rewake.disclosure import Sealer
    from rewake.engine import Engine, EngineOptions
    from rewake.server import Server
    from rewake.telemetry import Telemetry

GITIGNORE: Final = "*\n"

SWITCH_INTERVAL_S: Final = 0.0005
"""How long the thread of a query may hold the interpreter before the event loop runs. Python's 5 ms delay callers."""

MISSING_KEY_HINT: Final = (
    "Model calls will fail until it is set. Without a provider, run the scripted one in another terminal: "
    "python -m rewake.testing.models --say hello --port 4010, and set OPENAI_BASE_URL=http://127.0.0.1:4010/v1"
)

log = structlog.get_logger("rewake.cli")


def run_engine(options: StartOptions) -> None:
    """Serve until a signal asks to stop. Raises RewakeError when it cannot start."""
    log_format = configure_logging(options.log_level, options.log_format)
    is_for_people = options.log_format == "auto"
    options = replace(options, log_format=log_format, is_for_people=is_for_people)
    _log_settings(options)
    from rewake.disclosure import hiding
    from rewake.http_server.limits import raise_file_limit
    from rewake.json_records import PATTERNS_VARIABLE
    from rewake.redaction import by_patterns
    from rewake.server import new_event_loop

    raise_file_limit()
    os.environ[PATTERNS_VARIABLE] = json.dumps(options.redact)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(*GC_THRESHOLD)
    # Around the engine: traces of what completes last are sent after it has stopped.
    with (
        hiding(by_patterns(options.redact, "redact")),
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        runner.run(_run(options))


def _log_settings(options: StartOptions) -> None:
    """Log first the settings that the working directory may have made without anybody noticing."""
    from rewake.http_server.origins import is_loopback_address

    if options.settings_file is not None:
        log.info("settings_read", path=str(options.settings_file.resolve()))
    if not is_loopback_address(options.host):
        hint = "Neither port asks who is calling." if options.insecure else "Both ports ask for a token."
        log.warning("listening_beyond_this_machine", host=options.host, hint=hint)
        if options.tls_cert is None:
            log.warning("no_tls", hint="Tokens and data travel in the clear: --tls-cert, or a proxy that ends TLS.")
    if options.otlp_endpoint is not None and not is_loopback_address(urlsplit(options.otlp_endpoint).hostname or ""):
        log.warning("traces_leave_this_machine", otlp_endpoint=options.otlp_endpoint)


async def _run(options: StartOptions) -> None:
    with asked_to_stop(exit_with_stdin=options.exit_with_stdin) as stop:
        async with contextlib.AsyncExitStack() as stack:
            serving = asyncio.ensure_future(_start(options, stack))
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
                await stopping
                log.info("stopping", grace_ms=options.stop_grace)
            else:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
        log.info("stopped")


@contextlib.contextmanager
def asked_to_stop(*, exit_with_stdin: bool) -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set. The second signal ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)
        stop.set()

    for os_signal in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(os_signal, on_signal)
    if exit_with_stdin:
        threading.Thread(target=_wait_for_end_of_stdin, args=(loop, stop), daemon=True).start()
    yield stop


def _wait_for_end_of_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    with contextlib.suppress(RuntimeError):  # The loop is closed: it stopped for another reason.
        loop.call_soon_threadsafe(stop.set)


async def _start(options: StartOptions, stack: contextlib.AsyncExitStack) -> None:
    """Bring everything up; `stack` takes it down in reverse order."""
    from rewake.deployments import provider_keys
    from rewake.engine import Engine
    from rewake.telemetry import Telemetry
    from rewake.telemetry.tracing import tracer_for

    engine_options = _engine_options(options)
    loaded = _load(options)
    app = None if loaded is None else loaded.app
    _make_folder(options.data)
    telemetry = Telemetry(tracer_for(options.data, options.otlp_endpoint))
    engine = Engine(options.data, app, options=engine_options, observer=telemetry)
    gate = _gate(options, engine)
    server = _server(options, engine, telemetry, gate)
    server.bind()
    if options.is_for_people and options.log_format == "json":
        announce_json_log(server.ingress_url, server.admin_url, sys.stderr)
    stack.push_async_callback(server.stop)
    await engine.start()
    telemetry.start()
    stack.push_async_callback(asyncio.to_thread, telemetry.close)  # After the engine: what completes last is sent too.
    stack.push_async_callback(engine.stop)
    pids = _Pids(telemetry)
    web = WebPort(options, server.ingress_url, gate, stack)
    missing_keys: list[str] = []
    if options.app is not None and not options.in_process:
        missing_keys = await _start_workers(options, options.app, engine, pids, web, stack)
    if app is None:  # With an app of its own the engine drives on by itself.
        engine.drive()
    await server.start()
    stack.push_async_callback(server.stop)  # Before the engine: answers are let out while it runs.
    if options.in_process:
        missing_keys = provider_keys.missing_keys()
        if loaded is not None and loaded.web is not None:
            await web.start_here(loaded.web)
    gc.freeze()  # Objects made by imports stay: collections skip them.
    _report_ready(options, engine, server, web, list(pids.alive), missing_keys)
    if options.log_format == "text" and options.live == "auto":
        _start_live_view(engine, server, stack)


def _server(options: StartOptions, engine: Engine, telemetry: Telemetry, gate: Gate | None) -> Server:
    """The ports of the engine, not bound yet."""
    from rewake.http_server.tls import Certificate
    from rewake.server import Server
    from rewake.telemetry import metrics_route
    from rewake.ui import ui_routes

    server = Server(
        engine,
        options.host,
        options.ingress_port,
        options.admin_port,
        drain_s=options.stop_grace / 1_000,
        ingress_concurrency_max=options.open_calls_max,
        ingress_held_bytes_max=options.open_mib_max << 20,
        allowed_hosts=options.allowed_hosts,
        allowed_origins=options.allowed_origins,
        approvals_url=options.approvals_url,
        gate=gate,
        certificate=None if options.tls_cert is None else Certificate(options.tls_cert, options.tls_key),
        admin_routes=[metrics_route(engine, telemetry), *ui_routes(engine, lambda: server.ingress_url)],
    )
    return server


async def _start_workers(
    options: StartOptions, app: str, engine: Engine, pids: _Pids, web: WebPort, stack: contextlib.AsyncExitStack
) -> list[str]:
    """Start the workers of an app, and its web app; returns the missing keys of model providers."""
    from rewake.engine.workers import add_workers

    starting = add_workers(engine, app, workers=options.workers, on_ready=pids.on_ready, on_exit=pids.on_exit)
    workers = asyncio.ensure_future(starting)
    stack.push_async_callback(_cancelled, workers)
    await asyncio.sleep(0)  # The children are spawned now, and import the app while we import the rest.
    if options.reload:
        watching = asyncio.ensure_future(_watch(workers, app, web))
        stack.push_async_callback(_cancelled, watching)
    _import_the_rest()
    pool = await workers
    if pool.has_web:
        web.start()
    return pool.missing_keys


def _gate(options: StartOptions, engine: Engine) -> Gate | None:
    return gate_of(
        options.host,
        insecure=options.insecure,
        require_tokens=options.require_tokens,
        tokens_file=options.tokens_file,
        data=options.data,
        now_ms=engine.now_ms,
    )


def _report_ready(
    options: StartOptions, engine: Engine, server: Server, web: WebPort, worker_pids: list[int], missing_keys: list[str]
) -> None:
    """Log it for programs; show people the addresses and how to call."""
    for variable in missing_keys:
        log.warning("provider_key_missing", variable=variable, hint=MISSING_KEY_HINT)
    log.info(
        "ready",
        pid=os.getpid(),
        ingress_port=server.ingress_port,
        admin_port=server.admin_port,
        **({"web_port": web.port} if web.port else {}),
        worker_pids=worker_pids,
    )
    if options.log_format == "text":
        announce(
            services=engine.services,
            ingress_url=server.ingress_url,
            admin_url=server.admin_url,
            asks_tokens=server.asks_tokens,
            web_url=web.url,
            data=options.data,
            app=options.app,
            worker_pids=worker_pids,
            stream=sys.stderr,
        )


def _start_live_view(engine: Engine, server: Server, stack: contextlib.AsyncExitStack) -> None:
    """Draw it below the log, if the terminal can; it is removed first when stopping."""
    from rewake.cli.reserved_lines import ReservedLines

    if ReservedLines.fit(sys.stderr):
        from rewake.cli.live_view import LiveView

        view = LiveView(engine, sys.stderr, f"{server.admin_url}ui/")
        stack.push_async_callback(_cancelled, asyncio.ensure_future(view.draw_until_cancelled()))


def _make_folder(data: Path) -> None:
    """Make the data folder, which keeps itself out of version control. The store reports errors."""
    from rewake.store.private import make_folder

    if not data.exists():
        with contextlib.suppress(OSError):
            make_folder(data)
            (data / ".gitignore").write_text(GITIGNORE)


def _load(options: StartOptions) -> Loaded | None:
    """Load the app, if it is to run in this process."""
    if options.app is None or not options.in_process:
        return None
    from rewake.deployments.app_loader import load
    from rewake.deployments.slow_imports import reported

    with reported(lambda facts: log.warning("still_importing", app=options.app, **facts)):
        return load(options.app)


def _engine_options(options: StartOptions) -> EngineOptions:
    from rewake.core.model import HandlerOptions
    from rewake.engine import EngineOptions
    from rewake.redaction import by_patterns, on_bytes
    from rewake.streams.files import Bounds

    # The log of streams would hold in the clear what a model says.
    stream_log_mib = options.stream_log_mib if options.encryption_keys is None else 0
    return EngineOptions(
        concurrency_max=options.concurrency,
        waiting_max=options.waiting_max,
        waiting_per_service_max=options.waiting_per_service_max,
        message_bytes_max=options.message_mib_max << 20,
        pause_after_alike=options.pause_after_alike,
        cleanup_interval_ms=options.cleanup_interval,
        query_deadline_ms=options.query_deadline,
        identity_key_file=options.identity_key,
        streams=Bounds(run_bytes=options.stream_run_mib << 20, total_bytes=stream_log_mib << 20),
        stream_url=options.stream_url,
        redacted_headers=frozenset(name.strip().lower() for name in options.redact_headers.split(",")),
        encryption=_sealer(options),
        redact_body=on_bytes(by_patterns(options.redact_bodies, "redact-bodies")),
        defaults=HandlerOptions(
            inactivity_timeout_ms=options.inactivity_timeout,
            abort_timeout_ms=options.abort_timeout,
            journal_retention_ms=options.journal_retention,
            idempotency_retention_ms=options.idempotency_retention,
            workflow_retention_ms=options.workflow_retention,
        ),
    )


def _sealer(options: StartOptions) -> Sealer | None:
    """With the keys, which the workers find where this process does."""
    if options.encryption_keys is None:
        return None
    from rewake.cli.encryption import KEYS_VARIABLE, SUBJECTS_VARIABLE, LateSealer

    os.environ[KEYS_VARIABLE] = options.encryption_keys
    if options.subject_keys is not None:
        os.environ[SUBJECTS_VARIABLE] = options.subject_keys
    return LateSealer(options.encryption_keys, options.subject_keys).read_now()


def _import_the_rest() -> None:
    """Import now what Server.start would import: a fifth of a second."""
    import rewake.admin.app  # noqa: F401


async def _cancelled(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class _Pids:
    """The worker processes that are ready, for the report at the start."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.alive: list[int] = []
        self._telemetry = telemetry

    def on_ready(self, pid: int, _discovery_changed: bool) -> None:
        self._telemetry.on_worker_ready()
        self.alive.append(pid)

    def on_exit(self, pid: int, returncode: int) -> None:
        from rewake.deployments.worker import describe_exit

        self._telemetry.on_worker_exit(describe_exit(returncode))
        if pid in self.alive:
            self.alive.remove(pid)


async def _watch(workers: asyncio.Future[WorkerPool], app: str, web: WebPort) -> None:
    """Reload whenever a Python file beside the app changes, until cancelled.

    Begins while the app is still being imported, so that no change is missed.
    """
    from rewake.deployments.watch import watch_for_changes, watched_folder

    async def reload(changed: set[Path]) -> None:
        log.info("files_changed", files=",".join(sorted(path.name for path in changed)))
        pool = await asyncio.shield(workers)
        try:
            await pool.reload()
            web.reload(has_web=pool.has_web)
        except RewakeError as error:
            log.error("reload_failed", code=error.code.value, reason=error.message, serving="the code from before")

    await watch_for_changes([watched_folder(app)], reload)
