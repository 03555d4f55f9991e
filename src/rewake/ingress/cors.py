"""CORS: headers that let the pages of an allowed origin call the ingress and read its answers.

http_server/origins.py decides which origins are allowed; the headers are the public server's.
"""

from __future__ import annotations

from typing import Final

from rewake.ingress.message import Head, Request

_HEAD: Final[Head] = (
    (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
    (b"access-control-allow-credentials", b"true"),
)
_MIRRORED_ON_PREFLIGHT: Final = (
    ("access-control-request-method", b"access-control-allow-methods"),
    ("access-control-request-headers", b"access-control-allow-headers"),
)


def cors_head(request: Request, origin: str) -> Head:
    """Headers for an answer to a page of `origin`. The answer to a preflight allows everything it asks for."""
    head = (*_HEAD, (b"access-control-allow-origin", origin.encode("latin-1")))
    if request.method != "OPTIONS":
        return head
    asked = ((name, request.headers.get(header)) for header, name in _MIRRORED_ON_PREFLIGHT)
    return (*head, *((name, value.encode("latin-1")) for name, value in asked if value is not None))
