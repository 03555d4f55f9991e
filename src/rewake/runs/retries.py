"""Failed attempts in the conversation of agents: the places where a worker died or a step failed."""

from __future__ import annotations

from typing import Final

from rewake import formats
from rewake.core import ids
from rewake.runs.facts import EventFact
from rewake.runs.records import Record
from rewake.runs.turns import AgentTrace, Turn

SHOWN_MAX: Final = 50
"""The last failed attempts of one run are shown, at most so many."""


def add_retries(record: Record, trace: AgentTrace) -> None:
    """Insert a turn of kind `retry` for each failed attempt, among the turns of its run."""
    for each in record.walk():
        run_id = ids.invocation_id_to_str(each.invocation.id)
        failures = [event for event in each.events if event.kind == "TransientError"]
        for event in failures[-SHOWN_MAX:]:
            later = (place for place, turn in enumerate(trace.turns) if _is_after(turn, run_id, event))
            trace.turns.insert(next(later, len(trace.turns)), _turn(run_id, event))


def _is_after(turn: Turn, run_id: str, event: EventFact) -> bool:
    """Whether a turn comes after a failure. If its step was open at the failure, a later attempt did the step."""
    return turn.run_id == run_id and turn.at_ms + (turn.took_ms or 0) > event.at_ms


def _turn(run_id: str, event: EventFact) -> Turn:
    return Turn(
        kind="retry",
        run_id=run_id,
        index=max(event.after_index, 0),
        at_ms=event.at_ms,
        title=str(event.data.get("related_command_name") or ""),
        text=formats.safe(str(event.data.get("error_message") or "")),
        is_failure=True,
    )
