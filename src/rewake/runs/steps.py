"""Journal entries as steps: a command with the completion that answers it, who it called, and how it went.

Two kinds of reading: `steps_of` from rows without payloads (cheap for 10,000 entries), then `name_step` for the few
steps that are shown, from their decoded commands. displays.py has how each kind is shown. Knows no time scale and no
HTML. Read next: timeline.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from rewake.core.model import Invocation
from rewake.core.writes import EntryRow
from rewake.protocol.codec import decode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import CANCEL_SIGNAL, FIRST_USER_SIGNAL, MessageType
from rewake.runs.displays import DISPLAYS, RESULT_TYPES, Display
from rewake.runs.facts import EventFact

DEFAULT_VERSION: Final = 6
"""Of the service protocol, for what is not pinned yet."""

_OTHER: Final = Display(kind="state", title="")


class Step(msgspec.Struct, kw_only=True):
    """One thing a run did. index: of its entry.   ordinal: among commands, from 0; None for signals that came in.

    end_ms: when it was done; None while it is not.   child: id of the run it called.   done_index: of the completion.
    subject: what it is about, once name_step() has decoded its command.
    """

    index: int
    ordinal: int | None
    type: MessageType
    kind: str
    name: str
    title: str
    start_ms: int
    end_ms: int | None
    is_failure: bool = False
    child: bytes | None = None
    done_index: int | None = None
    subject: str = ""

    @property
    def is_done(self) -> bool:
        return self.end_ms is not None

    @property
    def display(self) -> Display:
        return DISPLAYS.get(self.type, _OTHER)

    @property
    def result_type(self) -> MessageType:
        """The type of the entry that holds its result."""
        return self.type if self.done_index in (None, self.index) else RESULT_TYPES.get(self.type, self.type)

    @property
    def result_index(self) -> int:
        """Where its result is: the completion, or the entry itself."""
        return self.index if self.done_index is None else self.done_index


def steps_of(rows: Iterable[EntryRow]) -> list[Step]:
    """The steps of a journal, in order; titles are those that need no payload."""
    steps: list[Step] = []
    waiting: dict[tuple[int, int], Step] = {}
    calls: list[Step] = []
    ordinal = 0
    for row in rows:
        try:
            type_ = MessageType(row.type_id)
        except ValueError:
            continue
        if type_ is MessageType.CALL_INVOCATION_ID_COMPLETION:
            if calls:
                callee = calls.pop(0)
                callee.child = row.child
                if callee.type is MessageType.ONE_WAY_CALL:
                    callee.done_index = row.index
        elif type_ is MessageType.SIGNAL:
            steps.append(_signal(row))
        elif not row.is_command:
            step = waiting.pop((type_, row.completion_id or 0), None)
            if step is not None:
                step.end_ms, step.is_failure, step.done_index = row.appended_at_ms, row.is_failure, row.index
        else:
            step = _command(row, type_, ordinal)
            ordinal += 1
            steps.append(step)
            if not step.is_done and row.completion_id is not None:
                waiting[RESULT_TYPES[type_], row.completion_id] = step
            if type_ in (MessageType.CALL, MessageType.ONE_WAY_CALL):
                calls.append(step)
    return steps


def _command(row: EntryRow, type_: MessageType, ordinal: int) -> Step:
    has_result = type_ in RESULT_TYPES and type_ is not MessageType.ONE_WAY_CALL
    display = DISPLAYS.get(type_, _OTHER)
    return Step(
        index=row.index,
        ordinal=ordinal,
        type=type_,
        kind=display.kind,
        name=row.name or "",
        title=row.name or display.title or type_.name.replace("_", " ").capitalize(),
        start_ms=row.appended_at_ms,
        end_ms=None if has_result else row.appended_at_ms,
    )


def _signal(row: EntryRow) -> Step:
    title, subject = "Signal", str(row.signal)
    if row.signal == CANCEL_SIGNAL:
        title, subject = "Cancelled", "cancel"
    elif isinstance(row.signal, int) and row.signal >= FIRST_USER_SIGNAL:
        title, subject = "Awakeable answered", f"awakeable {row.signal}"
    return Step(
        index=row.index,
        ordinal=None,
        type=MessageType.SIGNAL,
        kind=DISPLAYS[MessageType.SIGNAL].kind,
        name="" if isinstance(row.signal, int) or row.signal is None else row.signal,
        title=title,
        start_ms=row.appended_at_ms,
        end_ms=row.appended_at_ms,
        is_failure=row.is_failure,
        done_index=row.index,
        subject=subject,
    )


def version_of(invocation: Invocation) -> int:
    """The protocol version of its journal."""
    return invocation.pinned_version or DEFAULT_VERSION


def decoded(step_type: int, payload: bytes, version: int) -> Any:
    """The message, or None when it cannot be read: one bad entry must not hide the others."""
    try:
        return decode_message(step_type, payload, version)
    except (ProtocolViolation, ValueError):
        return None


def name_step(step: Step, message: Any) -> None:
    """Give a step the title from its decoded command: whom it called, which key it read. None changes nothing."""
    about = "" if message is None else step.display.about(message)
    if not about:
        return
    step.subject = about
    if step.name and step.kind in ("call", "send"):
        step.title = f"{step.name} · {about}"
    elif not step.name:
        step.title = f"{step.display.title} {about}".strip()


def failures_by_step(events: list[EventFact]) -> dict[int, list[EventFact]]:
    """Failed attempts by the command they are about."""
    found: dict[int, list[EventFact]] = {}
    for event in events:
        about = event.data.get("related_command_index")
        if event.kind == "TransientError" and isinstance(about, int):
            found.setdefault(about, []).append(event)
    return found
