"""Requests that offer another protocol (`upgrade: h2c`, `websocket`), which nobody has to accept (RFC 9110, 7.8).

httptools stops behind the head of such a request and leaves out its body (MagicStack/httptools#124): what follows would
be read as the next request, and a body that looks like one would run. So the parser gets the head a second time,
without the offer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def head_without_offer(parser: Any, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head that `parser` stopped behind, for a parser that is new. headers: as the parser gave them."""
    line = b"%b %b HTTP/%b" % (parser.get_method(), target, parser.get_http_version().encode())
    kept = [b"%b: %b" % header for header in headers if header[0].lower() != b"upgrade"]
    return b"\r\n".join([line, *kept]) + b"\r\n\r\n"


def is_offer(parser: Any) -> bool:
    """Whether the head just parsed will be parsed again. CONNECT is not: HTTP never follows its head."""
    return bool(parser.should_upgrade() and parser.get_method() != b"CONNECT")
