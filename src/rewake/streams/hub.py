"""Streams of one engine: commits become marks, writers append deltas, readers get both as they come.

A run gets a stream when somebody first writes or reads it; until then each entry costs one look into a dict. Marks for
earlier entries are made from the journal, so a run without any writer has them too. Everything here runs on the
engine's event loop. Nothing here may harm a run: a failure is logged, and the run's log is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import structlog

from rewake.core.effects import CloseAttempt, CloseMode, Completed, Effect, StartAttempt
from rewake.core.ids import InvocationId, invocation_id_to_str
from rewake.core.model import Invocation, Status
from rewake.core.writes import Batch, EntryRow
from rewake.protocol.messages import MessageType
from rewake.streams.events import Event, StepCommitted, Void, decode, encode
from rewake.streams.files import Bounds, Folder, RunFile, events_in, record
from rewake.streams.marks import Marks, OpenStep, fold
from rewake.streams.run_log import DEFAULT_VERSION, RunLog, Writing

EPOCH_DIGITS: Final = 18
WRITERS_MAX: Final = 64
"""Writers that one run may have at once."""

READER_SHARE_S: Final = 0.0001
"""A reader pauses so long, times the readers of the run, before it looks again: many readers then get larger pieces."""

READER_PAUSE_MAX_S: Final = 0.5
HEARTBEAT_S: Final = 15.0
"""After so long without an event a reader gets a heartbeat."""

_DELTA: Final = b'{"type":"delta","step":%d,"data":%b,"offset":%d}'

log = structlog.get_logger("rewake.streams")


class JournalReader(Protocol):
    """The store's reads that streams need."""

    def invocation(self, invocation_id: InvocationId) -> Invocation | None: ...

    def journal(self, invocation_id: InvocationId) -> list[EntryRow]: ...


class Streams:
    """The streams of an engine. reader: reads its store.   is_live: whether an attempt runs.   now_ms: its clock.

    hurry: asks the engine to store waiting commands soon, because a writer waits for its step.
    """

    def __init__(
        self,
        path: Path,
        reader: JournalReader,
        *,
        is_live: Callable[[InvocationId, int], bool],
        hurry: Callable[[], None] = lambda: None,
        now_ms: Callable[[], int],
        bounds: Bounds,
    ) -> None:
        self._logs: dict[InvocationId, RunLog] = {}
        self._folder = Folder(path, bounds, self._logs)
        self._reader = reader
        self._is_live = is_live
        self._hurry = hurry
        self._now_ms = now_ms
        self._secret = os.urandom(32)
        self._is_usable = False
        self._is_stopping = False

    def open(self) -> None:
        """Open the side log. If its folder cannot be used there are no streams, and the engine runs without them."""
        if not self._folder.bounds.total_bytes:
            return
        try:
            self._folder.open()
            self._is_usable = True
        except OSError as error:
            log.warning("streams_unusable", path=str(self._folder.path), error=str(error))

    def close(self) -> None:
        """End all readers and writers, and close the files."""
        self.end_readers()
        for run_log in list(self._logs.values()):
            self._close_writers(run_log)
        self._logs.clear()
        self._folder.close()

    def end_readers(self) -> None:
        """End all readers. They can resume at the next engine on this data."""
        self._is_stopping = True
        for run_log in self._logs.values():
            run_log.wake()

    @property
    def is_usable(self) -> bool:
        """Whether the side log could be opened."""
        return self._is_usable

    # From commits

    def on_commit(self, batch: Batch, effects: list[Effect]) -> None:
        """Add marks for a commit. Never raises."""
        if not self._is_usable or not (self._logs or self._folder.sizes):
            return
        for row in batch.entries:
            if (run_log := self._of(row.invocation_id)) is not None:
                self._mark(run_log, run_log.marks.on_entry, row, run_log.version)
                if run_log.early and row.type_id == MessageType.RUN:
                    self._attach_early(run_log)
        rows = {row.id: row for row in (*batch.inserts, *batch.updates)}
        for effect in effects:
            if (
                isinstance(effect, StartAttempt | CloseAttempt | Completed)
                and (run_log := self._of(effect.invocation_id)) is not None
            ):
                self._on_effect(run_log, effect, rows.get(effect.invocation_id))
        for run, invocation in rows.items():
            if (run_log := self._of(run)) is not None:
                self._mark(run_log, self._on_status, run_log, invocation)
                self.rest(run_log)
        for run in (*batch.deletes, *batch.journal_deletes):
            if run in self._logs or run in self._folder.sizes:
                self._drop(run)

    def _of(self, run: InvocationId) -> RunLog | None:
        """The log of a run; None if it has no stream."""
        run_log = self._logs.get(run)
        if run_log is None and run in self._folder.sizes:
            run_log = self._load(run)
        return run_log

    def _mark(self, run_log: RunLog, marks: Callable[..., list[Event]], *args: Any) -> None:
        """Add the events that `marks` returns. A bug of ours must cost the stream, not the run."""
        try:
            events = marks(*args)
        except Exception:
            log.exception("stream_broke", invocation_id=invocation_id_to_str(run_log.run))
            run_log.marks = Marks(run_log.run, run_log.next_offset)
            return
        self._append(run_log, events)

    def _on_effect(
        self, run_log: RunLog, effect: StartAttempt | CloseAttempt | Completed, row: Invocation | None
    ) -> None:
        """An attempt began or is over, or the run has its result. row: the run after the commit."""
        marks, now_ms = run_log.marks, self._now_ms()
        if isinstance(effect, CloseAttempt) and effect.mode is CloseMode.HALF_CLOSE:
            return
        self._close_writers(run_log)
        if isinstance(effect, Completed):
            self._mark(run_log, marks.on_ended, effect.result, now_ms)
        elif isinstance(effect, StartAttempt):
            self._mark(run_log, marks.on_started, effect.target, now_ms)
        elif row is not None and row.status is not Status.COMPLETED:
            has_failed = row.status is not Status.SUSPENDED and row.attempt is None
            error = row.last_error if has_failed else None
            self._mark(run_log, marks.on_attempt_over, now_ms, error, row.next_retry_at_ms)

    @staticmethod
    def _close_writers(run_log: RunLog) -> None:
        writers, run_log.writers, run_log.early = run_log.writers, set(), []
        for writing in writers:
            writing.close()

    def _on_status(self, run_log: RunLog, row: Invocation) -> list[Event]:
        run_log.version = row.pinned_version or DEFAULT_VERSION
        marks = run_log.marks
        match row.status:
            case Status.SUSPENDED:
                return marks.on_suspended(row.awaiting, row.modified_at_ms)
            case Status.PAUSED:
                return marks.on_paused(row.last_error, row.modified_at_ms)
            case Status.COMPLETED if row.result is not None:
                return marks.on_ended(row.result, row.completed_at_ms or row.modified_at_ms)
            case _:
                return []

    # Logs

    def _load(self, run: InvocationId) -> RunLog | None:
        """Open the log of a run from its file, and add marks that only the journal has. None: no such run."""
        invocation = self._reader.invocation(run)
        if invocation is None:
            return None
        rows = self._reader.journal(run)
        now_us = self._now_ms() * 1000
        try:
            run_log = RunLog(run, self._folder.file(run), now_us)
            run_log.marks = fold(run, run_log.next_offset, _events_of(run_log.file), rows)
        except (OSError, msgspec.DecodeError) as error:
            log.warning("stream_unreadable", invocation_id=invocation_id_to_str(run), error=str(error))
            self._folder.drop(run)
            run_log = RunLog(run, self._folder.file(run), now_us)
        run_log.version = invocation.pinned_version or DEFAULT_VERSION
        self._logs[run] = run_log
        self._catch_up(run_log, invocation, rows)
        return run_log

    def _catch_up(self, run_log: RunLog, invocation: Invocation, rows: list[EntryRow]) -> None:
        """Add marks for entries that have none yet. Writers of an earlier process are gone."""
        marks = run_log.marks
        if invocation.running_at_ms is not None and not marks.is_started:
            self._mark(run_log, marks.on_started, invocation.target, invocation.running_at_ms)
        for row in rows:
            self._mark(run_log, marks.on_entry, row, run_log.version)
        self._mark(run_log, marks.on_attempt_over, self._now_ms())
        self._mark(run_log, self._on_status, run_log, invocation)

    def _append(self, run_log: RunLog, events: list[Event]) -> None:
        if not events:
            return
        if self._is_full(run_log):
            events = [_without_value(event) for event in events]
        records = b"".join(record(event.offset, encode(event)) for event in events)
        self._write(run_log, records, events[0].offset, events[-1].offset)

    def append_deltas(self, run_log: RunLog, step: OpenStep, deltas: list[bytes]) -> None:
        """Append a step's deltas, unless the step is committed or the run's log is full."""
        if step.step not in run_log.marks.open or self._is_full(run_log):
            return
        offsets = [run_log.next_offset() for _ in deltas]
        records = [
            record(offset, _DELTA % (step.step, delta, offset)) for offset, delta in zip(offsets, deltas, strict=True)
        ]
        run_log.marks.on_said(step, offsets[0])
        self._write(run_log, b"".join(records), offsets[0], offsets[-1])

    def _write(self, run_log: RunLog, records: bytes, first: int, last: int) -> None:
        if run_log.is_dropped:
            return
        try:
            run_log.file.append(records, first, last)
        except OSError as error:
            log.warning("stream_not_written", invocation_id=invocation_id_to_str(run_log.run), error=str(error))
            self._drop(run_log.run)  # a reader reconnects, and the stream is made anew from the journal
            return
        run_log.wake()

    def _is_full(self, run_log: RunLog) -> bool:
        bounds = self._folder.bounds
        return run_log.file.size > bounds.run_bytes or self._folder.total_bytes > bounds.total_bytes

    def cut(self, run_log: RunLog, step: OpenStep) -> None:
        """The try of a step failed."""
        self._mark(run_log, run_log.marks.on_cut, step, self._now_ms())

    def rest(self, run_log: RunLog) -> None:
        """Close a log that nobody uses and that has no open step."""
        marks = run_log.marks
        if run_log.is_idle and (marks.is_ended or marks.rests) and self._logs.get(run_log.run) is run_log:
            del self._logs[run_log.run]

    def _drop(self, run: InvocationId) -> None:
        """Delete a run's log. Its readers still get the rest from the unlinked file."""
        run_log = self._logs.pop(run, None)
        if run_log is not None:
            run_log.is_dropped = True
            self._folder.detach(run_log.file)
            run_log.wake()
        self._folder.drop(run)

    # Writers

    def capability(self, run: InvocationId, epoch: int) -> str:
        """The secret that a writer of this attempt must show."""
        return f"{run.hex()}.{epoch}.{self._mac(run, epoch)}"

    def writing(self, capability: str, head: Any, *, may_be_late: bool = False) -> Writing | None:
        """A writer of one step. head: the first line. None if the attempt is not live or the head is not valid.

        may_be_late: the step's result may already be stored, because the request took longer than the body.
        """
        found = self._checked(capability)
        name = head.get("step") if isinstance(head, dict) else None
        if found is None or not isinstance(name, str) or not self._is_usable:
            return None
        run_log = self._logs.get(found) or self._load(found)
        if run_log is None or len(run_log.writers) >= WRITERS_MAX:
            return None
        kind, agent = (head.get(field) if isinstance(head.get(field), str) else None for field in ("kind", "agent"))
        writing = Writing(self, run_log, name, kind, agent)
        run_log.writers.add(writing)
        if not self._attach(run_log, writing):
            writing.is_kept = not (may_be_late and run_log.marks.is_late(name, self._now_ms()))
            run_log.early.append(writing)
            self._hurry()
        return writing

    def _attach(self, run_log: RunLog, writing: Writing) -> bool:
        """Attach a writer to the step it names; whether that step is stored yet."""
        step, events = run_log.marks.on_attached(writing.name, writing.kind, writing.agent, self._now_ms())
        self._append(run_log, events)
        if step is not None:
            writing.attach(step)
        return step is not None

    def _attach_early(self, run_log: RunLog) -> None:
        run_log.early = [writing for writing in run_log.early if not self._attach(run_log, writing)]

    def allows(self, capability: str) -> bool:
        """Whether a capability belongs to a running attempt."""
        return self._checked(capability) is not None

    def _checked(self, capability: str) -> InvocationId | None:
        """The run whose running attempt this capability belongs to; None for any other capability."""
        run_text, _, rest = capability.partition(".")
        epoch_text, _, mac = rest.partition(".")
        if not epoch_text.isdecimal() or not epoch_text.isascii() or len(epoch_text) > EPOCH_DIGITS:
            return None
        try:
            run = InvocationId(bytes.fromhex(run_text))
        except ValueError:
            return None
        epoch = int(epoch_text)
        is_ours = hmac.compare_digest(mac.encode(), self._mac(run, epoch).encode())
        return run if is_ours and self._is_live(run, epoch) else None

    def _mac(self, run: InvocationId, epoch: int) -> str:
        return hashlib.blake2s(b"%b%d" % (run, epoch), key=self._secret, digest_size=16).hexdigest()

    # Readers

    def begin(self, run: InvocationId) -> bool:
        """Begin a run's stream if it has none; False if there is no such run."""
        return self._is_usable and (run in self._logs or self._load(run) is not None)

    def is_read(self, run: InvocationId, after: int) -> bool:
        """Whether the run has ended and no event has an offset above `after`. Call it right after `begin`."""
        run_log = self._logs.get(run)
        return run_log is not None and run_log.marks.is_ended and after == run_log.file.last_offset > 0

    async def records(
        self, run: InvocationId, after: int = 0, *, from_offset: int = 0, heartbeat_s: float = HEARTBEAT_S
    ) -> AsyncGenerator[bytes]:
        """Records of a run until it has ended; b"" after each `heartbeat_s` without a record.

        after: offset of the last event that the reader has. If the log has lost that event, because it was dropped or
        its end was lost, the reader gets a `void` of everything, then the whole stream.   from_offset: the first
        wanted.   Raises KeyError for an unknown run.
        """
        run_log = self._logs.get(run) or (self._load(run) if self._is_usable else None)
        if run_log is None:
            raise KeyError(invocation_id_to_str(run))
        run_log.reader_count += 1
        try:
            position = 0
            if after and (known := run_log.file.position_behind(after)) is not None:
                position = known
            elif after:
                yield self._reset(run_log)
            elif from_offset:
                position = run_log.file.position_after(from_offset - 1)
            while not self._is_stopping:
                if data := run_log.file.read(position):
                    position += len(data)
                    yield data
                    if run_log.reader_count > 1 and position == run_log.file.size:
                        await asyncio.sleep(min(READER_SHARE_S * run_log.reader_count, READER_PAUSE_MAX_S))
                elif run_log.marks.is_ended or run_log.is_dropped:
                    return
                elif not await run_log.changed(heartbeat_s):
                    yield b""
        finally:
            run_log.reader_count -= 1
            if run_log.is_dropped and run_log.is_idle:
                run_log.file.close()
            self.rest(run_log)

    async def events(self, run: InvocationId, after: int = 0) -> AsyncGenerator[Event]:
        """The same records, decoded."""
        async with contextlib.aclosing(self.records(run, after)) as records:
            async for data in records:
                for event in events_in(data):
                    yield decode(event)

    def _reset(self, run_log: RunLog) -> bytes:
        """The reader knows an earlier log: a `void` of everything, before this log is sent from its beginning."""
        offset = run_log.first_offset - 1
        return record(offset, encode(Void(offset=offset, at_ms=self._now_ms(), from_offset=0)))


def _without_value(event: Event) -> Event:
    """A mark for a full log: without its value, which the journal has."""
    return msgspec.structs.replace(event, value=None) if isinstance(event, StepCommitted) else event


def _events_of(file: RunFile) -> list[Event]:
    position, events = 0, list[Event]()
    while data := file.read(position):
        position += len(data)
        events += map(decode, events_in(data))
    return events
