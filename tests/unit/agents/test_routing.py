"""Handoffs and decisions, by the names of tools and steps."""

from __future__ import annotations

from typing import Any

import pytest

from rewake.agents.decoding import ToolCall
from rewake.agents.routing import decision_in, handoff_target


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
