"""The page of the list of runs: the runs that match a filter, counts by status, recent agents."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Final

import msgspec

from rewake.runs.agents import names_of
from rewake.runs.facts import STATUSES, RunSummary
from rewake.runs.filters import RunFilter
from rewake.runs.reading import Reading

AGENTS_MAX: Final = 40
ASKING_MAX: Final = 1_000
"""Objects with questions between turns that are counted."""

_AGENT_RUNS: Final = 20
_AGENTS_S: Final = 0.02
_LOOKED_RUNS_MAX: Final = 2_000


class RunPage(msgspec.Struct, kw_only=True):
    """One page. next_cursor, looked_until_ms, sorted_until_ms: see facts.Found.

    counts: runs by status, empty for a reader of some services.
    waiting_count: runs that wait for a person; None if there are too many suspended runs to check each.
    asking_count: objects that keep questions between turns while no run of theirs waits; None for over ASKING_MAX.
    matching_count: runs that match the filter, if the counts by status have it.   agents: seen recently.
    """

    filter: RunFilter
    runs: list[RunSummary]
    counts: dict[str, int]
    next_cursor: str | None
    looked_until_ms: int | None
    services: dict[str, list[str]]
    sorted_until_ms: int | None = None
    waiting_count: int | None = None
    asking_count: int | None = 0
    matching_count: int | None = None
    agents: list[str] = []


class Counts:
    """Kept between requests: counts of completed runs, if counting is slow, and recently seen agents."""

    def __init__(self) -> None:
        self._ended: dict[str, int] = {}
        self._good_until_s = 0.0
        self._agents: OrderedDict[str, None] = OrderedDict()
        self._looked: OrderedDict[str, None] = OrderedDict()

    def now(self, reading: Reading) -> dict[str, int]:
        if not reading.is_whole:
            return dict.fromkeys(STATUSES, 0)
        started_s = time.monotonic()
        if started_s >= self._good_until_s:
            self._ended = reading.ended_counts()
            ended_s = time.monotonic()
            self._good_until_s = ended_s + 50 * (ended_s - started_s) if ended_s - started_s > 0.005 else 0.0
        counts = reading.open_counts() | self._ended
        return {status: counts[status] for status in STATUSES}

    def agents(self, reading: Reading, runs: list[RunSummary]) -> list[str]:
        """Names of agents in listed runs, the latest seen first. Each call reads a few new runs."""
        if not reading.is_whole:
            return []
        ends_at_s = time.monotonic() + _AGENTS_S
        fresh = [run for run in runs[:_AGENT_RUNS] if not run.is_open and run.id not in self._looked]
        for run in fresh:
            if time.monotonic() >= ends_at_s:
                break
            self._looked[run.id] = None
            for name in names_of(reading, run.id):
                self._agents[name] = None
                self._agents.move_to_end(name)
        for remembered, size in ((self._looked, _LOOKED_RUNS_MAX), (self._agents, AGENTS_MAX)):
            while len(remembered) > size:
                remembered.popitem(last=False)
        return list(reversed(self._agents))


def run_page(reading: Reading, wanted: RunFilter, counts: Counts) -> RunPage:
    """One page of the runs that match a filter."""
    counted = counts.now(reading)
    found = reading.find(wanted, counted)
    runs = reading.with_inputs(found.runs)
    asking = reading.asking_count(ASKING_MAX + 1)
    is_counted = wanted.is_by_status and reading.is_whole
    return RunPage(
        filter=wanted,
        runs=runs,
        counts=counted if reading.is_whole else {},
        next_cursor=found.next_cursor,
        looked_until_ms=found.looked_until_ms,
        sorted_until_ms=found.sorted_until_ms,
        services={service.name: list(service.handlers) for service in reading.services()},
        waiting_count=reading.waiting_count(counted),
        asking_count=asking if asking <= ASKING_MAX else None,
        matching_count=sum(counted[status] for status in wanted.status or STATUSES) if is_counted else None,
        agents=counts.agents(reading, runs),
    )
