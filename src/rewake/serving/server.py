"""AppServer: an ASGI app as a deployment on a listening socket, over HTTP/2 and HTTP/1.1.

Stopping asks peers to open no new stream, and after the time given cuts what is left: the Restate server retries it,
here after a restart or on another instance. OS signals are the caller's business (cli/serve.py).
"""

from __future__ import annotations

from typing import Final

from rewake.http_server.exchange import App
from rewake.http_server.limits import Limits
from rewake.http_server.server import HttpServer
from rewake.serving.connection import Http2Connection

PROTOCOLS: Final = ("h2", "http/1.1")
"""Over TLS, the preferred first."""


class AppServer(HttpServer):
    """Serves `app` on a bound socket, which it owns from start() on."""

    def __init__(self, app: App, limits: Limits | None = None) -> None:
        super().__init__(app, limits, cancels=True, protocol=Http2Connection)
