"""Server: the ingress and the admin API of an engine, each on a port of its own, in the running event loop.

Both ports are bound before anything is served, so that a port in use leaves nothing half-started. Both speak HTTP/1.1
through http_server/. Stopping lets answers out (http-api.md 6.7); OS signals are the caller's business.
`new_event_loop` gives the fastest loop there is.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol, Self
from urllib.parse import urlsplit

from rewake.access.gate import Gate
from rewake.admin.engine_port import EnginePort
from rewake.engine.approval_links import ApprovalLinks
from rewake.errors import ErrorCode, RewakeError
from rewake.http_server.limits import Limits, connections_max
from rewake.http_server.listening import listening_socket
from rewake.http_server.origins import Door, is_loopback_address
from rewake.http_server.server import BACKLOG, HttpServer
from rewake.http_server.tls import Certificate
from rewake.ingress import api
from rewake.ingress.asgi import IngressApp
from rewake.streams.offers import Offers

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

HOST: Final = "127.0.0.1"
INGRESS_PORT: Final = 8080
ADMIN_PORT: Final = 9070
DRAIN_S: Final = 5.0
"""How long answers under way may take when the server stops, as the public server."""

INGRESS_FILES_SHARE: Final = 0.5
ADMIN_FILES_SHARE: Final = 0.125
"""Shares of the open files that the callers of a port may take. The rest is for database, workers and deployments."""

_PORT_MAX: Final = 65_535
_ANY_HOST: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}


class ServedEngine(EnginePort, api.IngressEngine, Protocol):
    """What a server needs of the engine."""

    stream_offers: Offers


class Server:
    """Both HTTP surfaces of one engine.

    port 0: any free one; `ingress_port` and `admin_port` have it once bound.   admin_routes: the UI and the like.
    ingress_concurrency_max, ingress_held_bytes_max: calls in flight and bytes of their bodies, before the ingress
    answers 429; None for no limit.   limits: of each port.
    allowed_hosts, allowed_origins: as those of http_server.origins.Door; the origins are let in to the ingress alone.
    approvals_url: where people reach the admin port for signed links, None for its own address.
    gate: who may come in, None for everybody.   certificate: of both ports, None for no TLS.
    """

    def __init__(
        self,
        engine: ServedEngine,
        host: str = HOST,
        ingress_port: int = INGRESS_PORT,
        admin_port: int = ADMIN_PORT,
        *,
        ingress_concurrency_max: int | None = None,
        ingress_held_bytes_max: int | None = None,
        body_bytes_max: int = api.BODY_BYTES_MAX,
        drain_s: float = DRAIN_S,
        admin_routes: Sequence[BaseRoute] = (),
        limits: Limits | None = None,
        allowed_hosts: Iterable[str] = (),
        allowed_origins: Iterable[str] = (),
        approvals_url: str | None = None,
        gate: Gate | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        self.host = host
        self.ingress_port = ingress_port
        self.admin_port = admin_port
        self._engine = engine
        self._ingress = api.Ingress(
            engine, concurrency_max=ingress_concurrency_max, held_bytes_max=ingress_held_bytes_max
        )
        self._body_bytes_max = body_bytes_max
        self._drain_s = drain_s
        self._admin_routes = admin_routes
        self._limits = limits or Limits()
        self._approvals_url = approvals_url
        self._allowed_hosts = frozenset((*allowed_hosts, *_hosts_of(approvals_url)))
        engine.approval_links = ApprovalLinks(engine.path, lambda: self.approvals_url)
        self._allowed_origins = frozenset(allowed_origins)
        self._gate = gate
        self._certificate = certificate
        self._listeners: list[socket.socket] = []
        self._servers: list[HttpServer] = []

    @property
    def ingress_url(self) -> str:
        """Where callers on this machine reach the ingress."""
        return url_of(self.host, self.ingress_port, is_tls=self._certificate is not None)

    @property
    def admin_url(self) -> str:
        """Where clients on this machine reach the admin API."""
        return url_of(self.host, self.admin_port, is_tls=self._certificate is not None)

    @property
    def asks_tokens(self) -> bool:
        return self._gate is not None

    @property
    def approvals_url(self) -> str:
        """Where people reach the pages of signed links."""
        return self.admin_url if self._approvals_url is None else self._approvals_url.rstrip("/") + "/"

    def bind(self) -> None:
        """Take both ports; callers that connect now are answered after start(). Raises RewakeError RW1005.

        May be called before the engine is started. start() does it when nobody else has.
        """
        if self._listeners:
            return
        ingress = listen(self.host, self.ingress_port, "--ingress-port")
        try:
            admin = listen(self.host, self.admin_port, "--admin-port")
        except BaseException:
            ingress.close()
            raise
        self._listeners = [ingress, admin]
        self.ingress_port = ingress.getsockname()[1]
        self.admin_port = admin.getsockname()[1]
        self._engine.stream_offers.local_url = self.ingress_url
        if self._certificate is not None:  # which is for another name, and handlers here would not trust it
            self._listeners.append(listening_socket(HOST, 0, backlog=BACKLOG))
            self._engine.stream_offers.local_url = url_of(HOST, self._listeners[-1].getsockname()[1])

    async def start(self) -> None:
        """Serve. The engine must be running."""
        self.bind()
        try:
            await self._serve()
        except BaseException:
            await self.stop()
            raise

    async def _serve(self) -> None:
        from rewake.admin.app import build_admin  # Late: it takes a while.

        ingress_door, admin_door = (
            Door(self._allowed_hosts, origins, is_local=is_loopback_address(self.host))
            for origins in (self._allowed_origins, frozenset[str]())
        )
        ingress = IngressApp(self._ingress, body_bytes_max=self._body_bytes_max, door=ingress_door, gate=self._gate)
        admin = build_admin(
            self._engine,
            ingress_url=self.ingress_url,
            extra_routes=self._admin_routes,
            door=admin_door,
            gate=self._gate,
        )
        self._servers = [
            HttpServer(ingress, self._limits_of(INGRESS_FILES_SHARE), cancels=True),
            HttpServer(admin, self._limits_of(ADMIN_FILES_SHARE)),
        ]
        for server, listener in zip(self._servers, self._listeners, strict=False):
            await server.start(listener, self._certificate)
        if self._certificate is not None:
            writers = IngressApp(self._ingress, takes_deltas_alone=True)
            self._servers.append(HttpServer(writers, self._limits_of(ADMIN_FILES_SHARE), cancels=True))
            await self._servers[-1].start(self._listeners[-1])

    def _limits_of(self, files_share: float) -> Limits:
        if self._limits.connections_max is not None:
            return self._limits
        return replace(self._limits, connections_max=connections_max(files_share))

    async def stop(self) -> None:
        """Accept nothing more, let answers out for `drain_s` at most, then cut. Safe to call twice."""
        servers, listeners = self._servers, self._listeners
        self._servers, self._listeners = [], []
        if servers:
            self._engine.stream_offers.local_url = None
            self._engine.streams.end_readers()  # they would be waited for
        await asyncio.gather(*(server.stop(self._drain_s) for server in servers))
        for listener in listeners:
            listener.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def _hosts_of(url: str | None) -> list[str]:
    """The name in an address, by which the server is reached, too. Raises RewakeError RW1004."""
    if url is None:
        return []
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = f"approvals-url is {url!r}, which is no address."
        raise RewakeError(ErrorCode.SETTING_INVALID, message, "Write it as https://approve.example.com.")
    return [parts.hostname]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop for `asyncio.Runner(loop_factory=new_event_loop)`: uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def listen(host: str, port: int, option: str) -> socket.socket:
    """A bound socket that callers may connect to. option: what set the port. Raises RewakeError RW1005."""
    try:
        if port > _PORT_MAX:
            raise OSError(None, f"Ports end at {_PORT_MAX}")
        return listening_socket(host, port, backlog=BACKLOG)
    except OSError as error:
        raise _cannot_listen(host, port, option, error) from error


def _cannot_listen(host: str, port: int, option: str, error: OSError) -> RewakeError:
    variable = "REWAKE_" + option.removeprefix("--").replace("-", "_").upper()
    other_port = f"choose another port: {option} PORT (or {variable})"
    reason = error.strerror or str(error)
    match error.errno:
        case errno.EADDRINUSE:
            message = f"Port {port} on {host} is already in use."
            hint = f"Stop the program that uses it, or {other_port}"
        case errno.EACCES | errno.EPERM:
            message = f"Port {port} on {host} may not be used.\n{reason}."
            hint = f"Ports below 1024 need more rights; {other_port}"
        case _:
            message = f"Port {port} on {host!r} cannot be listened on.\n{reason}."
            hint = f"Check --host (or REWAKE_HOST), or {other_port}"
    return RewakeError(ErrorCode.PORT_IN_USE, message, hint, host=host, port=port)


def url_of(host: str, port: int, *, is_tls: bool = False) -> str:
    """Where programs on this machine reach what listens there."""
    shown = _ANY_HOST.get(host) or (f"[{host}]" if ":" in host else host)
    return f"{'https' if is_tls else 'http'}://{shown}:{port}/"
