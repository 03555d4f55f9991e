"""Two runs side by side: a restart or a fork and the run it came from, with the differences marked.

They are compared step by step, and as agents: choices, messages, results and costs. A fork begins with the same steps,
so steps at the same place belong together.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Final

import msgspec

from rewake.agents.roster import plain
from rewake.core.model import Invocation
from rewake.runs.agents import agent_trace_with_choices
from rewake.runs.facts import RunSummary
from rewake.runs.reading import Reading
from rewake.runs.steps import steps_of
from rewake.runs.turns import AgentTrace, Turn
from rewake.ui.run import Row, rows_alone
from rewake.ui.run_data import first_rows

ROWS_MAX: Final = 500


class Pair(msgspec.Struct, frozen=True):
    """The steps at one place of both runs. difference: `same`, `result`, `step` or `only` (in one)."""

    before: Row | None
    after: Row | None
    difference: str


class TurnPair(msgspec.Struct, frozen=True):
    """The turns at one place of both conversations.

    difference: `same`, `choice` (another was chosen), `agent` (another one speaks), `answer`, `words` (the same agent
    says something else), `turn` (something else happens) or `only` (in one).
    """

    before: Turn | None
    after: Turn | None
    difference: str


class ComparePage(msgspec.Struct):
    """before: the run that was restarted.   run: the one made from it.   turns: of the agents view."""

    run: RunSummary
    before: RunSummary
    pairs: list[Pair]
    same_count: int
    turns: list[TurnPair]
    trace: AgentTrace
    trace_before: AgentTrace

    @property
    def has_agents(self) -> bool:
        return self.trace.has_agents or self.trace_before.has_agents


def compare_page(reading: Reading, old: Invocation, new: Invocation) -> ComparePage | None:
    """None when one of them has just been forgotten."""
    before, after = reading.summary(old.id), reading.summary(new.id)
    if before is None or after is None:
        return None
    contents = _Contents(reading, old), _Contents(reading, new)
    rows = [rows_alone(first_rows(reading, run, ROWS_MAX), reading.now_ms) for run in (old, new)]
    pairs = [Pair(left, right, _difference(left, right, *contents)) for left, right in zip_longest(*rows)]
    traces = [agent_trace_with_choices(reading, run) for run in (old, new)]
    return ComparePage(
        run=after,
        before=before,
        pairs=pairs,
        same_count=sum(pair.difference == "same" for pair in pairs),
        turns=[
            TurnPair(left, right, turn_difference(left, right))
            for left, right in zip_longest(traces[0].turns, traces[1].turns)
        ],
        trace=traces[1],
        trace_before=traces[0],
    )


def turn_difference(left: Turn | None, right: Turn | None) -> str:
    """How two turns at the same place differ, in one word: see TurnPair."""
    if left is None or right is None:
        return "only"
    if left.kind != right.kind or (left.kind in ("step", "call") and left.title != right.title):
        return "turn"
    if left.kind in ("decision", "handoff") and plain(_choice(left)) != plain(_choice(right)):
        return "choice"
    has_same_words = (left.text, _calls(left), left.is_failure) == (right.text, _calls(right), right.is_failure)
    if left.kind == "answer" and not has_same_words:
        return "answer"
    if plain(left.agent) != plain(right.agent):
        return "agent"
    return "same" if has_same_words else "words"


def _choice(turn: Turn) -> str:
    return turn.choice or (turn.title if turn.kind == "handoff" else "")


def _calls(turn: Turn) -> list[object]:
    return [] if turn.reply is None else [(call.name, call.arguments) for call in turn.reply.calls]


class _Contents:
    """The full results of a run's steps; the preview of a row is cut."""

    def __init__(self, reading: Reading, run: Invocation) -> None:
        self._reading, self._run = reading, run
        self._done = {step.index: step.done_index for step in steps_of(reading.entries(run.id))[:ROWS_MAX]}

    def of(self, row: Row) -> bytes:
        index = self._done.get(row.index)
        index = row.index if index is None else index
        return self._reading.payloads(self._run.id, [index]).get(index, b"")


def _difference(left: Row | None, right: Row | None, before: _Contents, after: _Contents) -> str:
    if left is None or right is None:
        return "only"
    if (left.kind, left.title) != (right.kind, right.title):
        return "step"
    if (left.preview, left.is_failure, left.is_done) != (right.preview, right.is_failure, right.is_done):
        return "result"
    is_whole = left.preview and not left.preview.endswith("…") and left.kind != "model"
    return "same" if is_whole or before.of(left) == after.of(right) else "result"
