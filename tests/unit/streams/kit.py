"""A run and its streams, moved by hand: commits, writers, kills, and a reader that keeps to the rules."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Self

import msgspec

from rewake.core.effects import CloseAttempt, CloseMode, Completed, Effect, StartAttempt
from rewake.core.ids import CompletionId, DeploymentId, EntryIndex, Epoch, InvocationId
from rewake.core.model import AttemptError, HandlerOptions, Invocation, Status, Target
from rewake.core.writes import Batch, EntryRow
from rewake.protocol.codec import encode_message
from rewake.protocol.discovery import HandlerKind, ServiceType
from rewake.protocol.messages import Completion, Failure, Future, InputCommand, MessageType, RunCommand, Success
from rewake.streams.events import (
    Delta,
    Ended,
    Event,
    Started,
    StepCommitted,
    StepStarted,
    Void,
    decode,
)
from rewake.streams.files import Bounds, events_in
from rewake.streams.hub import Streams
from rewake.streams.run_log import Writing

RUN = InvocationId(bytes(range(24)))
TARGET = Target("Desk", "ask", None, ServiceType.SERVICE, HandlerKind.SHARED)
VERSION = 6


class OneRun:
    """A store with one run, and the engine's commits about it."""

    def __init__(self, path: Path, run: InvocationId = RUN, bounds: Bounds | None = None) -> None:
        self.path = path
        self.run = run
        self.bounds = bounds or Bounds()
        self.now = 1_796_000_000_000
        self.epoch = 0
        self.is_live = False
        self.rows: list[EntryRow] = []
        self.row: Invocation | None = Invocation(
            id=run, target=TARGET, created_at_ms=self.now, modified_at_ms=self.now, status=Status.INVOKED
        )
        self._engines: list[Streams] = []
        self.streams = self.engine()

    def engine(self) -> Streams:
        """A new engine on the same folder; the one before is left as a kill leaves it."""
        self.streams = Streams(
            self.path,
            self,
            is_live=lambda run, epoch: self.is_live and run == self.run and epoch == self.epoch,
            now_ms=self.now_ms,
            bounds=self.bounds,
        )
        self.streams.open()
        self._engines.append(self.streams)
        if len(self._engines) > 1:
            self._engines[-2]._folder.close()  # a kill closes files, and does nothing else
        return self.streams

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.streams.close()

    def now_ms(self) -> int:
        self.now += 1
        return self.now

    # Reader of the store

    def invocation(self, invocation_id: InvocationId) -> Invocation | None:
        return self.row if invocation_id == self.run else None

    def journal(self, invocation_id: InvocationId) -> list[EntryRow]:
        return list(self.rows) if invocation_id == self.run else []

    # Commits. `seen` False: the engine dies between the commit and its marks.

    def begin(self, *, seen: bool = True) -> None:
        self.epoch += 1
        self.is_live = True
        rows: list[EntryRow] = []
        if not self.rows:
            rows = [self.entry(MessageType.INPUT, encode_message(InputCommand((), b"")), name="")]
        self._change(status=Status.INVOKED, running_at_ms=self.now, awaiting=None, next_retry_at_ms=None)
        self._commit(rows, [start(self.run, self.epoch)], seen=seen)

    def command(self, name: str, completion_id: int, *, seen: bool = True) -> None:
        payload = encode_message(RunCommand(completion_id, name))
        self._commit([self.entry(MessageType.RUN, payload, name=name, completion_id=completion_id)], [], seen=seen)

    def result(self, completion_id: int, value: bytes | Failure, *, seen: bool = True) -> None:
        result = value if isinstance(value, Failure) else Success(value)
        payload = encode_message(Completion(MessageType.RUN_COMPLETION, completion_id, result))
        self._commit([self.entry(MessageType.RUN_COMPLETION, payload, completion_id=completion_id)], [], seen=seen)

    def fail(self, message: str = "lost", *, seen: bool = True) -> None:
        self.is_live = False
        self._change(next_retry_at_ms=self.now + 50, last_error=AttemptError(500, message, ""))
        self._commit([], [CloseAttempt(self.run, Epoch(self.epoch), CloseMode.FINISHED)], seen=seen)

    def suspend(self, *signals: int) -> None:
        self.is_live = False
        self._change(status=Status.SUSPENDED, awaiting=Future(signals=signals))
        self._commit([], [CloseAttempt(self.run, Epoch(self.epoch), CloseMode.FINISHED)])

    def end(self, result: Success | Failure, *, seen: bool = True) -> None:
        self.is_live = False
        self._change(status=Status.COMPLETED, result=result, completed_at_ms=self.now)
        effects: list[Effect] = [
            CloseAttempt(self.run, Epoch(self.epoch), CloseMode.FINISHED),
            Completed(self.run, result),
        ]
        self._commit([], effects, seen=seen)

    def forget(self) -> None:
        self.row, self.rows = None, []
        self.streams.on_commit(Batch(deletes=[self.run]), [])

    def entry(self, type_id: int, payload: bytes, **fields: Any) -> EntryRow:
        if "completion_id" in fields:
            fields["completion_id"] = CompletionId(fields["completion_id"])
        row = EntryRow(self.run, EntryIndex(len(self.rows)), type_id, payload, self.now_ms(), **fields)
        self.rows.append(row)
        return row

    def append(self, row: EntryRow) -> None:
        self._commit([row], [])

    def _change(self, **fields: Any) -> None:
        assert self.row is not None
        self.row = msgspec.structs.replace(self.row, modified_at_ms=self.now_ms(), **fields)

    def _commit(self, rows: list[EntryRow], effects: list[Effect], *, seen: bool = True) -> None:
        if seen:
            assert self.row is not None
            self.streams.on_commit(Batch(entries=rows, updates=[self.row]), effects)

    # Writers and readers

    def writing(self, name: str, **head: str) -> Writing:
        found = self.streams.writing(self.streams.capability(self.run, self.epoch), {"step": name, **head})
        assert found is not None
        return found

    async def events(self, after: int = 0, limit: int = 1_000_000) -> list[Event]:
        """What is there now behind an offset, at most so many."""
        found: list[Event] = []
        async with contextlib.aclosing(self.streams.records(self.run, after, heartbeat_s=0)) as records:
            async for data in records:
                found += map(decode, events_in(data))
                if not data or len(found) >= limit:
                    break
        return found[:limit]


class Watcher:
    """A reader by the four rules. shown: text of each open step.   final: value of each stored one, by its entry."""

    def __init__(self, world: OneRun) -> None:
        self.world = world
        self.offset = 0
        self.names: dict[int, str] = {}
        self.shown: dict[int, str] = {}
        self.final: dict[int, Any] = {}
        self.ended: Ended | None = None
        self.started_count = 0

    async def read(self, limit: int = 1_000_000) -> None:
        """Connect, read so many events, and leave."""
        for event in await self.world.events(self.offset, limit):
            assert event.offset > self.offset or isinstance(event, Void)
            self.offset = event.offset
            self.take(event)

    def take(self, event: Event) -> None:
        match event:
            case Void(from_offset=0):
                self.names, self.shown, self.final = {}, {}, {}
                self.started_count = 0
            case Void(steps=steps):
                for step in steps:
                    self.shown[step] = ""
            case Started():
                self.started_count += 1
            case StepStarted(step=step, name=name):
                self.names[step] = name
            case Delta(step=step, data=data):
                assert step in self.names
                assert isinstance(data, str)
                self.shown[step] = self.shown.get(step, "") + data
            case StepCommitted(step=step, entry=entry, value=value):
                self.shown.pop(step, None)
                self.final[entry] = value
            case Ended():
                self.ended = event

    def text_of(self, name: str) -> str:
        """What is shown of the open step with this name."""
        return "".join(text for step, text in self.shown.items() if self.names[step] == name)


def start(run: InvocationId, epoch: int) -> StartAttempt:
    return StartAttempt(
        invocation_id=run,
        epoch=Epoch(epoch),
        target=TARGET,
        key="",
        deployment_id=DeploymentId("dp_1"),
        version=VERSION,
        state=(),
        partial_state=False,
        retry_count=0,
        loss_count=0,
        stored_at_ms=0,
        random_seed=0,
        options=HandlerOptions(),
        idempotency_key=None,
        traceparent=None,
        entries=None,
        is_resumed=False,
    )
