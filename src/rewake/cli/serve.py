"""`rewake serve`: the handlers of a file as an HTTP deployment, for any Restate server to call.

No engine and no data here, so a stop loses nothing: what is cut is retried by the server that asked. One process, or
with --workers several that share the port. Identity is checked by the app itself: `restate.app(identity_keys=)`.
The server is deployments/serving's, chosen by measurement: see docs/how-to/graduate.md.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

import rewake
from rewake.cli.durations import Duration
from rewake.cli.settings import LOG_SETTINGS, exit_with_stdin_option, setting, with_settings
from rewake.errors import ErrorCode, RewakeError

GC_THRESHOLD: Final = (20_000, 10, 10)
"""As in a worker: attempts are short and many, and collections would cost a tenth of a small one."""

_UNAUTHORIZED: Final = 401
_ANY_HOST: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
_FILE: Final = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("app", metavar="FILE.py|MODULE:APP")
@setting("host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for servers on other machines.")
@setting("port", default=9080, type=click.IntRange(0, 65_535), help="Port to listen on; 0 picks a free one.")
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(min=1), help="Processes, sharing the port."
)
@click.option("--reload", is_flag=True, help="Start again when a Python file beside the app changes.")
@setting("tls-cert", type=_FILE, help="Certificate to serve over TLS with, and those that vouch for it (PEM).")
@setting("tls-key", type=_FILE, help="Key of the certificate (PEM), if it is in a file of its own.")
@setting("stop-grace", default="5s", type=Duration(), help="Time attempts get to finish when stopping.")
@with_settings(LOG_SETTINGS)
@exit_with_stdin_option
def serve(app: str, **options: Any) -> None:
    """Serve an app as an HTTP deployment, without an engine.

    Any Restate server can register it and call its handlers, over HTTP/2 in full duplex: `rewake deployments register
    URL --admin URL`. HTTP/1.1 is answered too. SIGTERM and Ctrl-C let attempts finish for a moment, a second one ends
    at once. With several workers, SIGHUP replaces them with new ones.
    """
    from rewake.cli.logs import configure_logging
    from rewake.deployments.serving.server import tls_context
    from rewake.server import listen

    options["log_format"] = configure_logging(options["log_level"], options["log_format"])
    given = _Options(app=app, **options)
    if given.tls_key is not None and given.tls_cert is None:
        raise click.UsageError("--tls-key needs --tls-cert.")
    if given.tls_cert is not None:
        tls_context(given.tls_cert, given.tls_key)  # Now, where an error is told once.
    listener = listen(given.host, given.port, "--port")
    if given.workers == 1 and not given.reload:
        _run_one(given, listener, lambda facts: _announce(given, facts))
    else:
        sys.exit(_run_many(given, listener))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    app: str
    host: str
    port: int
    workers: int
    reload: bool
    tls_cert: Path | None
    tls_key: Path | None
    stop_grace: int
    log_level: str
    log_format: str
    exit_with_stdin: bool


def _run_one(options: _Options, listener: socket.socket, on_ready: Callable[[dict[str, Any]], None]) -> None:
    """Serve in this process until told to stop. on_ready: called with what the log is to say."""
    from rewake.server import new_event_loop

    gc.set_threshold(*GC_THRESHOLD)  # Before the import, so that the app may choose otherwise.
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(options, listener, on_ready))


def _run_many(options: _Options, listener: socket.socket) -> int:
    """Serve in child processes; the exit code."""
    from rewake.deployments.serving.prefork import Prefork

    prefork = Prefork(
        options.workers,
        child=lambda on_ready: _run_one(replace(options, exit_with_stdin=False), listener, on_ready),
        on_ready=lambda facts: _announce(options, facts | {"pid": os.getpid(), "worker_pids": prefork.pids}),
        companion=(lambda: asyncio.run(_watch(options.app, os.getppid()))) if options.reload else None,
    )
    if options.exit_with_stdin:
        threading.Thread(target=_stop_with_stdin, daemon=True).start()
    return prefork.run()


async def _serve(options: _Options, listener: socket.socket, on_ready: Callable[[dict[str, Any]], None]) -> None:
    import structlog

    from rewake.cli.serving import asked_to_stop
    from rewake.deployments.app_loader import load_app
    from rewake.deployments.serving.server import AppServer, tls_context

    log = structlog.get_logger("rewake.cli")
    app = load_app(options.app)
    gc.freeze()  # What import made stays: collections need not look at it again.
    # The SDK takes SIGTERM over when it is first asked something; it is asked here, so that ours comes after.
    services = await _services_of(app, options.app)
    server = AppServer(app)
    tls = None if options.tls_cert is None else tls_context(options.tls_cert, options.tls_key)
    with asked_to_stop(exit_with_stdin=options.exit_with_stdin) as stop:
        await server.start(listener, tls)
        on_ready({"pid": os.getpid(), "port": listener.getsockname()[1], "services": services})
        await stop.wait()
        log.info("stopping", grace_ms=options.stop_grace, attempts=server.attempt_count)
        await server.stop(options.stop_grace / 1_000)
    log.info("stopped")


async def _watch(app: str, parent: int) -> None:
    """Tell the parent process whenever the app has changed."""
    from rewake.deployments.watch import watch_for_changes, watched_folder

    async def reload(_: set[Path]) -> None:
        os.kill(parent, signal.SIGHUP)

    await watch_for_changes([watched_folder(app)], reload)


async def _services_of(app: Any, ref: str) -> list[str] | None:
    """Names of what the app serves; None when it answers signed requests only. Raises RewakeError RW2004."""
    import msgspec

    from rewake.deployments.asgi import call_discovery

    status, _, body = await call_discovery(app)
    if status == _UNAUTHORIZED:
        return None
    if status != 200:
        raise RewakeError(
            ErrorCode.DISCOVERY_REFUSED,
            f"{ref!r} answered discovery with status {status}.\n{body.decode(errors='replace').strip()}",
            "Correct the service definitions, or the middleware around the app.",
        )
    return sorted(service["name"] for service in msgspec.json.decode(body)["services"])


def _announce(options: _Options, facts: dict[str, Any]) -> None:
    """Tell that all is ready, in the log and, for people, how to go on."""
    import structlog

    structlog.get_logger("rewake.cli").info("ready", **facts)
    if options.log_format != "text":
        return
    host = _ANY_HOST.get(options.host, f"[{options.host}]" if ":" in options.host else options.host)
    url = f"{'http' if options.tls_cert is None else 'https'}://{host}:{facts['port']}"
    services = facts["services"]
    told = "not told: they answer signed requests only" if services is None else ", ".join(services)
    lines = (
        f"rewake {rewake.__version__} serves {options.app}; Ctrl-C stops it",
        f"  address   {url}, HTTP/2 and HTTP/1.1",
        f"  services  {told}",
        "",
        "Register it with a Restate server:",
        f"  rewake deployments register {url} --admin http://127.0.0.1:9070",
    )
    click.echo("\n".join(["", *lines, ""]), file=sys.stderr)


def _stop_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
