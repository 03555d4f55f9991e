"""Choices of earlier runs at a decision. They are shown if the app does not name a router's candidates."""

from __future__ import annotations

from collections import Counter
from typing import Final

from rewake.agents.replies import loaded
from rewake.agents.routing import decision_in
from rewake.core import ids
from rewake.protocol import messages as m
from rewake.protocol.messages import MessageType
from rewake.runs.displays import carried
from rewake.runs.reading import Reading
from rewake.runs.records import Record
from rewake.runs.steps import decoded
from rewake.runs.turns import AgentTrace, Turn

DECISIONS_MAX: Final = 12
"""Steps of one page for which earlier choices are looked up."""

_NAMES_MAX: Final = 12

Place = tuple[str, str, str]
"""Service, handler and name of a step."""


def add_earlier_choices(reading: Reading, record: Record, trace: AgentTrace) -> None:
    """Add the choices of the handler's earlier runs to each decision without candidates, most frequent first."""
    records = {ids.invocation_id_to_str(each.invocation.id): each for each in record.walk()}
    known: dict[Place, dict[str, int]] = {}
    for turn in trace.turns:
        if turn.candidates or not (turn.kind == "decision" or turn.choice is not None):
            continue
        place = _place_of(records[turn.run_id], turn)
        if place not in known:
            if len(known) >= DECISIONS_MAX:
                return
            known[place] = _chosen_at(reading, place)
        turn.choices = known[place]


def _place_of(record: Record, turn: Turn) -> Place:
    target = record.invocation.target
    name = next((step.name for step in record.steps if step.index == turn.index), "")
    return target.service, target.handler, name


def _chosen_at(reading: Reading, place: Place) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for payload, version in reading.earlier_results(*place):
        result = carried(decoded(MessageType.RUN_COMPLETION, payload, version))
        if isinstance(result, m.Success):
            decision = decision_in(place[2], loaded(result.content))
            if decision is not None and decision[0]:
                counts[decision[0]] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_NAMES_MAX])
