"""Handoffs and decisions, by the names of tools and steps."""

from __future__ import annotations

from typing import Any

import pytest

from rewake.agents.replies import ToolCall
from rewake.agents.routing import CHOICE_CHARS_MAX, choice_in, decision_in, handoff_target


def test_handoffs_by_the_name_of_the_tool() -> None:
    assert handoff_target(ToolCall("transfer_to_car_specialist")) == "car specialist"
    assert handoff_target(ToolCall("transfer_to_agent", {"agent_name": "car"})) == "car"
    assert handoff_target(ToolCall("transfer_to_agent", {"agent_name": 3})) is None
    assert handoff_target(ToolCall("transfer_money")) is None


@pytest.mark.parametrize(
    ("title", "value", "decision"),
    [
        ("Pick specialist", {"specialist": "billing", "answer": None}, ("billing", "")),
        ("Pick specialist", {"specialist": None, "answer": "no"}, (None, "")),
        ("Pick specialist", "Car: a dent", ("Car", "a dent")),
        ("triage", {"route": "car", "reason": "a dent"}, ("car", "a dent")),
        ("Look up", {"specialist": None}, None),
        ("Look up", {"agent": "x" * 61}, None),
        ("Look up", {"agent": {}}, None),
        ("Look up", "Car: a dent", None),
        ("Pick", [1], None),
    ],
)
def test_decisions(title: str, value: Any, decision: Any) -> None:
    assert decision_in(title, value) == decision


def test_a_choice_is_a_short_name() -> None:
    name = "x" * CHOICE_CHARS_MAX
    assert decision_in("Pick", name) == (name, "")
    assert decision_in("Pick", name + "x") == (name[:-1] + "…", "")
    assert choice_in({"specialist": name}) == name
    assert choice_in({"specialist": name + "x", "agent": "car"}) == "car"
    assert choice_in([name]) is None
