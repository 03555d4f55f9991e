"""The display of each kind of journal entry, in one table. A new command of the protocol needs a row here.

Timeline, step pages, the CLI's journal and telemetry's spans read this table. All messages name the fields of their
content alike (input, value, result), so no table lists them. Read next: steps.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from rewake import formats
from rewake.core.state import COMPLETION_OF
from rewake.protocol import messages as m
from rewake.protocol.messages import MessageType


class Display(msgspec.Struct, frozen=True, kw_only=True):
    """kind: groups entries by colour and filter.   title: stands before the subject, or alone without one.

    about: gets the subject from a decoded command.   note: gets a line to show for a command without a result.
    is_timed: it takes time, so it has a bar in the terminal and a span.   word: stands before its subject in both.
    is_result: its content is an output, not an input.
    """

    kind: str
    title: str
    about: Callable[[Any], str] = lambda message: ""
    note: Callable[[Any], str] = lambda message: ""
    is_timed: bool = False
    word: str = ""
    is_result: bool = False


WAITS: Final = frozenset({"call", "sleep", "wait"})
"""Kinds that take time without running code of the handler."""


def _target(message: Any) -> str:
    key = f"/{message.key}" if message.key else ""
    return f"{message.service_name}{key}/{message.handler_name}"


def _state_key(message: Any) -> str:
    key: bytes = message.key
    return key.decode(errors="replace")


def _promise(message: Any) -> str:
    return str(message.key)


def _attached(message: Any) -> str:
    return str(getattr(message.target, "invocation_id", getattr(message.target, "workflow_key", "")))


DISPLAYS: Final = {
    MessageType.INPUT: Display(kind="input", title="Input"),
    MessageType.OUTPUT: Display(kind="output", title="Output", is_result=True),
    MessageType.RUN: Display(kind="step", title="Step", is_timed=True),
    MessageType.CALL: Display(kind="call", title="", about=_target, is_timed=True, word="call"),
    MessageType.ONE_WAY_CALL: Display(kind="send", title="Send", about=_target, is_timed=True, word="send"),
    MessageType.SLEEP: Display(
        kind="sleep",
        title="Sleep",
        note=lambda message: f"until {formats.moment(message.wake_up_at_ms)}",
        is_timed=True,
        word="sleep",
    ),
    MessageType.GET_LAZY_STATE: Display(kind="state", title="Get", about=_state_key),
    MessageType.GET_EAGER_STATE: Display(kind="state", title="Get", about=_state_key, is_result=True),
    MessageType.SET_STATE: Display(kind="state", title="Set", about=_state_key),
    MessageType.CLEAR_STATE: Display(kind="state", title="Clear", about=_state_key),
    MessageType.CLEAR_ALL_STATE: Display(kind="state", title="Clear all state"),
    MessageType.GET_LAZY_STATE_KEYS: Display(kind="state", title="List state keys"),
    MessageType.GET_EAGER_STATE_KEYS: Display(kind="state", title="List state keys", is_result=True),
    MessageType.GET_PROMISE: Display(
        kind="wait", title="Wait for promise", about=_promise, is_timed=True, word="promise"
    ),
    MessageType.PEEK_PROMISE: Display(kind="state", title="Look at promise", about=_promise),
    MessageType.COMPLETE_PROMISE: Display(kind="signal", title="Complete promise", about=_promise),
    MessageType.SEND_SIGNAL: Display(
        kind="signal", title="Signal", about=lambda message: f"to {message.target_invocation_id}"
    ),
    MessageType.ATTACH_INVOCATION: Display(
        kind="wait", title="Attach to", about=_attached, is_timed=True, word="attach"
    ),
    MessageType.GET_INVOCATION_OUTPUT: Display(kind="wait", title="Output of", about=_attached),
    MessageType.COMPLETE_AWAKEABLE: Display(
        kind="signal", title="Complete awakeable", about=lambda message: str(message.awakeable_id)
    ),
    MessageType.SIGNAL: Display(kind="signal", title="Signal", is_result=True),
}
"""Every command, and the signal, which has no command."""

RESULT_TYPES: Final = COMPLETION_OF | {MessageType.ONE_WAY_CALL: MessageType.CALL_INVOCATION_ID_COMPLETION}
"""Command -> type of the notification with its result; for a send, with the id of the new run."""

_CARRIED: Final = ("result", "value", "parameter")


def carried(message: Any) -> m.Result | None:
    """The value or failure in a command or a notification; None if it has neither."""
    found = next((value for name in _CARRIED if (value := getattr(message, name, None)) is not None), None)
    if found is None and isinstance(message, m.GetEagerStateKeysCommand):
        return m.StateKeys(message.keys)
    return m.Success(found) if isinstance(found, bytes) else found


def line_of(result: m.Result | None, chars_max: int = 120) -> str:
    """A value or failure on one line."""
    match result:
        case m.Success(content):
            return formats.line(content, chars_max)
        case m.Failure(code, text, _):
            return formats.line(f"[{code}] {text}", chars_max)
        case m.StateKeys(keys):
            return formats.line([key.decode(errors="replace") for key in keys], chars_max)
    return ""


def line_for(display: Display, message: Any, chars_max: int = 120) -> str:
    """An entry's value, or its command's note, on one line. message: decoded; None gives an empty text."""
    found = line_of(carried(message), chars_max)
    is_command = not isinstance(message, m.Completion | m.Signal | None)
    return found or (display.note(message) if is_command else "")
