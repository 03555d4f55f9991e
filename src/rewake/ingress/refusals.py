"""Refusals: errors of the ingress itself, and the HTTP form of failures.

The body keeps the public fields `code`, `message`, `source` and adds ours: `error_code` (RW4xxx), `hint`, `docs`.
Header `x-restate-error-source` is `ingress` here and `invocation` for a handler's own failure, so that clients know
which errors they may retry.
"""

from __future__ import annotations

from typing import Final

import msgspec

from rewake.errors import EXPLAIN, ErrorCode, RewakeError
from rewake.ingress.message import JSON, Head, Response
from rewake.protocol.messages import Failure

FROM_INGRESS: Final = (*JSON, (b"x-restate-error-source", b"ingress"))
FROM_INVOCATION: Final = (*JSON, (b"x-restate-error-source", b"invocation"))
RETRY_AFTER: Final = (b"retry-after", b"1")

UNAVAILABLE: Final = frozenset({ErrorCode.ENGINE_STOPPED})
"""These errors pass by themselves, as RW5xxx do: the answer is 503, and the caller may try again."""

_STATUS_MIN, _STATUS_MAX = 200, 999

_encode = msgspec.json.Encoder().encode


class Refused(Exception):
    """The ingress refuses a request. message: the public server's words, which clients know."""

    def __init__(self, status: int, code: ErrorCode, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint

    def response(self) -> Response:
        body = error_body(self.status, self.code, self.message, self.hint)
        head = (*FROM_INGRESS, RETRY_AFTER) if self.code is ErrorCode.OVERLOADED else FROM_INGRESS
        return Response(self.status, head, body)


def error_body(status: int, code: ErrorCode, message: str, hint: str) -> bytes:
    return _encode(
        {
            "code": status,
            "message": message,
            "source": "ingress",
            "error_code": code.value,
            "hint": hint,
            "docs": EXPLAIN + code.value,
        }
    )


def engine_failed(error: RewakeError) -> Response:
    """The answer if the engine failed: 503 if the caller may try again, 500 for a bug of ours."""
    is_passing = error.code.value.startswith("RW5") or error.code in UNAVAILABLE
    status = 503 if is_passing else 500
    head = (*FROM_INGRESS, RETRY_AFTER) if is_passing else FROM_INGRESS
    return Response(status, head, error_body(status, error.code, error.message, error.hint))


def failure_response(failure: Failure, head: Head = ()) -> Response:
    """A handler's terminal error: its code becomes the status. head: more headers.

    A code that is not the status of a final answer becomes 500, and the body keeps the code. (The public server sends
    1xx codes unchanged, which no client can read.)
    """
    status = failure.code if _STATUS_MIN <= failure.code <= _STATUS_MAX else 500
    body: dict[str, object] = {"code": failure.code, "message": failure.message}
    if failure.metadata:
        body["metadata"] = dict(failure.metadata)
    body["source"] = "invocation"
    return Response(status, head + FROM_INVOCATION, _encode(body))


def overloaded(limit: str) -> Refused:
    """The answer 429. limit: the setting whose limit is reached."""
    message = "too many requests, the ingress is overloaded. Retry later."
    return Refused(429, ErrorCode.OVERLOADED, message, f"Retry with growing pauses. The limit is the setting {limit}.")


def method_not_allowed() -> Refused:
    return Refused(
        405, ErrorCode.METHOD_NOT_ALLOWED, "method not allowed", "Use the method the path is documented with."
    )


def not_found() -> Refused:
    return Refused(404, ErrorCode.PATH_INVALID, "not found", "See the list of ingress paths in the HTTP reference.")


def bad_path(message: str) -> Refused:
    return Refused(400, ErrorCode.PATH_INVALID, message, "See the list of ingress paths in the HTTP reference.")


def body_too_large() -> Refused:
    """The refusal of a body without content-length that is too long."""
    message = "cannot read body: LengthLimitError"
    return Refused(413, ErrorCode.BODY_TOO_LARGE, message, "Store large data elsewhere and send a reference to it.")


def length_limit_exceeded() -> Response:
    """The answer, in plain text, to a content-length over the limit. The body is not read."""
    return Response(413, ((b"content-type", b"text/plain; charset=utf-8"),), b"length limit exceeded")
