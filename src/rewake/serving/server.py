"""DeploymentServer: an ASGI app as a deployment on a listening socket, over HTTP/2 and HTTP/1.1.

Stopping asks peers to open no new stream, and cuts the remaining streams at the deadline. The Restate server retries
those, here after a restart or on another instance. The caller handles OS signals (cli/serve.py).
"""

from __future__ import annotations

from typing import Final

from rewake.http_server.encodings import plain_only
from rewake.http_server.exchange import App
from rewake.http_server.limits import Limits
from rewake.http_server.server import HttpServer
from rewake.serving.connection import Http2ServerConnection

PROTOCOLS: Final = ("h2", "http/1.1")
"""Protocols offered over TLS, by preference."""


class DeploymentServer(HttpServer):
    """Serves `app` on a bound socket, which it owns from start() on."""

    def __init__(self, app: App, limits: Limits | None = None) -> None:
        # A server that hangs up has given the attempt up: the next one may run elsewhere at once.
        super().__init__(
            plain_only(app), limits, cancels=True, answers_half_closed=False, protocol=Http2ServerConnection
        )
