"""The data of a run's page, fetched before it is shaped: its journal, its events, the runs it called.

Only this file and step.py use the reading; run.py makes rows of their data and needs no database.
Payloads are read for the rows of the window alone, and only when they are short.
"""

from __future__ import annotations

from typing import Final

import msgspec

from rewake.agents.effects import Effect
from rewake.core.model import Invocation
from rewake.runs.effects import effects_of
from rewake.runs.facts import EventFact, RunSummary
from rewake.runs.reading import Reading
from rewake.runs.steps import Step, steps_of
from rewake.runs.waits import Wait, questions_left, waiting_for
from rewake.ui.step import StepData, step_data

ROWS_MAX: Final = 200
NESTED_ROWS_MAX: Final = 60
NESTED_EVENTS_MAX: Final = 100
DEPTH_MAX: Final = 3
PREVIEW_BYTES_MAX: Final = 4_096


class RowsData(msgspec.Struct, kw_only=True):
    """A run with the steps that become rows. payloads: short ones, of the entries of these steps.

    status: as a person sees it.   called: the runs these steps called, by id; those at DEPTH_MAX have no steps.
    """

    invocation: Invocation
    steps: list[Step] = []
    events: list[EventFact] = []
    payloads: dict[int, bytes] = {}
    status: str | None = None
    called: dict[bytes, RowsData] = {}


class Family(msgspec.Struct, kw_only=True):
    """The runs related to one. waiters: those that wait for its result."""

    parent: RunSummary | None = None
    origin: RunSummary | None = None
    restarts: list[RunSummary] = []
    waiters: list[RunSummary] = []


class RunData(msgspec.Struct, kw_only=True):
    """All that the page of a run needs. now_ms: the moment it is about.   steps: all.   window: those to show as rows.

    first_row: place of the first of them.   step: the one to show in full.   left: questions of the ended run that wait
    between turns.
    """

    now_ms: int
    invocation: Invocation
    summary: RunSummary
    entry_count: int
    steps: list[Step]
    events: list[EventFact]
    first_row: int
    window: RowsData
    waiting: list[Wait]
    left: list[Wait] = []
    effects: list[Effect] = []
    family: Family
    step: StepData | None


def run_data(reading: Reading, invocation: Invocation, *, first_row: int, step_index: int | None) -> RunData | None:
    """Everything about a run, with the window that holds `first_row`. None when the run has just been forgotten."""
    summary = reading.summary(invocation.id)
    if summary is None:
        return None
    steps = steps_of(reading.entries(invocation.id))
    events = reading.events(invocation.id)
    first_row = max(0, min(first_row, max(len(steps) - 1, 0)) // ROWS_MAX * ROWS_MAX)
    return RunData(
        now_ms=reading.now_ms,
        invocation=invocation,
        summary=summary,
        entry_count=reading.entry_count(invocation.id),
        steps=steps,
        events=events,
        first_row=first_row,
        window=_rows(reading, invocation, steps[first_row : first_row + ROWS_MAX], events, depth=0),
        waiting=waiting_for(reading, invocation, steps),
        left=questions_left(reading, invocation),
        effects=effects_of(reading, invocation, steps),
        family=family_of(reading, invocation),
        step=None if step_index is None else step_data(reading, invocation, step_index, steps, events),
    )


def family_of(reading: Reading, invocation: Invocation) -> Family:
    """The runs related to this one."""
    caller, origin = invocation.invoked_by_id, invocation.restarted_from
    return Family(
        parent=None if caller is None else reading.summary(caller),
        origin=None if origin is None else reading.summary(origin),
        restarts=reading.restarts_of(invocation.id),
        waiters=reading.waiting_runs(invocation.id) if invocation.is_open else [],
    )


def first_rows(reading: Reading, invocation: Invocation, limit: int) -> RowsData:
    """The first steps of a run alone, without those of runs it called."""
    return _rows(reading, invocation, steps_of(reading.entries(invocation.id))[:limit], [], depth=DEPTH_MAX)


def _rows(reading: Reading, invocation: Invocation, steps: list[Step], events: list[EventFact], depth: int) -> RowsData:
    found = RowsData(invocation=invocation, steps=steps, events=events, payloads=_short(reading, invocation.id, steps))
    for step in steps:
        if step.child is not None and (called := _called(reading, step.child, depth + 1)) is not None:
            found.called[step.child] = called
    return found


def _called(reading: Reading, run_id: bytes, depth: int) -> RowsData | None:
    invocation = reading.invocation(run_id)
    if invocation is None:
        return None
    steps: list[Step] = []
    events: list[EventFact] = []
    if depth <= DEPTH_MAX:
        inner = steps_of(reading.entries(run_id, high=NESTED_ROWS_MAX))
        steps = [step for step in inner if step.kind not in ("input", "output")]
        events = reading.events(run_id, NESTED_EVENTS_MAX)
    found = _rows(reading, invocation, steps, events, depth)
    summary = reading.summary(run_id)
    found.status = None if summary is None else summary.status
    return found


def _short(reading: Reading, run_id: bytes, steps: list[Step]) -> dict[int, bytes]:
    wanted = [index for step in steps for index in (step.index, step.done_index) if index is not None]
    if not wanted:
        return {}
    return reading.short_payloads(run_id, min(wanted), max(wanted), PREVIEW_BYTES_MAX)
