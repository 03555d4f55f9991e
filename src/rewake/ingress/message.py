"""Request and Response: what the transports give the ingress and get back. Plain data.

The transport adds status line, content-length, date and connection to a response.
"""

from __future__ import annotations

from typing import Final

import msgspec

Head = tuple[tuple[bytes, bytes], ...]
"""Headers: lower-case names and values."""

JSON: Final[Head] = ((b"content-type", b"application/json"),)


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
