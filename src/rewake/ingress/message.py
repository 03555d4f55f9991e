"""Request and Response: what the transports give the ingress and get back. Plain data.

A response's head is ready-made header lines; the transport adds status line, content-length, date and connection.
"""

from __future__ import annotations

from typing import Final

import msgspec

JSON: Final = b"content-type: application/json\r\n"
CORS: Final = (
    b"vary: origin, access-control-request-method, access-control-request-headers\r\n"
    b"access-control-allow-credentials: true\r\n"
)

_MIRRORED_ON_PREFLIGHT: Final = (
    ("access-control-request-method", b"access-control-allow-methods"),
    ("access-control-request-headers", b"access-control-allow-headers"),
)


class Request(msgspec.Struct):
    """One request, its body read. path and query: as received, nothing decoded.

    headers: lower-case names; of a repeated one the first value. Values are latin-1, so that every byte survives.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class Response(msgspec.Struct):
    """One answer. head: header lines, each with its line end."""

    status: int
    head: bytes = b""
    body: bytes = b""


def with_cors(request: Request, response: Response) -> Response:
    """The response with the permissive CORS headers that every answer carries."""
    origin = request.headers.get("origin")
    response.head += CORS if origin is None else CORS + _line(b"access-control-allow-origin", origin)
    return response


def preflight(request: Request) -> Response:
    """The answer to any OPTIONS: whatever the browser asks for is allowed."""
    asked = ((name, request.headers.get(header)) for header, name in _MIRRORED_ON_PREFLIGHT)
    return Response(200, b"".join(_line(name, value) for name, value in asked if value is not None))


def _line(name: bytes, value: str) -> bytes:
    return b"%b: %b\r\n" % (name, value.encode("latin-1"))
