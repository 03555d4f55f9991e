"""Server: the ingress and the admin API of an engine, each on a port of its own, in the running event loop.

Both ports are bound before anything is served, so that a port in use leaves nothing half-started. The ingress speaks
HTTP/1.1 through rewake.ingress.protocol, the admin API through uvicorn. Stopping lets answers out (http-api.md 6.7);
OS signals are the caller's business. `new_event_loop` gives the fastest loop there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import socket
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from rewake.admin.engine_port import EnginePort
from rewake.errors import ErrorCode, RewakeError
from rewake.http_server.listening import listening_socket
from rewake.ingress import api
from rewake.ingress.server import BACKLOG, HttpServer

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

HOST: Final = "127.0.0.1"
INGRESS_PORT: Final = 8080
ADMIN_PORT: Final = 9070
DRAIN_S: Final = 5.0
"""How long answers under way may take when the server stops, as the public server."""

_PORT_MAX: Final = 65_535
_ANY_HOST: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}


class Engine(EnginePort, api.Engine, Protocol):
    """What a server needs of the engine."""


class Server:
    """Both HTTP surfaces of one engine.

    port 0: any free one; `ingress_port` and `admin_port` tell which once bound.   admin_routes: the UI and the like.
    ingress_concurrency_max: calls in flight before the ingress answers 429, None for no limit.
    """

    def __init__(
        self,
        engine: Engine,
        host: str = HOST,
        ingress_port: int = INGRESS_PORT,
        admin_port: int = ADMIN_PORT,
        *,
        ingress_concurrency_max: int | None = None,
        body_bytes_max: int = api.BODY_BYTES_MAX,
        drain_s: float = DRAIN_S,
        admin_routes: Sequence[BaseRoute] = (),
    ) -> None:
        self.host = host
        self.ingress_port = ingress_port
        self.admin_port = admin_port
        self._engine = engine
        self._ingress = api.Ingress(engine, concurrency_max=ingress_concurrency_max)
        self._body_bytes_max = body_bytes_max
        self._drain_s = drain_s
        self._admin_routes = admin_routes
        self._listeners: list[socket.socket] = []
        self._http: HttpServer | None = None
        self._admin: Any = None

    @property
    def ingress_url(self) -> str:
        """Where callers on this machine reach the ingress."""
        return url_of(self.host, self.ingress_port)

    @property
    def admin_url(self) -> str:
        """Where clients on this machine reach the admin API."""
        return url_of(self.host, self.admin_port)

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

    async def start(self) -> None:
        """Serve. The engine must be running."""
        self.bind()
        try:
            ingress, admin = self._listeners
            self._http = HttpServer(self._ingress.handle, body_bytes_max=self._body_bytes_max)
            await self._http.start(ingress)
            from rewake.admin.app import build_admin  # Late: it takes a while.

            app = build_admin(self._engine, ingress_url=self.ingress_url, extra_routes=self._admin_routes)
            self._admin = asgi_server(app, self._drain_s)
            await self._admin.start(admin)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Accept nothing more, let answers out for `drain_s` at most, then cut. Safe to call twice."""
        http, admin, listeners = self._http, self._admin, self._listeners
        self._http, self._admin, self._listeners = None, None, []
        stopping = [http.stop(self._drain_s)] if http is not None else []
        if admin is not None:
            stopping.append(admin.stop())
        await asyncio.gather(*stopping)
        for listener in listeners:
            listener.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop for `asyncio.Runner(loop_factory=new_event_loop)`: uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def asgi_server(app: Any, drain_s: float) -> Any:
    """uvicorn with an ASGI app, taught not to touch OS signals: `start(listener)`, `stop()`. Imports it late."""
    import uvicorn

    from rewake.http_server.connection import HttpConnection

    class AsgiServer(uvicorn.Server):
        """uvicorn.Server with a start that returns when it serves, and a stop."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def start(self, listener: socket.socket) -> None:
            self._is_up = asyncio.Event()
            self._serving = asyncio.get_running_loop().create_task(self.serve([listener]))
            up = asyncio.get_running_loop().create_task(self._is_up.wait())
            await asyncio.wait((self._serving, up), return_when=asyncio.FIRST_COMPLETED)
            up.cancel()
            if self._serving.done():
                self._serving.result()

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self._is_up.set()

        async def stop(self) -> None:
            self.should_exit = True
            await self._serving

    config = uvicorn.Config(
        app,
        loop="none",
        http=HttpConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(drain_s),
    )
    return AsgiServer(config)


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


def url_of(host: str, port: int) -> str:
    """Where programs on this machine reach what listens there."""
    shown = _ANY_HOST.get(host) or (f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"
