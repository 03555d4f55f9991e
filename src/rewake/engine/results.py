"""Bodies and results of embedded calls: checks, encoding, decoding, and InvocationFailed."""

from __future__ import annotations

from typing import Any

import msgspec

from rewake.core.ids import InvocationId, invocation_id_to_str
from rewake.disclosure import opened
from rewake.durations import DURATION_MS_MAX
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.messages import Failure, Success


class InvocationFailed(Exception):
    """The handler ended with a terminal error, or was cancelled or killed.

    code: the handler's (409 for cancelled and killed).   metadata: the handler's.
    """

    def __init__(self, invocation_id: str, failure: Failure) -> None:
        super().__init__(f"{failure.message} (code {failure.code}, invocation {invocation_id})")
        self.invocation_id = invocation_id
        self.code = failure.code
        self.message = failure.message
        self.metadata = dict(failure.metadata)


def require_storable(*values: str | int | None) -> None:
    """Raise RewakeError RW3005 for a text that is not valid Unicode (a lone surrogate), or an absurd duration in ms."""
    for value in values:
        if isinstance(value, int) and not 0 <= value <= DURATION_MS_MAX:
            why = f"A delay of {value:.4g} ms is not between 0 and {DURATION_MS_MAX:.4g} ms."
        elif isinstance(value, str) and not _is_unicode(value):
            why = f"The text {value[:100]!r} has a lone surrogate, so it has no UTF-8 form."
        else:
            continue
        raise RewakeError(ErrorCode.VALUE_NOT_STORABLE, f"A value cannot be stored.\n{why}", "Correct the value.")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def encode_body(body: Any) -> bytes:
    """A request body: bytes unchanged, None as an empty body, any other value as JSON."""
    if body is None:
        return b""
    return bytes(body) if isinstance(body, bytes | bytearray | memoryview) else msgspec.json.encode(body)


def decode_result(invocation_id: InvocationId, result: Success | Failure) -> Any:
    """The value of a result: decoded JSON, None if empty, bytes if it is not JSON. Raises InvocationFailed."""
    if isinstance(result, Failure):
        raise InvocationFailed(invocation_id_to_str(invocation_id), result)
    content = opened(result.content)
    if not content:
        return None
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return content
