"""Adds the app's line to a mismatch: the SDK raises at that line, but reports no stack trace.

If an attempt fails with 570, the trace of the SDK's exception is added to the outgoing Error message. Nothing happens
before that, so it costs a step nothing. Called by containment.py, which sees the handler's exceptions.
"""

from __future__ import annotations

import sys
import traceback
from typing import Any, Final

import msgspec

from rewake.deployments.step_lines import is_of_app
from rewake.protocol.codec import decode_message, encode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.framing import FrameDecoder, encode_frame
from rewake.protocol.messages import Error, MessageType

JOURNAL_MISMATCH: Final = 570
TRACE: Final = "Traceback (most recent call last):\n"
"""The head of the trace, as Python writes it."""

CAUSES_MAX: Final = 20
"""Exceptions that are searched in the chain of the raised one: frameworks wrap exceptions."""

_VERSION: Final = 6
"""Version of the protocol. An Error message is the same in all."""


def add_trace(context: Any, error: BaseException) -> None:
    """Make the SDK's next Error message include the app's line. context: the handler's, from the SDK.

    Does nothing for other failures, or with an unexpected SDK.
    """
    raised = _raised_by_sdk(error)
    vm = getattr(context, "vm", None)
    if raised is None or vm is None:
        return
    output = vm.take_output()
    body = _traced(bytes(output), _trace_of(error)) if output else b""
    take_more = vm.take_output

    def take_output() -> bytes:
        nonlocal body
        given, body = body, b""
        return given or take_more()

    vm.take_output = take_output


def _raised_by_sdk(error: BaseException) -> BaseException | None:
    """The SDK's exception for a mismatch in the chain of `error`; None if there is no such exception."""
    kind = getattr(sys.modules.get("restate.vm"), "VMException", None)
    found: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if found is None or kind is None:
            return None
        if isinstance(found, kind):
            return found if f"({JOURNAL_MISMATCH})" in str(found) else None
        found = found.__cause__ or found.__context__
    return None


def _trace_of(error: BaseException) -> str:
    """The frames of the app, or all frames if none is the app's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if is_of_app(each.filename)]
    return TRACE + "".join(traceback.format_list(own or list(frames)))


def _traced(body: bytes, trace: str) -> bytes:
    """A chunk of whole messages, with the trace in its Error message."""
    decoder = FrameDecoder()
    frames = decoder.feed(body)
    if decoder.oversized is not None or decoder.pending:
        return body
    return b"".join(encode_frame(type_id, _with(trace, type_id, payload), flags) for type_id, flags, payload in frames)


def _with(trace: str, type_id: int, payload: bytes) -> bytes:
    if type_id != MessageType.ERROR:
        return payload
    try:
        message = decode_message(type_id, payload, _VERSION)
    except ProtocolViolation:
        return payload
    if not isinstance(message, Error) or message.code != JOURNAL_MISMATCH or message.stacktrace:
        return payload
    return encode_message(msgspec.structs.replace(message, stacktrace=trace), _VERSION)
