"""Failed attempts in the conversation of agents: where a worker died or a step failed, and the run went on."""

from __future__ import annotations

from typing import Final

from rewake import formats
from rewake.core import ids
from rewake.runs.facts import EventFact
from rewake.runs.records import Record
from rewake.runs.turns import AgentTrace, Turn

SHOWN_MAX: Final = 50
"""Failed attempts of one run that are shown, the last ones."""


def add_retries(record: Record, trace: AgentTrace) -> None:
    """Put a turn of kind `retry` where each failed attempt was, among the turns of its run."""
    for each in record.walk():
        run_id = ids.invocation_id_to_str(each.invocation.id)
        failures = [event for event in each.events if event.kind == "TransientError"]
        for event in failures[-SHOWN_MAX:]:
            later = (place for place, turn in enumerate(trace.turns) if _is_after(turn, run_id, event))
            trace.turns.insert(next(later, len(trace.turns)), _turn(run_id, event))


def _is_after(turn: Turn, run_id: str, event: EventFact) -> bool:
    """A step that was open when the attempt failed was done by a later attempt, so it comes after the failure."""
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
