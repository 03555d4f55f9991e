"""`rewake ui`: the web UI for a server elsewhere, be it a Restate server, a cluster or another Rewake.

It keeps nothing, so a stop loses nothing, and several can show the same server. ui/elsewhere.py makes the pages.
"""

from __future__ import annotations

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

import rewake
from rewake.cli.admin_client import AdminClient, admin_option
from rewake.cli.doorkeeper import ACCESS_SETTINGS, check_access_options, gate_of
from rewake.cli.settings import ALLOWED_HOSTS, LOG_SETTINGS, data_option, setting, with_settings
from rewake.cli.times import now_ms

if TYPE_CHECKING:
    from rewake.access.gate import Gate
    from rewake.ui.engine_elsewhere import ServerElsewhere

DEFAULT_PORT: Final = 9075
DRAIN_S: Final = 1.0
THREADS: Final = 32
"""Pages made at once; a thread does little but wait for the server."""


@click.command()
@admin_option
@click.option(
    "--ingress",
    metavar="URL",
    envvar="REWAKE_INGRESS",
    show_envvar=True,
    show_default="as the server says, or port 8080 beside the admin API",
    help="Address of the ingress, for the playground and for answers to awakeables.",
)
@setting("host", default="127.0.0.1", help="Address to listen on.")
@setting("port", default=DEFAULT_PORT, type=click.IntRange(0, 65_535), help="Port to listen on; 0 picks a free one.")
@ALLOWED_HOSTS
@with_settings(ACCESS_SETTINGS)
@data_option
@with_settings(LOG_SETTINGS)
def ui(admin: AdminClient, ingress: str | None, **options: Any) -> None:
    """Show the web UI of a server elsewhere.

    Works with a Restate server or cluster and with another Rewake, over the admin API and its SQL. An engine started by
    `rewake run` has the same UI on its own admin port. On an address that is not loopback people sign in with an access
    token of their own; what they do is done with the token of this command (REWAKE_TOKEN, rewake login).
    """
    check_access_options(**{name: options[name] for name in ("insecure", "require_tokens", "tls_cert", "tls_key")})
    from rewake.cli.logs import configure_logging
    from rewake.server import new_event_loop
    from rewake.ui.engine_elsewhere import connect

    options["log_format"] = configure_logging(options.pop("log_level"), options["log_format"])
    access = {name: options.pop(name) for name in ("insecure", "require_tokens", "tokens_file", "data")}
    gate = gate_of(options["host"], now_ms=now_ms, **access)
    server = connect(admin.url, ingress)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(server, _Options(gate=gate, **options)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    host: str
    port: int
    allowed_hosts: tuple[str, ...]
    gate: Gate | None
    tls_cert: Path | None
    tls_key: Path | None
    log_format: str


async def _serve(server: ServerElsewhere, options: _Options) -> None:
    import structlog

    from rewake.admin.app import Guarded
    from rewake.cli.engine_process import asked_to_stop
    from rewake.http_server.origins import Door, is_loopback_address
    from rewake.http_server.server import HttpServer
    from rewake.http_server.tls import Certificate
    from rewake.server import listen, url_of
    from rewake.ui.elsewhere import build_ui_elsewhere

    log = structlog.get_logger("rewake.cli")
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "page"))
    certificate = None if options.tls_cert is None else Certificate(options.tls_cert, options.tls_key)
    with listen(options.host, options.port, "--port") as listener:
        port = listener.getsockname()[1]
        url = f"{url_of(options.host, port, is_tls=certificate is not None)}ui/"
        door = Door(frozenset(options.allowed_hosts), is_local=is_loopback_address(options.host))
        serving = HttpServer(Guarded(build_ui_elsewhere(server), door, options.gate))
        with asked_to_stop(exit_with_stdin=False) as stop:
            await serving.start(listener, certificate)
            log.info("ready", pid=os.getpid(), port=port, url=url, admin=server.url, ingress=server.ingress_url)
            if options.log_format == "text":
                _announce(server, url)
            await stop.wait()
            await serving.stop(DRAIN_S)
    log.info("stopped")


def _announce(server: ServerElsewhere, url: str) -> None:
    kind = f"Rewake {server.rewake_version}" if server.rewake_version is not None else f"Restate {server.version}"
    lines = (
        f"rewake {rewake.__version__} shows a {kind}; Ctrl-C stops it",
        f"  web UI   {url}",
        f"  admin    {server.url}",
        f"  ingress  {server.ingress_url}",
    )
    click.echo("\n".join(["", *lines, ""]), file=sys.stderr)
