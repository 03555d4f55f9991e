"""Failed attempts in the conversation: in their place, bounded, and of their own run."""

from __future__ import annotations

import pytest
from tests.unit.runs.written import Journal, invocation, reply

from rewake.runs import retries
from rewake.runs.agents import trace_of
from rewake.runs.directory import Directory
from rewake.runs.facts import EventFact
from rewake.runs.records import record_from
from rewake.runs.retries import add_retries
from rewake.runs.turns import Turn


def turns(*failed_at_ms: int) -> list[Turn]:
    """Of two model calls, at 100 to 110 and 120 to 130, and attempts that failed then."""
    journal = Journal()
    journal.run("first", reply())
    journal.run("second", reply())
    events = [EventFact(0, at_ms, "TransientError", {"error_message": f"lost at {at_ms}"}) for at_ms in failed_at_ms]
    record = record_from(invocation(), journal.rows, [*events, EventFact(0, 1, "Paused", {})])
    trace = trace_of(record, Directory([]))
    add_retries(record, trace)
    return trace.turns


def test_a_failure_is_before_the_step_that_was_done_after_it() -> None:
    """Also when the step had begun by then: it was cut off and done again."""
    assert [turn.kind for turn in turns(105, 115, 125, 500)] == [
        "retry", "model", "retry", "retry", "model", "retry",
    ]  # fmt: skip
    assert turns(125)[1].text == "lost at 125"


def test_the_last_ones_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "SHOWN_MAX", 2)
    assert [turn.text for turn in turns(101, 115, 500) if turn.kind == "retry"] == ["lost at 115", "lost at 500"]
