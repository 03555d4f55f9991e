"""What `rewake run` and `rewake server` do: worker, engine and server up, a word on how to call, and down again.

The ports are taken first, and the workers spawned before all is imported, because importing an app takes longest. A
crash of a worker is worker_pool.py's to mend and does not show here. Called by run.py only; imports everything.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from rewake.cli.exits import INTERRUPTED
from rewake.cli.logs import configure_logging
from rewake.cli.start_options import StartOptions
from rewake.cli.web import Web
from rewake.errors import ErrorCode, RewakeError

if TYPE_CHECKING:
    from rewake.access.gate import Gate
    from rewake.deployments.app_loader import Loaded
    from rewake.deployments.worker_pool import WorkerPool
    from rewake.engine import Engine, EngineOptions
    from rewake.server import Server
    from rewake.telemetry import Telemetry

GITIGNORE: Final = "*\n"

SWITCH_INTERVAL_S: Final = 0.0005
"""How long a query's thread may keep the interpreter from the event loop; of Python's own 5 ms callers feel much."""

SLOW_IMPORT_S: Final = 5.0
SLOW_IMPORT_HINT: Final = "If the file starts a server when imported, put that under: if __name__ == '__main__':"
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
    from rewake.http_server.limits import raise_file_limit
    from rewake.server import new_event_loop

    raise_file_limit()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_run(options))


def _log_settings(options: StartOptions) -> None:
    """What a working directory may have set without anybody noticing, before anything else is logged."""
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
    """An event that SIGINT and SIGTERM set. The second one ends the process where it stands."""
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
    from rewake.engine.workers import add_workers
    from rewake.http_server.tls import Certificate
    from rewake.server import Server
    from rewake.telemetry import Telemetry, metrics_route
    from rewake.telemetry.tracing import tracer_for
    from rewake.ui import ui_routes

    loaded = _load(options)
    app = None if loaded is None else loaded.app
    _make_folder(options.data)
    telemetry = Telemetry(tracer_for(options.data, options.otlp_endpoint))
    engine = Engine(options.data, app, options=_engine_options(options), observer=telemetry)
    gate = _gate(options, engine)
    server = Server(
        engine,
        options.host,
        options.ingress_port,
        options.admin_port,
        drain_s=options.stop_grace / 1_000,
        allowed_hosts=options.allowed_hosts,
        allowed_origins=options.allowed_origins,
        approvals_url=options.approvals_url,
        gate=gate,
        certificate=None if options.tls_cert is None else Certificate(options.tls_cert, options.tls_key),
        admin_routes=[metrics_route(engine, telemetry), *ui_routes(engine, lambda: server.ingress_url)],
    )
    server.bind()
    if options.is_for_people and options.log_format == "json":
        announce_json_log(server.ingress_url, server.admin_url, sys.stderr)
    stack.push_async_callback(server.stop)
    await engine.start()
    telemetry.start()
    stack.push_async_callback(asyncio.to_thread, telemetry.close)  # After the engine: what completes last is sent too.
    stack.push_async_callback(engine.stop)
    pids = _Pids(telemetry)
    web = Web(options, server.ingress_url, gate, stack)
    missing_keys: list[str] = []
    if options.app is not None and not options.in_process:
        starting = add_workers(
            engine, options.app, workers=options.workers, on_ready=pids.on_ready, on_exit=pids.on_exit
        )
        workers = asyncio.ensure_future(starting)
        stack.push_async_callback(_cancelled, workers)
        await asyncio.sleep(0)  # The children are spawned now, and import the app while we import the rest.
        if options.reload:
            watching = asyncio.ensure_future(_watch(workers, options.app, web))
            stack.push_async_callback(_cancelled, watching)
        _import_the_rest()
        pool = await _ready_workers(workers, options.app)
        missing_keys = pool.missing_keys
        if pool.has_web:
            web.start()
    if app is None:  # With an app of its own the engine drives on by itself.
        engine.drive()
    await server.start()
    stack.push_async_callback(server.stop)  # Before the engine: answers are let out while it runs.
    if options.in_process:
        missing_keys = provider_keys.missing_keys()
        if loaded is not None and loaded.web is not None:
            await web.start_here(loaded.web)
    _report_ready(options, engine, server, web, list(pids.alive), missing_keys)
    if options.log_format == "text" and options.live == "auto":
        _start_live_view(engine, server, stack)


def _gate(options: StartOptions, engine: Engine) -> Gate | None:
    """Who may come in; None for everybody. Raises RewakeError RW1022 where nobody could, or anybody."""
    from rewake.access.gate import Gate
    from rewake.access.token_file import FILE_NAME, TokenFile
    from rewake.access.tokens import tokens_in
    from rewake.http_server.origins import is_loopback_address

    is_local = is_loopback_address(options.host)
    if options.insecure or (is_local and not options.require_tokens):
        return None
    tokens = TokenFile(options.tokens_file or options.data / FILE_NAME, tokens_in(os.environ.get("REWAKE_TOKENS", "")))
    tokens.refresh()
    if tokens.is_empty:
        where = "" if options.tokens_file is None else f" --tokens-file {options.tokens_file}"
        raise RewakeError(
            ErrorCode.OPEN_TO_ALL,
            f"{options.host} is reached from other machines, and there is no access token."
            if not is_local
            else "--require-tokens is set, and there is no access token.",
            f"Make one: rewake tokens create NAME --role admin{where}\n"
            "Or set REWAKE_TOKENS, or let in everybody: --insecure",
        )
    return Gate(tokens, engine.now_ms)


async def _ready_workers(workers: asyncio.Future[WorkerPool], app: str) -> WorkerPool:
    """The pool once it is ready. An import that takes long is reported: a server started by it never ends."""
    done, _ = await asyncio.wait((workers,), timeout=SLOW_IMPORT_S)
    if not done:
        log.warning("still_importing", app=app, after_s=SLOW_IMPORT_S, hint=SLOW_IMPORT_HINT)
    return await workers


def _report_ready(
    options: StartOptions, engine: Engine, server: Server, web: Web, worker_pids: list[int], missing_keys: list[str]
) -> None:
    """For programs in the log; for people, the addresses and how to call."""
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
    """Below the log, where the terminal can do it; taken away first of all when stopping."""
    from rewake.cli.reserved_lines import ReservedLines

    if ReservedLines.fit(sys.stderr):
        from rewake.cli.live_view import LiveView

        view = LiveView(engine, sys.stderr, f"{server.admin_url}ui/")
        stack.push_async_callback(_cancelled, asyncio.ensure_future(view.draw_until_cancelled()))


def _make_folder(data: Path) -> None:
    """The data folder, which keeps itself out of version control. The store reports what goes wrong."""
    from rewake.store.private import make_folder

    if not data.exists():
        with contextlib.suppress(OSError):
            make_folder(data)
            (data / ".gitignore").write_text(GITIGNORE)


def _load(options: StartOptions) -> Loaded | None:
    """The app, when it is to run in this process."""
    if options.app is None or not options.in_process:
        return None
    from rewake.deployments.app_loader import load

    return load(options.app)


def _engine_options(options: StartOptions) -> EngineOptions:
    from rewake.core.model import HandlerOptions
    from rewake.engine import EngineOptions
    from rewake.streams.files import Bounds

    return EngineOptions(
        concurrency_max=options.concurrency,
        pause_after_alike=options.pause_after_alike,
        cleanup_interval_ms=options.cleanup_interval,
        query_deadline_ms=options.query_deadline,
        identity_key_file=options.identity_key,
        streams=Bounds(run_bytes=options.stream_run_mib << 20, total_bytes=options.stream_log_mib << 20),
        stream_url=options.stream_url,
        redacted_headers=frozenset(name.strip().lower() for name in options.redact_headers.split(",")),
        defaults=HandlerOptions(
            inactivity_timeout_ms=options.inactivity_timeout,
            abort_timeout_ms=options.abort_timeout,
            journal_retention_ms=options.journal_retention,
            idempotency_retention_ms=options.idempotency_retention,
            workflow_retention_ms=options.workflow_retention,
        ),
    )


def _import_the_rest() -> None:
    """What Server.start would import, a fifth of a second of it."""
    import rewake.admin.app  # noqa: F401


async def _cancelled(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class _Pids:
    """The worker processes that are ready, for the word at the start."""

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


async def _watch(workers: asyncio.Future[WorkerPool], app: str, web: Web) -> None:
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
