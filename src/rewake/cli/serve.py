"""`rewake serve`: the handlers of a file as an HTTP deployment, for any Restate server to call.

It has no engine and no data, so a stop loses nothing: the calling server retries attempts that are cut. It is one
process; systemd or containers run more. The app itself checks identity: `restate.app(identity_keys=)`.
The server is that of serving/, chosen by measurement: see docs/how-to/graduate.md.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

import rewake
from rewake.cli.durations import Duration
from rewake.cli.settings import LOG_SETTINGS, exit_with_stdin_option, setting, with_settings
from rewake.errors import ErrorCode, RewakeError
from rewake.garbage import GC_THRESHOLD

_UNAUTHORIZED: Final = 401
_ANY_HOST: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
_FILE: Final = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("app", metavar="FILE.py|MODULE:APP")
@setting("host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for servers on other machines.")
@setting("port", default=9080, type=click.IntRange(0, 65_535), help="Port to listen on; 0 picks a free one.")
@click.option("--reload", is_flag=True, help="Start again when a Python file beside the app changes.")
@setting("tls-cert", type=_FILE, help="Certificate for TLS, with its intermediate certificates (PEM).")
@setting("tls-key", type=_FILE, help="Key of the certificate (PEM), if it is in a file of its own.")
@setting("stop-grace", default="5s", type=Duration(), help="Time attempts get to finish when stopping.")
@with_settings(LOG_SETTINGS)
@exit_with_stdin_option
@click.option("--listener-fd", type=int, hidden=True, help="Listening socket that the parent process passes on.")
@click.option("--ready-fd", type=int, hidden=True, help="Pipe that reports the start to the parent process.")
def serve(app: str, **options: Any) -> None:
    """Serve an app as an HTTP deployment, without an engine.

    Any Restate server can register it and call its handlers, over HTTP/2 in full duplex: `rewake deployments register
    URL --admin URL`. It answers HTTP/1.1 too. After SIGTERM or Ctrl-C, attempts have a moment to finish; after a second
    signal, none.
    """
    from rewake.cli.logs import configure_logging
    from rewake.http_server.limits import raise_file_limit
    from rewake.http_server.tls import Certificate
    from rewake.server import listen

    options["log_format"] = configure_logging(options["log_level"], options["log_format"])
    given = _Options(app=app, **options)
    if given.tls_key is not None and given.tls_cert is None:
        raise click.UsageError("--tls-key needs --tls-cert.")
    if given.tls_cert is not None:
        Certificate(given.tls_cert, given.tls_key)  # Now, so that an error is reported once.
    raise_file_limit()
    if given.listener_fd is not None:
        listener = socket.socket(fileno=given.listener_fd)
    else:
        listener = listen(given.host, given.port, "--port")
    sys.exit(_reload(given, listener) if given.reload else _run(given, listener))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    app: str
    host: str
    port: int
    reload: bool
    tls_cert: Path | None
    tls_key: Path | None
    stop_grace: int
    log_level: str
    log_format: str
    exit_with_stdin: bool
    listener_fd: int | None
    ready_fd: int | None


def _run(options: _Options, listener: socket.socket) -> int:
    """Serve in this process until a signal asks to stop."""
    from rewake.server import new_event_loop

    gc.set_threshold(*GC_THRESHOLD)  # Before the import, so that the app may choose otherwise.
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(options, listener))
    return 0


def _reload(options: _Options, listener: socket.socket) -> int:
    """Serve in child processes, one after the other; the exit code."""
    from rewake.cli.serve_reload import serve_and_reload
    from rewake.deployments.watch import watched_folder

    args = ["serve", options.app, "--host", options.host, "--stop-grace", f"{options.stop_grace}ms"]
    args += ["--log-level", options.log_level, "--log-format", options.log_format]
    for name, path in (("--tls-cert", options.tls_cert), ("--tls-key", options.tls_key)):
        args += [] if path is None else [name, str(path)]
    folder = watched_folder(options.app)
    return asyncio.run(serve_and_reload(args, listener, folder, exit_with_stdin=options.exit_with_stdin))


async def _serve(options: _Options, listener: socket.socket) -> None:
    import structlog

    from rewake.cli.engine_process import asked_to_stop
    from rewake.deployments.app_loader import load_app
    from rewake.deployments.slow_imports import reported
    from rewake.http_server.tls import Certificate
    from rewake.serving.server import PROTOCOLS, DeploymentServer

    log = structlog.get_logger("rewake.cli")
    with reported(lambda facts: log.warning("still_importing", app=options.app, **facts)):
        app = load_app(options.app)
    gc.freeze()  # What import made stays: collections need not look at it again.
    # The SDK takes SIGTERM over when it is first asked something; it is asked here, so that ours comes after.
    services = await _services_of(app, options.app)
    server = DeploymentServer(app)
    tls = None if options.tls_cert is None else Certificate(options.tls_cert, options.tls_key, PROTOCOLS)
    with asked_to_stop(exit_with_stdin=options.exit_with_stdin) as stop:
        await server.start(listener, tls)
        _tell_ready(options, listener.getsockname()[1], services)
        await stop.wait()
        log.info("stopping", grace_ms=options.stop_grace, attempts=server.exchange_count)
        await server.stop(options.stop_grace / 1_000)
    log.info("stopped")


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


def _tell_ready(options: _Options, port: int, services: list[str] | None) -> None:
    """Report that it is ready: to the parent, in the log, and to people with the next command."""
    import structlog

    if options.ready_fd is not None:
        os.write(options.ready_fd, b"+")
        os.close(options.ready_fd)
    structlog.get_logger("rewake.cli").info("ready", pid=os.getpid(), port=port, services=services)
    if options.log_format != "text":
        return
    host = _ANY_HOST.get(options.host, f"[{options.host}]" if ":" in options.host else options.host)
    url = f"{'http' if options.tls_cert is None else 'https'}://{host}:{port}"
    shown = "not shown: they answer signed requests only" if services is None else ", ".join(services)
    lines = (
        f"rewake {rewake.__version__} serves {options.app}; Ctrl-C stops it",
        f"  address   {url}, HTTP/2 and HTTP/1.1",
        f"  services  {shown}",
        "",
        "Register it with a Restate server:",
        f"  rewake deployments register {url} --admin http://127.0.0.1:9070",
    )
    click.echo("\n".join(["", *lines, ""]), file=sys.stderr)
