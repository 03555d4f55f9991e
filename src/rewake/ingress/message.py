"""Request and Response: what the transports give the ingress and get back. Plain data.

The transport adds status line, content-length, date and connection to a response.
"""

from __future__ import annotations

from typing import Final

import msgspec

Head = tuple[tuple[bytes, bytes], ...]
"""Headers: lower-case names and values."""

JSON: Final[Head] = ((b"content-type", b"application/json"),)
CORS: Final[Head] = (
    (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
    (b"access-control-allow-credentials", b"true"),
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
    """One answer."""

    status: int
    head: Head = ()
    body: bytes = b""


def with_cors(request: Request, response: Response) -> Response:
    """The response with the permissive CORS headers that every answer carries."""
    origin = request.headers.get("origin")
    response.head += CORS if origin is None else (*CORS, (b"access-control-allow-origin", origin.encode("latin-1")))
    return response


def preflight(request: Request) -> Response:
    """The answer to any OPTIONS: whatever the browser asks for is allowed."""
    asked = ((name, request.headers.get(header)) for header, name in _MIRRORED_ON_PREFLIGHT)
    return Response(200, tuple((name, value.encode("latin-1")) for name, value in asked if value is not None))
