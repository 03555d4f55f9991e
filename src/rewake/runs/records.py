"""Record: a fetched run, with its steps, the payloads of agents, its failures, and the runs it called.

All fetching happens before any shaping, so the functions that shape a Record are pure: see agents.py. A record is
bounded in runs, depth, steps and bytes, and has a flag for an incomplete one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from rewake.core.model import Invocation
from rewake.core.writes import EntryRow
from rewake.protocol.messages import MessageType
from rewake.runs.facts import EventFact
from rewake.runs.reading import Reading
from rewake.runs.steps import Step, decoded, steps_of, version_of

RUNS_MAX: Final = 20
DEPTH_MAX: Final = 4
STEPS_MAX: Final = 2_000
"""Steps of one run whose payloads are fetched."""

PAYLOAD_BYTES_MAX: Final = 4 << 20
RECORD_BYTES_MAX: Final = 48 << 20
"""Bytes of payloads that are fetched of one run; further ones are left out."""

_TELLING: Final = frozenset(
    {
        MessageType.INPUT,
        MessageType.OUTPUT,
        MessageType.RUN,
        MessageType.CALL,
        MessageType.ONE_WAY_CALL,
        MessageType.GET_EAGER_STATE,
        MessageType.SET_STATE,
    }
)
"""Types of entries that may concern agents."""


class Record(msgspec.Struct):
    """One run. payloads: the fetched ones, by entry.   children: the runs it called, by id."""

    invocation: Invocation
    steps: list[Step]
    payloads: dict[int, bytes]
    events: Sequence[EventFact] = ()
    children: dict[bytes, Record] = {}
    is_whole: bool = True

    def command(self, step: Step) -> Any:
        """The decoded command of a step; None if it was not fetched or cannot be decoded."""
        return self._message(step.type, step.index)

    def result(self, step: Step) -> Any:
        """The decoded entry with a step's result: its completion, or the command itself."""
        return self._message(step.result_type, step.result_index)

    def walk(self) -> Iterator[Record]:
        """This record and all below it."""
        yield self
        for child in self.children.values():
            yield from child.walk()

    def _message(self, type_: MessageType, index: int) -> Any:
        payload = self.payloads.get(index)
        return None if payload is None else decoded(type_, payload, version_of(self.invocation))


def record_from(invocation: Invocation, entries: Iterable[EntryRow], events: Sequence[EventFact] = ()) -> Record:
    """The record of one run, from its entries with their payloads."""
    known = list(entries)
    return Record(invocation, steps_of(known), {entry.index: entry.payload for entry in known}, events)


def fetch(
    reading: Reading, invocation: Invocation, *, with_events: bool = False, depth_max: int | None = None
) -> Record:
    """A run with the runs it called. with_events: include failed attempts.   depth_max: 0 for the run alone."""
    depth_max = DEPTH_MAX if depth_max is None else depth_max
    return _Fetching(reading, with_events=with_events, depth_max=depth_max).record(invocation, depth=0)


class _Fetching:
    def __init__(self, reading: Reading, *, with_events: bool, depth_max: int) -> None:
        self._reading = reading
        self._with_events = with_events
        self._depth_max = depth_max
        self._seen: set[bytes] = set()

    def record(self, invocation: Invocation, depth: int) -> Record:
        self._seen.add(invocation.id)
        steps = steps_of(self._reading.entries(invocation.id))
        made = Record(invocation, steps, {})
        telling = [step for step in steps if step.type in _TELLING]
        made.is_whole = len(telling) <= STEPS_MAX
        made.payloads = self._payloads(made, telling[:STEPS_MAX])
        if self._with_events:
            made.events = self._reading.events(invocation.id)
        for step in telling[:STEPS_MAX]:
            if step.type is MessageType.CALL and step.child is not None:
                self._follow(made, step.child, depth + 1)
        return made

    def _payloads(self, record: Record, steps: list[Step]) -> dict[int, bytes]:
        wanted = [step.index if step.type in (MessageType.CALL, MessageType.ONE_WAY_CALL) else step.result_index
                  for step in steps if step.is_done or step.type is not MessageType.RUN]  # fmt: skip
        found, is_whole = self._reading.payloads_within(
            record.invocation.id, wanted, each_max=PAYLOAD_BYTES_MAX, all_max=RECORD_BYTES_MAX
        )
        record.is_whole = record.is_whole and is_whole
        return found

    def _follow(self, caller: Record, child_id: bytes, depth: int) -> None:
        if child_id in self._seen:
            return
        if len(self._seen) >= RUNS_MAX or depth > self._depth_max:
            caller.is_whole = False
            return
        child = self._reading.invocation(child_id)
        if child is not None:
            caller.children[child_id] = self.record(child, depth)
