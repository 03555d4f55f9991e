"""What a run was about when it began to wait: the model's open call, else the step before."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.runs.test_walk import openai
from tests.unit.runs.written import Journal, invocation

from rewake.core.model import Status
from rewake.runs.agents import trace_of
from rewake.runs.directory import Directory
from rewake.runs.questions import Question, question_of
from rewake.runs.records import record_from


def asked(journal: Journal) -> Question:
    record = record_from(invocation(status=Status.INVOKED, completed_at_ms=None), journal.rows)
    return question_of(record, trace_of(record, Directory([])))


def test_an_open_call_of_a_model() -> None:
    """The one that a person answers, of those without a step."""
    journal = Journal()
    journal.run("call LLM", openai("look_up", "note", "human_approval"))
    journal.run("Look up", 7)
    found = asked(journal)
    assert found == Question(agent="Desk", tool="human_approval", arguments="{}")
    assert found.is_for_a_person


def test_a_call_that_a_step_names_is_not_open() -> None:
    told: dict[str, Any] = {"rewake": 1, "framework": "openai-agents", "path": ["Boss"]}
    journal = Journal()
    journal.run("Boss: model", told | {"kind": "model", "value": openai("pay", "approve")})
    journal.run("Boss: pay", told | {"kind": "tool", "call": "id_pay", "tool": "pay", "value": 1})
    assert asked(journal).tool == "approve"
    journal.run("Boss: approve", told | {"kind": "tool", "call": "id_approve", "tool": "approve", "value": 1})
    assert asked(journal).tool == ""


@pytest.mark.parametrize(
    ("step", "is_for_a_person"), [("Request review", True), ("escalate to manager", True), ("charge card", False)]
)
def test_the_step_before(step: str, is_for_a_person: bool) -> None:
    journal = Journal()
    journal.run("first", 1)
    journal.run(step, {"amount": 7})
    found = asked(journal)
    assert (found.agent, found.after, found.is_for_a_person) == ("", step, is_for_a_person)
    assert '"amount": 7' in found.text


def test_nothing_before() -> None:
    assert asked(Journal()) == Question()
