"""AppServer: an ASGI app as a deployment on a listening socket, over HTTP/2 and HTTP/1.1.

Stopping asks peers to open no new stream, and after the time given cuts what is left: the Restate server retries it,
here after a restart or on another instance. OS signals are the caller's business (cli/serve.py).
"""

from __future__ import annotations

import ssl
from pathlib import Path

from rewake.errors import ErrorCode, RewakeError
from rewake.http_server.exchange import App
from rewake.http_server.limits import Limits
from rewake.http_server.server import HttpServer
from rewake.serving.connection import Http2Connection


class AppServer(HttpServer):
    """Serves `app` on a bound socket, which it owns from start() on."""

    def __init__(self, app: App, limits: Limits | None = None) -> None:
        super().__init__(app, limits, cancels=True, protocol=Http2Connection)


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
