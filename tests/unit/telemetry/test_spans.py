"""Spans from journals: what becomes one, under which parent, and what agents did. No engine runs here."""

from __future__ import annotations

from typing import Any

from tests.unit.runs.written import CHILD, ID, Journal, invocation, reply

from rewake.core.ids import InvocationId
from rewake.core.model import Invocation, InvokedBy, Status
from rewake.protocol import messages as m
from rewake.protocol.messages import Failure
from rewake.runs.directory import Directory
from rewake.runs.facts import EventFact
from rewake.runs.records import record_from
from rewake.telemetry import spans as spans_module
from rewake.telemetry import trace_ids
from rewake.telemetry.spans import Span, spans_of

NOBODY = Directory([])


def made(journal: Journal, **changes: Any) -> list[Span]:
    return spans_of(record_from(invocation(**changes), journal.rows), NOBODY)


def test_steps_last_from_their_command_to_their_completion() -> None:
    journal = Journal()
    journal.add(m.InputCommand((), b""))
    journal.run("one", 1)
    journal.run("two", Failure(500, "no"))
    journal.add(m.SleepCommand(10**12, 77, "nap"), completion_id=77, name="nap")
    own, one, two, nap = made(journal)
    assert (own.name, own.start_ms, own.end_ms, own.error) == ("Desk/route", 100, 900, None)
    assert own.attributes["rewake.queued_ms"] == 30
    assert (one.name, one.start_ms, one.end_ms, one.error) == ("one", 110, 120, None)
    assert (two.error, two.parent_id) == ("no", own.span_id)
    assert (nap.name, nap.end_ms) == ("nap", 900)  # it never fired: cut off with the invocation


def test_the_same_rows_give_the_same_spans() -> None:
    journal = Journal()
    journal.run("one", reply())
    journal.call(CHILD)
    assert made(journal) == made(journal)


def test_a_callee_finds_its_parent_without_asking() -> None:
    journal = Journal()
    journal.call(CHILD)
    journal.call(CHILD)  # again, by its idempotency key
    _, first, second = made(journal)
    called = record_from(
        Invocation(
            id=InvocationId(CHILD),
            target=invocation().target,
            status=Status.COMPLETED,
            created_at_ms=1,
            modified_at_ms=2,
            invoked_by=InvokedBy.SERVICE,
            invoked_by_id=InvocationId(ID),
            traceparent=None,
        ),
        [],
    )
    child = spans_of(called, NOBODY)[0]
    assert child.parent_id == first.span_id
    assert second.span_id != first.span_id


def test_only_an_outside_callers_span_is_the_parent_of_a_root() -> None:
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert made(Journal(), traceparent=given)[0].parent_id == "b7ad6b7169203331"
    own = trace_ids.root_traceparent(trace_ids.new_trace_id(), is_sampled=True)
    assert made(Journal(), traceparent=own)[0].parent_id is None


def test_agents_hand_over_and_back() -> None:
    journal = Journal()
    journal.run("call LLM", reply(("transfer_to_billing", {})))
    journal.run("call LLM", reply(("Look up", {"id": 1})))
    journal.run("look_up", {"found": True})
    journal.run("call LLM", reply(("transfer_to_agent", {"agent_name": "router"})))
    journal.run("call LLM", reply())
    own, billing, router, *steps = made(journal)
    assert (billing.name, router.name) == ("invoke_agent billing", "invoke_agent router")
    assert billing.end_ms == router.start_ms
    assert router.end_ms == own.end_ms
    assert [step.parent_id for step in steps] == [
        own.span_id, billing.span_id, billing.span_id, billing.span_id, router.span_id,
    ]  # fmt: skip
    assert [step.attributes["gen_ai.agent.name"] for step in steps] == [
        "Desk", "billing", "billing", "billing", "router",
    ]  # fmt: skip
    assert steps[2].name == "execute_tool Look up"
    assert steps[3].attributes["rewake.handoff.from"] == "billing"


def test_a_run_without_models_says_nothing_of_agents() -> None:
    journal = Journal()
    journal.run("one", {"content": "text", "usage": "none"})
    journal.run("two", [1, 2])
    assert not any(name.startswith("gen_ai.") for span in made(journal) for name in span.attributes)


def test_failures_become_events_whatever_they_hold() -> None:
    events = [
        EventFact(0, 150, "TransientError", {"error_message": "lost", "restate_doc_error_code": "RT0010"}),
        EventFact(0, 160, "Paused", {"error_message": [7]}),
    ]
    own = spans_of(record_from(invocation(result=Failure(409, "killed")), [], events), NOBODY)[0]
    assert own.error == "killed"
    assert own.attributes["error.type"] == "409"
    assert [(event.name, event.at_ms) for event in own.events] == [("exception", 150), ("paused", 160)]
    assert own.events[0].attributes == {"exception.type": "RT0010", "exception.message": "lost"}


def test_hostile_and_endless_journals(monkeypatch: Any) -> None:
    monkeypatch.setattr(spans_module, "STEPS_MAX", 3)
    journal = Journal()
    for _ in range(5):
        journal.run("x" * 5_000, {"choices": [{"message": {"tool_calls": "no list"}}], "usage": 7})
    journal.rows[0].payload = b"\xff\xff\xff"
    own, *steps = made(journal)
    assert len(steps) == 3  # an unreadable command is still a step
    assert own.attributes["rewake.steps_left_out"] == 2
    assert all(len(step.name) <= spans_module.TEXT_CHARS_MAX + 10 for step in steps)


def test_a_consulted_agent_works_below_the_asker() -> None:
    """Its span ends when it answered and shows who asked; the asker's next step is its own again."""
    journal = Journal()
    told = {"rewake": 1, "kind": "model", "framework": "openai-agents", "model": "m"}
    journal.run("Boss: model", told | {"path": ["Boss"], "value": {}})
    journal.run("Car: model", told | {"path": ["Boss", "Car"], "calls": ["c1"], "value": {}})
    journal.add(m.SleepCommand(110, 77, "nap"), completion_id=77, name="nap")
    journal.run("Boss: model", told | {"path": ["Boss"], "value": {}})
    own, car, first, inside, nap, last = made(journal)
    assert own.attributes["gen_ai.agent.name"] == "Boss"
    assert (car.name, car.parent_id) == ("invoke_agent Car", own.span_id)
    assert (car.start_ms, car.end_ms) == (inside.start_ms, inside.end_ms)
    assert car.attributes["rewake.handoff.from"] == "Boss"
    assert [span.parent_id for span in (first, inside, nap, last)] == [
        own.span_id, car.span_id, car.span_id, own.span_id,
    ]  # fmt: skip


def test_whom_a_plain_step_chose_gets_no_span_of_work_here() -> None:
    """The choice is on the step; the call, and what comes after, are still the invocation's own."""
    journal = Journal()
    journal.run("pick", "billing")
    journal.call(CHILD)
    journal.run("note", 1)
    own, pick, call, note = made(journal)
    assert pick.attributes["rewake.handoff.to"] == "Billing"  # as the service is called
    assert {span.parent_id for span in (pick, call, note)} == {own.span_id}
    assert "gen_ai.agent.name" not in own.attributes
