"""AppServer: an ASGI app on a listening socket, and a stop that lets attempts finish.

Stopping closes the socket, asks peers to open no new stream, and after the time given cuts what is left: the Restate
server retries it, here after a restart or on another instance. OS signals are the caller's business (cli/serve.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path
from typing import Final

from rewake.deployments.serving.app_connection import AppConnection
from rewake.deployments.serving.connection import Connection
from rewake.deployments.serving.stream import App
from rewake.errors import ErrorCode, RewakeError

BACKLOG: Final = 1024
KEEPALIVE_IDLE_S: Final = 30
KEEPALIVE_INTERVAL_S: Final = 10
KEEPALIVE_COUNT: Final = 3


class AppServer:
    """Serves `app` on a bound socket, which it owns from start() on."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._connections: set[AppConnection] = set()
        self._server: asyncio.Server | None = None
        self._emptied = asyncio.Event()

    @property
    def attempt_count(self) -> int:
        """Requests under way."""
        return sum(len(connection.streams) for connection in self._connections)

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        _keep_alive(listener)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, sock=listener, backlog=BACKLOG, ssl=tls)

    async def stop(self, grace_s: float) -> None:
        """Accept nothing more, let attempts finish for at most `grace_s`, then cut."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for connection in list(self._connections):
            connection.leave()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty(), grace_s)
        for connection in list(self._connections):
            connection.cut()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty(), 1.0)

    async def _empty(self) -> None:
        while self._connections:
            self._emptied.clear()
            await self._emptied.wait()

    def _connection(self) -> Connection:
        return Connection(self._app, self._connections.add, self._on_empty)

    def _on_empty(self, connection: AppConnection) -> None:
        if connection.is_lost:
            self._connections.discard(connection)
        self._emptied.set()


def tls_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """TLS, HTTP/2 preferred. key: of the certificate, None when it is in the same file. Raises RewakeError RW1018."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password="")  # A key with a password would ask for it on a terminal.
    except OSError as error:
        files, where = (f"{certificate} with {key}", "") if key else (str(certificate), " in the same file")
        raise RewakeError(
            ErrorCode.TLS_CERTIFICATE_INVALID,
            f"The TLS certificate {files} cannot be used.\n{_reason(error)}.",
            f"Both are PEM: the certificate, then those that vouch for it; and its key{where}, without a password.",
        ) from error
    return context


def _reason(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return str(error.strerror or error)
    return (
        error.reason.replace("_", " ").lower()
        if error.reason
        else "The certificate or the key is not there, or not PEM"
    )


def _keep_alive(listener: socket.socket) -> None:
    """Accepted sockets inherit it: attempts of a server whose machine is gone must not wait for it for ever."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", KEEPALIVE_COUNT),
    ):
        option = getattr(socket, name, None)
        if option is not None:  # Not every system names them.
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
