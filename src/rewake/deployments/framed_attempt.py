"""FramedAttempt, the common base of all byte transports: one attempt between frames and messages.

It is the engine's handle. A transport gives it a RequestStream to write to, and passes it the response. This file
checks response heads (service-protocol.md 1.6) and messages of the SDK, and ends attempts: after End, Suspension or
Error it closes the request at once, sends nothing more and ignores further bytes. Transports add no rules. Read next:
in_process.py, the smallest transport.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import quote

import msgspec

from rewake.core.model import Blame
from rewake.deployments.base import (
    AttemptFailure,
    AttemptSink,
    AttemptStart,
    DiscoveryResponse,
    ProtocolType,
    ReceivedMessage,
)
from rewake.deployments.incomplete import COUNTED_FROM_BYTES, IncompleteMessages, bytes_max
from rewake.errors import ErrorCode, RewakeError
from rewake.printable import printable
from rewake.protocol.codec import decode_message
from rewake.protocol.errors import MESSAGE_TOO_LARGE, ProtocolViolation
from rewake.protocol.framing import FrameDecoder, Oversized
from rewake.protocol.messages import MessageType

Headers = list[tuple[bytes, bytes]]

_FROM_SDK: Final = frozenset(
    {
        MessageType.SUSPENSION,
        MessageType.ERROR,
        MessageType.END,
        MessageType.PROPOSE_RUN_COMPLETION,
        MessageType.AWAITING_ON,
        *(each for each in MessageType if MessageType.OUTPUT <= each <= MessageType.COMPLETE_AWAKEABLE),
    }
)
_TERMINAL: Final = frozenset({MessageType.SUSPENSION, MessageType.ERROR, MessageType.END})
_RESULTS: Final = frozenset({MessageType.PROPOSE_RUN_COMPLETION, MessageType.OUTPUT})
_SUSPENSION: Final = int(MessageType.SUSPENSION)

_MANIFEST_TYPE: Final = re.compile(r"application/vnd\.restate\.endpointmanifest\.v([0-9]{1,3})\+json")
_KEY_HEADER_CHARS_MAX: Final = 4096  # A longer key is only in Start, where SDKs read it anyway.
_ECHOED_CHARS_MAX: Final = 80
"""Characters of an answer in an error, for a server reached by URL: enough for an SDK's reason, too little to read data
of that server through us."""

_OWN_ECHOED_CHARS_MAX: Final = 500
"""The same for an app in our own process."""
_STATUS_UNKNOWN: Final = 500

_RETRY_AFTER_DIGITS_MAX: Final = 12
"""Digits of 30,000 years in seconds. A longer number is read as so many nines."""

_MEANINGS: Final[Mapping[int, tuple[str, int, str]]] = {
    401: ("RT0012", 500, "it refuses the request's identity"),
    404: ("RT0012", 500, "it does not serve this service or handler"),
    413: ("RT0019", 413, "the journal is larger than it accepts"),
    415: ("RT0015", 415, "it does not speak this protocol version; register the deployment again"),
    429: ("RT0023", 429, "it is busy"),
    502: ("RT0010", 502, "something before it could not reach it"),
    503: ("RT0023", 503, "it is not available at the moment"),
    504: ("RT0010", 504, "something before it waited for it too long"),
}
"""HTTP status of an answer -> (code, status to store, meaning). Any other status but 200 is RT0012."""


_incomplete: Final = IncompleteMessages()

_DEAF: Final = FrameDecoder()
"""Of attempts that are over: nothing is fed to it."""


class RequestStream(Protocol):
    """A transport's request side of one attempt. No method blocks or raises."""

    def write(self, data: bytes) -> None:
        """Add bytes to the request."""

    def end(self) -> None:
        """Close the request. Called at most once."""

    def finish(self) -> None:
        """Close the request after a terminal message; the rest of the response is not needed."""

    def reset(self) -> None:
        """Abort request and response."""


class FramedAttempt:
    """One attempt: an AttemptHandle for the engine, and on_head ... on_error for the transport.

    is_over: the sink gets no further call, and the transport may drop the attempt.
    """

    __slots__ = (
        "_decoder",
        "_has_head",
        "_is_closed",
        "_is_counted",
        "_is_draining",
        "_sink",
        "_skipped_frames",
        "is_over",
        "start",
        "stream",
    )

    def __init__(self, start: AttemptStart, sink: AttemptSink, stream: RequestStream) -> None:
        self.stream = stream
        self.is_over = False
        self.start = start
        self._sink = sink
        self._decoder = FrameDecoder(start.message_bytes_max)
        self._is_counted = False
        self._has_head = False
        self._is_closed = False
        self._is_draining = False
        self._skipped_frames = False

    # The engine's side

    def send(self, frames: bytes) -> None:
        """AttemptHandle.send."""
        if self._is_closed:
            self._skipped_frames = self._is_draining
        elif not self.is_over:
            self.stream.write(frames)

    def half_close(self) -> None:
        """AttemptHandle.half_close."""
        if not (self._is_closed or self.is_over):
            self._is_closed = True
            self.stream.end()

    def abort(self) -> None:
        """AttemptHandle.abort."""
        if not self.is_over:
            self._end()
            self.stream.reset()

    # The transport's side

    def on_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """The response head. Only 200 with the request's content type is accepted; any other fails the attempt."""
        if self.is_over:
            return
        self._has_head = True
        failure = _judge_head(self.start, status, tuple(headers))
        if failure is not None:
            self._fail(failure)

    def on_data(self, chunk: bytes) -> None:  # noqa: C901 - in one piece, because it is hot
        """Bytes of the response body; the sink gets all complete messages in one call."""
        if self.is_over or self._decoder.oversized:
            return
        messages: list[ReceivedMessage] = []
        violation = None
        is_terminal = False
        version = self.start.protocol_version
        try:
            if not self._has_head:
                raise ProtocolViolation("bytes came before the response head")
            for type_id, flags, payload in self._decoder.feed(chunk):
                if type_id not in _FROM_SDK:
                    raise ProtocolViolation(f"an SDK must not send a message of type 0x{type_id:04X}")
                messages.append((decode_message(type_id, payload, version), type_id, payload, flags))
                if type_id in _TERMINAL:
                    is_terminal = True
                    break
            if (oversized := self._decoder.oversized) is not None:
                messages.append((_result_of(oversized), oversized.type_id, b"", 0))
        except ProtocolViolation as error:
            violation = error
        if is_terminal and self._skipped_frames and messages[-1][1] == _SUSPENSION:
            self._replace_suspension(messages)
            return
        if messages:
            self._sink.on_messages(messages)
        if is_terminal:
            self._finish()
        elif violation is not None:
            self._fail(AttemptFailure(code=violation.code, status=_STATUS_UNKNOWN, message=violation.message))
        elif self._is_counted or self._decoder.pending:
            self._count_incomplete()

    def on_end(self) -> None:
        """The response ended. Without an earlier terminal message this is a failure."""
        text = "The response ended without End, Suspension or Error."
        self._fail(AttemptFailure(code="RT0007", status=_STATUS_UNKNOWN, message=text))

    def on_error(self, message: str, retry_after_ms: int | None = None, blame: Blame = Blame.OWN) -> None:
        """The connection or the process broke."""
        self._fail(
            AttemptFailure(
                code="RT0010", status=_STATUS_UNKNOWN, message=message, retry_after_ms=retry_after_ms, blame=blame
            )
        )

    def on_app_error(self, error: str) -> None:
        """The app raised. A server would answer 500, or reset a response that has begun."""
        if self._has_head:
            self.on_error(f"The app raised {error}")
        else:
            text = f"The deployment could not take the request: the app raised {error}"
            self._fail(AttemptFailure(code="RT0012", status=_STATUS_UNKNOWN, message=text))

    def close_request(self) -> None:
        """Half-close by the transport itself, because it wants to end.

        The engine does not know this. Notifications that it sends afterwards are lost, so a later Suspension is not
        valid: see _replace_suspension.
        """
        if not (self._is_closed or self.is_over):
            self._is_draining = True
            self.half_close()

    def _replace_suspension(self, messages: list[ReceivedMessage]) -> None:
        """The SDK suspended before it saw all notifications of the engine: fail, so that a new attempt replays them.

        Accepting the Suspension would lose a wake-up, because the engine counts sent notifications as seen.
        """
        if len(messages) > 1:
            self._sink.on_messages(messages[:-1])
        self.on_error("The request was closed while notifications were on their way.", 0, Blame.NOBODY)

    def _count_incomplete(self) -> None:
        """Report the bytes of an incomplete message, unless the attempt is over."""
        size = len(self._decoder.pending)
        if size >= COUNTED_FROM_BYTES:
            self._is_counted = True
            _incomplete.note(self._give_up, size, self._incomplete_bytes_max)
        elif self._is_counted:
            self._is_counted = False
            _incomplete.forget(self._give_up)

    @property
    def _incomplete_bytes_max(self) -> int:
        return bytes_max(self.start.message_bytes_max)

    def _give_up(self) -> None:
        bound = self._incomplete_bytes_max
        text = (
            f"Incomplete messages of all attempts take more than {bound} bytes. "
            f"This attempt held most of them: {len(self._decoder.pending)} bytes."
        )
        self._fail(AttemptFailure(code=MESSAGE_TOO_LARGE, status=_STATUS_UNKNOWN, message=text))

    def _end(self) -> None:
        """End the attempt: drop its buffer."""
        self.is_over = True
        if self._is_counted:
            self._is_counted = False
            _incomplete.forget(self._give_up)
        self._decoder = _DEAF

    def _finish(self) -> None:
        if not self.is_over:  # The sink may have aborted it.
            self._end()
            self.stream.finish()
            self._sink.on_closed()

    def _fail(self, failure: AttemptFailure) -> None:
        if not self.is_over:
            self._end()
            self.stream.reset()
            self._sink.on_failure(failure)


def _result_of(oversized: Oversized) -> Oversized:
    """An oversized result, which can be refused alone. Raises ProtocolViolation for any other oversized message."""
    if oversized.type_id not in _RESULTS:
        raise ProtocolViolation(
            f"message of type 0x{oversized.type_id:04X} has {oversized.size} bytes, "
            f"more than the {oversized.size_max} allowed",
            MESSAGE_TOO_LARGE,
        )
    return oversized


# Request


def invoke_path(start: AttemptStart) -> bytes:
    """The attempt's path below a deployment's prefix. Names need no quoting: discovery has checked them."""
    return f"/invoke/{start.service}/{start.handler}".encode()


def request_headers(start: AttemptStart) -> Headers:
    """The headers of the attempt. The content type has the protocol version."""
    content_type = invocation_content_type(start.protocol_version)
    headers = [
        (b"content-type", content_type),
        (b"accept", content_type),
        (b"x-restate-invocation-id", start.invocation_id.encode()),
    ]
    if start.key is not None and len(start.key) <= _KEY_HEADER_CHARS_MAX:
        headers.append((b"x-restate-service-key", quote(start.key, safe="").encode()))
    for name, value in start.headers:
        headers.append((name.lower().encode(), value.encode()))
    return headers


@lru_cache(maxsize=16)
def invocation_content_type(version: int) -> bytes:
    """Content type of requests and responses of one protocol version."""
    return f"application/vnd.restate.invocation.v{version}".encode()


# Response


def _judge_head(start: AttemptStart, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> AttemptFailure | None:
    if status == 200:
        expected = invocation_content_type(start.protocol_version)
        content_type = header(headers, b"content-type")
        if content_type == expected:
            return None
        text = f"The deployment answered with content type {_shown(content_type)} instead of {_shown(expected)}."
        return AttemptFailure(code="RT0012", status=_STATUS_UNKNOWN, message=text)
    code, stored_status, meaning = _MEANINGS.get(status, ("RT0012", _STATUS_UNKNOWN, "it could not take the request"))
    text = f"The deployment answered {status} to {start.service}/{start.handler}: {meaning}."
    wait_ms = _retry_after_ms(header(headers, b"retry-after")) if code == "RT0023" else None
    return AttemptFailure(code=code, status=stored_status, message=text, retry_after_ms=wait_ms)


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """First value of a header. name: in lower case."""
    return next((value for each, value in headers if each.lower() == name), None)


def _shown(value: bytes | None) -> str:
    return "none" if value is None else repr(value.decode("latin-1"))


def _retry_after_ms(value: bytes | None) -> int | None:
    """Milliseconds to wait, from whole seconds or a future HTTP date; None for any other value."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isdecimal():
        seconds = text.lstrip("0") or "0"
        return int(seconds if len(seconds) <= _RETRY_AFTER_DIGITS_MAX else "9" * _RETRY_AFTER_DIGITS_MAX) * 1000
    try:
        at_ms = int(parsedate_to_datetime(text).timestamp() * 1000)
    except (ValueError, OverflowError, IndexError, TypeError):  # the parser is not safe for hostile input
        return None
    wait_ms = at_ms - time.time_ns() // 1_000_000
    return wait_ms if wait_ms > 0 else None


# Discovery


def discovery_response(
    status: int, headers: Mapping[str, str], body: bytes, *, where: str, is_foreign: bool = False
) -> DiscoveryResponse:
    """The checked answer to discovery. where: the deployment's name in errors.   is_foreign: it is reached by URL.

    Raises RewakeError RW2004 for any status but 200, RW2005 for an answer that is not a manifest.
    """
    if status != 200:
        chars_max = _ECHOED_CHARS_MAX if is_foreign else _OWN_ECHOED_CHARS_MAX
        text = _echoed(body[: 4 * chars_max].decode(errors="replace"), chars_max)
        raise RewakeError(
            ErrorCode.DISCOVERY_REFUSED,
            f"{where} answered {status} to discovery (META0003).\n{text or 'It gave no reason.'}",
            "Check that it serves a restate app at this address.",
            status=status,
        )
    content_type = headers.get("content-type", "")
    match = _MANIFEST_TYPE.fullmatch(content_type)
    if match is None or _mode_of(body) is None:
        raise RewakeError(
            ErrorCode.DISCOVERY_INVALID,
            f"{where} answered discovery with something that is no endpoint manifest (META0013).\n"
            f"Its content type is {_echoed(content_type)!r}.",
            "Check that it serves a restate app at this address.",
        )
    server = headers.get("x-restate-server")
    return DiscoveryResponse(
        manifest_version=int(match[1]), server=None if server is None else _echoed(server), body=body
    )


def protocol_type_of(discovery: DiscoveryResponse) -> ProtocolType:
    """The protocol mode in the manifest."""
    return "request_response" if _mode_of(discovery.body) == "REQUEST_RESPONSE" else "bidi"


class _Mode(msgspec.Struct):
    """The only field of a manifest that a transport needs."""

    protocolMode: object = ""  # noqa: N815  the manifest's name


_decode_mode = msgspec.json.Decoder(_Mode).decode


def _mode_of(body: bytes) -> object:
    """The protocol mode of a manifest; None if the body is not a JSON object."""
    try:
        return _decode_mode(body).protocolMode or ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _echoed(text: str, chars_max: int = _ECHOED_CHARS_MAX) -> str:
    """The beginning of a foreign text, on one line and without control characters."""
    return printable(" ".join(text[: 2 * chars_max].split())[:chars_max])
