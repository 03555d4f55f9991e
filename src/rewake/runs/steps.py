"""Journal entries as steps: a command with the completion that answers it, who it called, and how it went.

Two kinds of reading: `steps_of` from rows without payloads (cheap for 10,000 entries), then `named` for the few steps a
page shows, which decodes their commands. Knows no time scale and no HTML. Read next: timeline.py.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from rewake.core.writes import EntryRow
from rewake.protocol import messages as m
from rewake.protocol.codec import decode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import CANCEL_SIGNAL, FIRST_USER_SIGNAL, MessageType
from rewake.runs.facts import EventFact

NOTIFICATIONS_FROM: Final = MessageType.GET_LAZY_STATE_COMPLETION

KINDS: Final[dict[MessageType, str]] = {
    MessageType.INPUT: "input",
    MessageType.OUTPUT: "output",
    MessageType.RUN: "step",
    MessageType.CALL: "call",
    MessageType.ONE_WAY_CALL: "send",
    MessageType.SLEEP: "sleep",
    MessageType.GET_LAZY_STATE: "state",
    MessageType.SET_STATE: "state",
    MessageType.CLEAR_STATE: "state",
    MessageType.CLEAR_ALL_STATE: "state",
    MessageType.GET_LAZY_STATE_KEYS: "state",
    MessageType.GET_EAGER_STATE: "state",
    MessageType.GET_EAGER_STATE_KEYS: "state",
    MessageType.GET_PROMISE: "wait",
    MessageType.PEEK_PROMISE: "state",
    MessageType.COMPLETE_PROMISE: "signal",
    MessageType.SEND_SIGNAL: "signal",
    MessageType.ATTACH_INVOCATION: "wait",
    MessageType.GET_INVOCATION_OUTPUT: "wait",
    MessageType.COMPLETE_AWAKEABLE: "signal",
    MessageType.SIGNAL: "signal",
}
WAITS: Final = frozenset({"call", "sleep", "wait"})
"""Kinds that take time while no code of the handler needs to run."""

_COMPLETED_BY: Final = {
    MessageType.GET_LAZY_STATE: MessageType.GET_LAZY_STATE_COMPLETION,
    MessageType.GET_LAZY_STATE_KEYS: MessageType.GET_LAZY_STATE_KEYS_COMPLETION,
    MessageType.GET_PROMISE: MessageType.GET_PROMISE_COMPLETION,
    MessageType.PEEK_PROMISE: MessageType.PEEK_PROMISE_COMPLETION,
    MessageType.COMPLETE_PROMISE: MessageType.COMPLETE_PROMISE_COMPLETION,
    MessageType.SLEEP: MessageType.SLEEP_COMPLETION,
    MessageType.CALL: MessageType.CALL_COMPLETION,
    MessageType.RUN: MessageType.RUN_COMPLETION,
    MessageType.ATTACH_INVOCATION: MessageType.ATTACH_INVOCATION_COMPLETION,
    MessageType.GET_INVOCATION_OUTPUT: MessageType.GET_INVOCATION_OUTPUT_COMPLETION,
}
COMPLETION_TYPES: Final = _COMPLETED_BY | {MessageType.ONE_WAY_CALL: MessageType.CALL_INVOCATION_ID_COMPLETION}
"""Command -> type of the notification that holds its result; a send's is the id of the run it made."""


class Step(msgspec.Struct, kw_only=True):
    """One thing a run did. index: of its entry.   ordinal: among commands, from 0; None for signals that came in.

    end_ms: when it was done; None while it is not.   child: id of the run it called.   done_index: of the completion.
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

    @property
    def is_done(self) -> bool:
        return self.end_ms is not None


def steps_of(rows: list[EntryRow]) -> list[Step]:
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
            title = "Cancelled" if row.signal == CANCEL_SIGNAL else "Signal"
            if isinstance(row.signal, int) and row.signal >= FIRST_USER_SIGNAL:
                title = "Awakeable answered"
            steps.append(
                Step(
                    index=row.index,
                    ordinal=None,
                    type=type_,
                    kind="signal",
                    name="" if isinstance(row.signal, int) or row.signal is None else row.signal,
                    title=title,
                    start_ms=row.appended_at_ms,
                    end_ms=row.appended_at_ms,
                    is_failure=row.is_failure,
                    done_index=row.index,
                )
            )
        elif type_ >= NOTIFICATIONS_FROM:
            step = waiting.pop((type_, row.completion_id or 0), None)
            if step is not None:
                step.end_ms, step.is_failure, step.done_index = row.appended_at_ms, row.is_failure, row.index
        else:
            done = _COMPLETED_BY.get(type_)
            step = Step(
                index=row.index,
                ordinal=ordinal,
                type=type_,
                kind=KINDS.get(type_, "state"),
                name=row.name or "",
                title=row.name or _plain_title(type_),
                start_ms=row.appended_at_ms,
                end_ms=None if done else row.appended_at_ms,
                is_failure=False,
            )
            ordinal += 1
            steps.append(step)
            if done is not None and row.completion_id is not None:
                waiting[done, row.completion_id] = step
            if type_ in (MessageType.CALL, MessageType.ONE_WAY_CALL):
                calls.append(step)
    return steps


def decoded(step_type: int, payload: bytes, version: int) -> Any:
    """The message, or None when it cannot be read: one bad entry must not hide the others."""
    try:
        return decode_message(step_type, payload, version)
    except (ProtocolViolation, ValueError):
        return None


def name_step(step: Step, payload: bytes, version: int) -> None:
    """Give a step the title its command tells: whom it called, which key it read, how long it sleeps."""
    message = decoded(step.type, payload, version)
    if message is None:
        return
    subject = subject_of(message)
    if step.name and subject and step.kind in ("call", "send"):
        step.title = f"{step.name} · {subject}"
    elif not step.name and subject:
        step.title = f"{_TITLES.get(step.type, '')} {subject}".strip()


def failures_by_step(events: list[EventFact]) -> dict[int, list[EventFact]]:
    """Failed attempts by the command they are about."""
    found: dict[int, list[EventFact]] = {}
    for event in events:
        about = event.data.get("related_command_index")
        if event.kind == "TransientError" and isinstance(about, int):
            found.setdefault(about, []).append(event)
    return found


def subject_of(message: Any) -> str:
    """What a command is about."""
    match message:
        case m.CallCommand() | m.OneWayCallCommand():
            key = f"/{message.key}" if message.key else ""
            return f"{message.service_name}{key}/{message.handler_name}"
        case m.GetLazyStateCommand() | m.GetEagerStateCommand() | m.SetStateCommand() | m.ClearStateCommand():
            return message.key.decode(errors="replace")
        case m.GetPromiseCommand() | m.PeekPromiseCommand() | m.CompletePromiseCommand():
            return str(message.key)
        case m.SendSignalCommand():
            return f"to {message.target_invocation_id}"
        case m.CompleteAwakeableCommand():
            return str(message.awakeable_id)
        case m.AttachInvocationCommand() | m.GetInvocationOutputCommand():
            return str(getattr(message.target, "invocation_id", getattr(message.target, "workflow_key", "")))
    return ""


_TITLES: Final = {
    MessageType.INPUT: "Input",
    MessageType.OUTPUT: "Output",
    MessageType.RUN: "Step",
    MessageType.CALL: "",
    MessageType.ONE_WAY_CALL: "Send",
    MessageType.SLEEP: "Sleep",
    MessageType.GET_LAZY_STATE: "Get",
    MessageType.GET_EAGER_STATE: "Get",
    MessageType.SET_STATE: "Set",
    MessageType.CLEAR_STATE: "Clear",
    MessageType.CLEAR_ALL_STATE: "Clear all state",
    MessageType.GET_LAZY_STATE_KEYS: "List state keys",
    MessageType.GET_EAGER_STATE_KEYS: "List state keys",
    MessageType.GET_PROMISE: "Wait for promise",
    MessageType.PEEK_PROMISE: "Look at promise",
    MessageType.COMPLETE_PROMISE: "Complete promise",
    MessageType.SEND_SIGNAL: "Signal",
    MessageType.ATTACH_INVOCATION: "Attach to",
    MessageType.GET_INVOCATION_OUTPUT: "Output of",
    MessageType.COMPLETE_AWAKEABLE: "Complete awakeable",
}


def _plain_title(type_: MessageType) -> str:
    return _TITLES.get(type_) or ("Call" if type_ is MessageType.CALL else type_.name.replace("_", " ").capitalize())
