"""Marks of one run: the engine's commits become events of its stream. Pure: no I/O, no clock.

`Marks` holds the open steps and the run's condition; each method takes one fact and returns the events that follow.
The journal holds the same facts. So a stream that began late or lost its end is completed by calling `on_entry` for all
entries: an entry that already has its mark gives no event. `fold` rebuilds the Marks of a stored stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from rewake.agents.approvals import asked_in, outcome_in
from rewake.agents.envelope import Envelope, decode_envelope
from rewake.core.ids import CompletionId, InvocationId, awakeable_id_format, invocation_id_to_str
from rewake.core.lifecycle import CANCELED, KILLED
from rewake.core.model import AttemptError, Target
from rewake.core.writes import EntryRow
from rewake.protocol.awaiting import waiting_signals
from rewake.protocol.codec import decode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import (
    FIRST_USER_SIGNAL,
    CallCommand,
    Completion,
    Failure,
    Future,
    MessageType,
    Signal,
    Success,
)
from rewake.streams.events import (
    Answered,
    Delta,
    Ended,
    Event,
    Failed,
    Outcome,
    Paused,
    Resumed,
    Started,
    StepCommitted,
    StepStarted,
    Suspended,
    Void,
    Waiting,
)

VALUE_BYTES_MAX: Final = 256 * 1024
"""Results above it are left out of the stream; they are in the journal."""

_CANCELLED_WORDS: Final = frozenset({CANCELED.message, "cancelled"})
_COMMANDS: Final = frozenset({MessageType.RUN, MessageType.CALL})
LATE_MS: Final = 50
"""A writer may still begin so long after its step's result was stored: its connection took longer than the body."""

_PLAIN, _QUESTION, _ANSWERED = "plain", "question", "answered"
_RESTS: Final[dict[type[Any], str]] = {Suspended: "suspended", Paused: "paused"}
_RESULTS: Final = frozenset({MessageType.RUN_COMPLETION, MessageType.CALL_COMPLETION})


class OpenStep(msgspec.Struct):
    """A step whose result is not stored yet. entry, completion_id: of its command.

    said_from: offset of its first valid delta.   writers: how many write to it now.
    """

    step: int
    name: str
    entry: int
    kind: str | None = None
    agent: str | None = None
    completion_id: CompletionId | None = None
    said_from: int | None = None
    writers: int = 0


class Marks:
    """The state of one run's stream. next_offset: draws the offset of the next event."""

    def __init__(self, run: InvocationId, next_offset: Callable[[], int]) -> None:
        self.run = run
        self.is_started = self.is_ended = False
        self.rests = ""
        self.open: dict[int, OpenStep] = {}
        self.marked = 0
        self._offset = next_offset
        self._asked: dict[str, str] = {}
        self._stored_at_ms: dict[str, int] = {}

    # From the engine's commits

    def on_started(self, target: Target, now_ms: int) -> list[Event]:
        """An attempt began."""
        voided = self.on_attempt_over(now_ms)
        if not self.is_started:
            self.is_started = True
            return [
                Started(
                    offset=self._offset(),
                    at_ms=now_ms,
                    invocation_id=invocation_id_to_str(self.run),
                    target=str(target),
                )
            ]
        self.rests = ""
        return [*voided, Resumed(offset=self._offset(), at_ms=now_ms)]

    def on_entry(self, row: EntryRow, version: int) -> list[Event]:
        """An entry is stored. Returns no event if it has its mark already."""
        if row.index < self.marked:
            return []
        self.marked = row.index + 1
        if row.type_id in _COMMANDS:
            return self._on_command(row, version)
        if row.type_id in _RESULTS:
            return self._on_result(row, version)
        if row.type_id == MessageType.SIGNAL and isinstance(row.signal, int) and row.signal >= FIRST_USER_SIGNAL:
            return self._on_signal(row, row.signal, version)
        return []

    def on_attempt_over(
        self, now_ms: int, error: AttemptError | None = None, retry_at_ms: int | None = None
    ) -> list[Event]:
        """The attempt is over: deltas of its open steps are void."""
        said = [step for step in self.open.values() if step.said_from is not None]
        first = min((step.said_from for step in said if step.said_from is not None), default=None)
        for step in self.open.values():
            step.said_from, step.writers = None, 0
        if not said and error is None:
            return []
        offset = self._offset()
        return [
            Void(
                offset=offset,
                at_ms=now_ms,
                from_offset=first or offset,
                steps=tuple(step.step for step in said),
                error=error.message if error else None,
                retry_at_ms=retry_at_ms,
            )
        ]

    def on_suspended(self, awaiting: Future | None, now_ms: int) -> list[Event]:
        """The handler is suspended. awaiting: what it waits for; a plain awakeable in it is a question to a person."""
        if self.rests == "suspended":
            return []
        self.rests = "suspended"
        events: list[Event] = []
        for signal in waiting_signals(awaiting) if awaiting is not None else ():
            if isinstance(signal, int) and signal >= FIRST_USER_SIGNAL:
                awakeable = awakeable_id_format(self.run, signal)
                if awakeable not in self._asked:
                    self._asked[awakeable] = _PLAIN
                    events.append(Waiting(offset=self._offset(), at_ms=now_ms, id=awakeable, awakeable=awakeable))
        return [*events, Suspended(offset=self._offset(), at_ms=now_ms)]

    def on_paused(self, error: AttemptError | None, now_ms: int) -> list[Event]:
        if self.rests == "paused":
            return []
        self.rests = "paused"
        return [Paused(offset=self._offset(), at_ms=now_ms, error=error.message if error else None)]

    def on_ended(self, result: Success | Failure, now_ms: int) -> list[Event]:
        if self.is_ended:
            return []
        self.is_ended = True
        voided = self.on_attempt_over(now_ms)
        self.open.clear()
        return [*voided, ended(result, self._offset(), now_ms)]

    # From writers

    def on_attached(
        self, name: str, kind: str | None, agent: str | None, now_ms: int
    ) -> tuple[OpenStep | None, list[Event]]:
        """A writer begins: give it the open step of that name that has the fewest deltas; None: none is stored yet."""
        named = [step for step in self.open.values() if step.name == name and step.writers == 0]
        step = min(named, key=lambda each: (each.said_from is not None, each.step), default=None)
        if step is None:
            return None, []
        step.writers += 1
        if (kind or step.kind, agent or step.agent) == (step.kind, step.agent):
            return step, []
        step.kind, step.agent = kind or step.kind, agent or step.agent
        return step, [self._announced(step, self._offset(), now_ms)]

    def is_late(self, name: str, now_ms: int) -> bool:
        """Whether a writer that names this step now may mean a step whose result was stored a moment ago."""
        return now_ms - self._stored_at_ms.get(name, 0) < LATE_MS

    def on_said(self, step: OpenStep, offset: int) -> None:
        """An open step got a delta at this offset."""
        if step.said_from is None:
            step.said_from = offset

    def on_cut(self, step: OpenStep, now_ms: int) -> list[Event]:
        """The try of a step failed."""
        if self.open.get(step.step) is not step:
            return []
        first, step.said_from = step.said_from, None
        if first is None:
            return []
        return [Void(offset=self._offset(), at_ms=now_ms, from_offset=first, steps=(step.step,))]

    # Within

    def _on_command(self, row: EntryRow, version: int) -> list[Event]:
        is_call = row.type_id == MessageType.CALL
        name = _callee(row, version) if is_call else row.name or ""
        step = OpenStep(
            step=self._offset(),
            name=name,
            kind="call" if is_call else None,
            entry=row.index,
            completion_id=row.completion_id,
        )
        self.open[step.step] = step
        return [self._announced(step, step.step, row.appended_at_ms)]

    def _on_result(self, row: EntryRow, version: int) -> list[Event]:
        step = next((each for each in self.open.values() if each.completion_id == row.completion_id), None)
        if step is None:
            return []
        del self.open[step.step]
        if step.said_from is None:
            self._stored_at_ms[step.name] = row.appended_at_ms
        value, failure, content = None, None, b""
        message = _decoded(row, version)
        if isinstance(message, Completion) and isinstance(message.result, Failure):
            failure = Failed(message.result.code, message.result.message)
        elif isinstance(message, Completion) and isinstance(message.result, Success):
            content = message.result.content
            value = shown(content)
        envelope = decode_envelope(content)
        if envelope is not None:
            step.kind, step.agent = envelope.kind, envelope.agent or step.agent
        committed = StepCommitted(
            offset=self._offset(),
            at_ms=row.appended_at_ms,
            step=step.step,
            name=step.name,
            entry=row.index,
            kind=step.kind,
            agent=step.agent,
            value=value,
            failure=failure,
        )
        return [committed, *self._question(envelope, committed)]

    def _question(self, envelope: Envelope | None, committed: StepCommitted) -> list[Event]:
        """The events of a stored question of `ask()`, or of its outcome."""
        if (asked := asked_in(envelope)) is not None:
            self._asked[asked.id] = _QUESTION
            waiting = Waiting(
                offset=self._offset(),
                at_ms=committed.at_ms,
                id=asked.id,
                awakeable=asked.awakeables[0],
                question=asked.question,
                args=shown(asked.arguments.encode()),
                digest=asked.digest,
                deadline_at_ms=asked.deadline_at_ms,
                agent=committed.agent,
                step=committed.step,
                entry=committed.entry,
            )
            return [waiting]
        decided = outcome_in(envelope)
        if decided is None or envelope is None or self._asked.get(decided.id) != _QUESTION:
            return []
        self._asked[decided.id] = _ANSWERED
        return [Answered(offset=self._offset(), at_ms=committed.at_ms, id=decided.id, value=envelope.value)]

    def _on_signal(self, row: EntryRow, signal: int, version: int) -> list[Event]:
        """A plain awakeable has its answer. A question of `ask()` is answered only by its stored outcome."""
        awakeable = awakeable_id_format(self.run, signal)
        known = self._asked.setdefault(awakeable, _ANSWERED)
        if known != _PLAIN:
            return []
        self._asked[awakeable] = _ANSWERED
        value, failure = None, None
        message = _decoded(row, version)
        if isinstance(message, Signal) and isinstance(message.result, Failure):
            failure = Failed(message.result.code, message.result.message)
        elif isinstance(message, Signal) and isinstance(message.result, Success):
            value = shown(message.result.content)
        return [Answered(offset=self._offset(), at_ms=row.appended_at_ms, id=awakeable, value=value, failure=failure)]

    @staticmethod
    def _announced(step: OpenStep, offset: int, now_ms: int) -> StepStarted:
        return StepStarted(
            offset=offset,
            at_ms=now_ms,
            step=step.step,
            name=step.name,
            kind=step.kind,
            agent=step.agent,
            entry=step.entry,
        )

    def take(self, event: Event) -> None:
        """Take in one stored event."""
        match event:
            case StepStarted(step=number, name=name, kind=kind, agent=agent, entry=entry):
                step = self.open.setdefault(number, OpenStep(step=number, name=name, entry=entry))
                step.kind, step.agent = kind, agent
                self._saw(entry)
            case Delta(step=number, offset=offset) if number in self.open:
                self.on_said(self.open[number], offset)
            case StepCommitted(step=number, entry=entry):
                self.open.pop(number, None)
                self._saw(entry)
            case Void(steps=numbers):
                for number in numbers:
                    if number in self.open:
                        self.open[number].said_from = None
            case Waiting(id=asked, entry=entry):
                self._asked[asked] = _PLAIN if entry is None else _QUESTION
                self._saw(entry)
            case Answered(id=asked):
                self._asked[asked] = _ANSWERED
            case _:
                self.is_started = self.is_started or isinstance(event, Started)
                self.is_ended = isinstance(event, Ended)
                self.rests = _RESTS.get(type(event), "")

    def _saw(self, entry: int | None) -> None:
        if entry is not None:
            self.marked = max(self.marked, entry + 1)


def fold(run: InvocationId, next_offset: Callable[[], int], events: Iterable[Event], rows: list[EntryRow]) -> Marks:
    """The Marks after stored events. rows: the journal, which has the completion ids of open steps."""
    marks = Marks(run, next_offset)
    for event in events:
        marks.take(event)
    completion_ids: dict[int, CompletionId | None] = {row.index: row.completion_id for row in rows}
    for step in marks.open.values():
        step.completion_id = completion_ids.get(step.entry)
    return marks


def ended(result: Success | Failure, offset: int, now_ms: int) -> Ended:
    """The last event of a run."""
    if isinstance(result, Success):
        return Ended(offset=offset, at_ms=now_ms, outcome="result", result=shown(result.content))
    outcome: Outcome = "failure"
    if result.code == KILLED.code and result.message == KILLED.message:
        outcome = "killed"
    elif result.code == CANCELED.code and result.message in _CANCELLED_WORDS:
        outcome = "cancelled"
    return Ended(offset=offset, at_ms=now_ms, outcome=outcome, failure=Failed(result.code, result.message))


def shown(content: bytes) -> Any:
    """A result as an event has it: JSON if it is JSON, else text; None if it is empty or too long."""
    if not content or len(content) > VALUE_BYTES_MAX:
        return None
    try:
        value: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return content.decode(errors="replace")
    return value


def _callee(row: EntryRow, version: int) -> str:
    message = _decoded(row, version)
    if not isinstance(message, CallCommand):
        return row.name or ""
    parts = (message.service_name, message.key, message.handler_name)
    return "/".join(part for part in parts if part)


def _decoded(row: EntryRow, version: int) -> Any:
    try:
        return decode_message(row.type_id, row.payload, version)
    except (ProtocolViolation, ValueError):
        return None
