"""Request and Response, between the transports and the ingress. Plain data.

The transport adds the status line, content-length, date and connection to a response.
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
    """One request with its whole body. path and query: as received, not decoded.

    headers: lower-case names, the first value of a repeated one. Values are latin-1, which keeps every byte.
    token: the caller's, if the ingress asks for tokens.   held: bytes of the body that are counted as in memory.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    token: Token | None = None
    held: int = 0


class Response(msgspec.Struct):
    """One answer. stream: pieces that are sent instead of a body; the sender closes it."""

    status: int
    head: Head = ()
    body: bytes = b""
    stream: AsyncGenerator[bytes] | None = None
