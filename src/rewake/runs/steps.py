"""Journal entries become steps: a command with its completion, the run it called, and its outcome.

`steps_of` reads rows without payloads (cheap for 10,000 entries). `name_step` then names the few steps that are shown,
from their decoded commands. displays.py has the display of each kind. Read next: timeline.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from rewake.core.ids import EntryIndex
from rewake.core.model import Invocation
from rewake.core.writes import EntryRow
from rewake.disclosure import SEALED, shown_message
from rewake.protocol.codec import decode_message, encode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import CANCEL_SIGNAL, FIRST_USER_SIGNAL, MessageType
from rewake.runs.displays import DISPLAYS, RESULT_TYPES, Display
from rewake.runs.facts import EventFact

DEFAULT_VERSION: Final = 6
"""Version of the service protocol for runs that are not pinned to a deployment yet."""

_OTHER: Final = Display(kind="state", title="")


class Step(msgspec.Struct, kw_only=True):
    """One step. index: of its entry.   ordinal: among commands, from 0; None for signals.

    end_ms: None until it is done.   child: id of the run it called.   done_index: of the completion.
    subject: such as a callee or a key, set by name_step().
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
        """The type of the entry with its result."""
        return self.type if self.done_index in (None, self.index) else RESULT_TYPES.get(self.type, self.type)

    @property
    def result_index(self) -> int:
        """The index of the entry with its result: the completion, or the command itself."""
        return self.index if self.done_index is None else self.done_index


def steps_of(rows: Iterable[EntryRow]) -> list[Step]:
    """The steps of a journal, in order, with titles that need no payload."""
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
    """The message, as it may be shown; None if it cannot be decoded: one bad entry must not hide the others."""
    try:
        return shown_message(decode_message(step_type, payload, version))
    except (ProtocolViolation, ValueError):
        return None


def opened_payload(step_type: int, payload: bytes, version: int) -> bytes:
    """The payload of an entry. Sealed parts are decrypted if this process has the key."""
    message = decoded(step_type, payload, version) if SEALED in payload else None
    return payload if message is None else encode_message(message, version)


def mentioning(text: str, payloads: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The entries (type, payload) that contain a text, with sealed parts decrypted."""
    part = text.encode()
    found = ((type_, opened_payload(type_, payload, DEFAULT_VERSION)) for type_, payload in payloads)
    return [(type_, payload) for type_, payload in found if part in payload]


def name_step(step: Step, message: Any) -> None:
    """Set a step's title from its decoded command: the callee, or the key it read. None changes nothing."""
    about = "" if message is None else step.display.about(message)
    if not about:
        return
    step.subject = about
    if step.name and step.kind in ("call", "send"):
        step.title = f"{step.name} · {about}"
    elif not step.name:
        step.title = f"{step.display.title} {about}".strip()


def named_steps(rows: Sequence[EntryRow], version: int) -> list[Step]:
    """The steps of a journal, named. rows: in order, with their payloads.   version: of the protocol."""
    steps = steps_of(rows)
    payloads = {row.index: row.payload for row in rows}
    for step in steps:
        name_step(step, decoded(step.type, payloads[EntryIndex(step.index)], version))
    return steps


def failures_by_step(events: list[EventFact]) -> dict[int, list[EventFact]]:
    """Failed attempts by the command that failed."""
    found: dict[int, list[EventFact]] = {}
    for event in events:
        about = event.data.get("related_command_index")
        if event.kind == "TransientError" and isinstance(about, int):
            found.setdefault(about, []).append(event)
    return found
