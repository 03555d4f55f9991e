"""Requests that offer another protocol (`upgrade: h2c`, `websocket`). A server may ignore the offer (RFC 9110, 7.8).

httptools stops behind the head of such a request and does not read its body (MagicStack/httptools#124). It would then
read the body as the next request and, if it looks like one, run it. So the head is parsed a second time, without the
offer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def head_without_offer(parser: Any, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head that `parser` has just read, without its offer, for a new parser. headers: from the first parser."""
    line = b"%b %b HTTP/%b" % (parser.get_method(), target, parser.get_http_version().encode())
    kept = [b"%b: %b" % header for header in headers if header[0].lower() != b"upgrade"]
    return b"\r\n".join([line, *kept]) + b"\r\n\r\n"


def is_offer(parser: Any) -> bool:
    """Whether the head just parsed must be parsed again. CONNECT must not: the bytes behind it are never HTTP."""
    return bool(parser.should_upgrade() and parser.get_method() != b"CONNECT")
