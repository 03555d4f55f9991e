"""Request and Response: what the transports give the ingress and get back. Plain data.

The transport adds status line, content-length, date and connection to a response.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import msgspec

from rewake.access.tokens import Token

Head = tuple[tuple[bytes, bytes], ...]
"""Headers: lower-case names and values."""

JSON: Final[Head] = ((b"content-type", b"application/json"),)


class Request(msgspec.Struct):
    """One request, its body read. path and query: as received, nothing decoded.

    headers: lower-case names; of a repeated one the first value. Values are latin-1, so that every byte survives.
    token: what the caller has shown, where that is asked for.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    token: Token | None = None


class Response(msgspec.Struct):
    """One answer. stream: comes in the place of a body, piece by piece; whoever sends it closes it."""

    status: int
    head: Head = ()
    body: bytes = b""
    stream: AsyncGenerator[bytes] | None = None
