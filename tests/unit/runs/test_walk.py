"""Journals written by hand, read as agents: who speaks inside whose tool, and what envelopes say."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.runs.written import Journal, invocation, reply

from rewake.agents.introspection import METADATA_KEY
from rewake.core.model import ServiceSchema
from rewake.protocol import messages as m
from rewake.runs.agents import TURNS_MAX, trace_of
from rewake.runs.directory import Directory
from rewake.runs.elsewhere.services import service_from
from rewake.runs.records import record_from
from rewake.runs.turns import AgentTrace
from rewake.runs.walk import SESSION_BYTES_MAX, _stored

BOSS: list[dict[str, Any]] = [
    {"name": "Boss", "asks": {"ask_car": "Car", "ask_med": "Med"}, "tools": ["note"]},
    {"name": "Car", "tools": ["look_up"]},
    {"name": "Med"},
]


def service(name: str, agents: list[dict[str, Any]]) -> ServiceSchema:
    handler = {"name": "route", "ty": None, "metadata": {METADATA_KEY: json.dumps(agents)}}
    return service_from({"name": name, "ty": "Service", "handlers": [handler], "revision": 1, "deployment_id": "dp_1"})


def told(journal: Journal, agents: list[dict[str, Any]] | None = None, **changes: Any) -> AgentTrace:
    services = [service("Desk", agents)] if agents else []
    return trace_of(record_from(invocation(**changes), journal.rows), Directory(services))


def openai(*calls: str, text: str = "") -> dict[str, Any]:
    """A reply as OpenAI Agents store it."""
    output: list[dict[str, Any]] = [
        {"type": "function_call", "name": name, "arguments": "{}", "call_id": f"id_{name}"} for name in calls
    ]
    output += [{"type": "message", "content": [{"type": "output_text", "text": text}]}] if text else []
    return {"output": output, "usage": {"input_tokens": 3, "output_tokens": 2}, "response_id": None}


def said(trace: AgentTrace) -> list[str]:
    return [turn.agent for turn in trace.turns if turn.kind == "model"]


def went(trace: AgentTrace) -> list[tuple[str, str, str]]:
    return [(item.source, item.target, item.kind) for item in trace.handoffs]


def test_an_agent_inside_a_tool_has_its_own_turns_and_tokens() -> None:
    journal = Journal()
    journal.run("call LLM", openai("ask_car", "ask_med"))
    journal.run("call LLM", openai("look_up"))
    journal.run("look_up", {"found": True})
    journal.run("call LLM", openai(text="car: yes"))
    journal.run("call LLM", openai(text="med: yes"))
    journal.run("call LLM", openai(text="both said yes"))
    trace = told(journal, BOSS)
    assert said(trace) == ["Boss", "Car", "Car", "Med", "Boss"]
    assert went(trace) == [("Boss", "Car", "consult"), ("Boss", "Med", "consult")]
    assert {item.agent: (item.calls, item.input_tokens) for item in trace.usage} == {
        "Boss": (2, 6), "Car": (2, 6), "Med": (1, 3),
    }  # fmt: skip
    assert trace.turns[0].results == {"id_ask_car": "car: yes", "id_ask_med": "med: yes"}
    looked_up = next(turn for turn in trace.turns if turn.title == "look_up")
    assert (looked_up.agent, looked_up.tool, looked_up.call_id) == ("Car", "look_up", "id_look_up")
    assert [(stint.agent, stint.parent) for stint in trace.stints] == [("Boss", None), ("Car", 0), ("Med", 0)]


def test_a_tool_whose_agent_journals_nothing_takes_no_turns_of_the_asker() -> None:
    journal = Journal()
    journal.run("call LLM", openai("ask_med"))
    journal.run("call LLM", openai("note"))
    journal.run("call LLM", openai(text="done"))
    assert said(told(journal, BOSS)) == ["Boss", "Boss", "Boss"]


def test_a_consultation_that_still_lasts_is_the_consulted_agents() -> None:
    journal = Journal()
    journal.run("call LLM", openai("ask_car"))
    journal.run("call LLM", openai(text="car: yes"))
    assert said(told(journal, BOSS, status=invocation().status.INVOKED, completed_at_ms=None)) == ["Boss", "Car"]


def test_only_the_first_of_two_handoffs_is_followed() -> None:
    journal = Journal()
    journal.run("call LLM", reply(("transfer_to_billing", {}), ("transfer_to_sales", {})))
    journal.run("call LLM", reply())
    trace = told(journal)
    assert went(trace) == [("Desk", "billing", "handoff")]
    assert said(trace) == ["Desk", "billing"]


def test_a_bare_assistant_message_is_a_reply() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "transfer_to_billing", "arguments": "{}"}}]}  # fmt: skip
    journal = Journal()
    journal.run("LLM call", message)
    journal.run("LLM call", {"role": "assistant", "content": "Your invoice is paid."})
    trace = told(journal)
    assert said(trace) == ["Desk", "billing"]
    assert trace.turns[-1].text == "Your invoice is paid."


def test_a_called_service_is_named_by_its_agent() -> None:
    journal = Journal()
    journal.add(m.CallCommand("Garage", "route", b"", (), "", None, None, None, 1, 2), completion_id=2)
    journal.add(m.OneWayCallCommand("Audit", "route", b"", (), "", None, None, None, 0, 3))
    record = record_from(invocation(), journal.rows)
    trace = trace_of(record, Directory([service("Garage", [{"name": "Mechanic"}]), service("Desk", BOSS)]))
    assert went(trace) == [("Desk", "Mechanic", "call"), ("Desk", "Audit", "send")]
    assert not trace.has_agents


def envelope(kind: str, path: str, value: Any, **fields: Any) -> dict[str, Any]:
    names = path.split("/")
    return {"rewake": 1, "kind": kind, "framework": "openai-agents", "agent": names[-1], "path": names,
            **fields, "value": value}  # fmt: skip


def test_envelopes_say_whose_steps_they_are() -> None:
    """Two agents consulted side by side, steps of both in turn; one hands over inside; then the asker itself does."""
    used = {"usage": {"requests": 1, "input_tokens": 5, "output_tokens": 1}, "model": "m-1"}
    journal = Journal()
    journal.run("Boss: model", envelope("model", "Boss", openai("ask_car", "ask_med"), **used))
    journal.run("order", envelope("order", "Boss", ["id_ask_car", "id_ask_med"]))
    journal.run("Car: model", envelope("model", "Boss/Car", openai("look_up"), calls=["id_ask_car"], **used))
    journal.run("Med: model", envelope("model", "Boss/Med", openai(text="yes"), calls=["id_ask_med"], **used))
    journal.run(
        "Car: look_up", envelope("tool", "Boss/Car", 7, calls=["id_ask_car"], call="id_look_up", tool="look_up")
    )
    journal.run(
        "Car: model", envelope("model", "Boss/Car", openai("to_paint"), calls=["id_ask_car"], handoff="Paint", **used)
    )
    journal.run("Paint: model", envelope("model", "Boss/Paint", openai(text="red"), calls=["id_ask_car"], **used))
    journal.run("Boss: model", envelope("model", "Boss", openai("to_payer"), handoff="Payer", **used))
    journal.run("Payer: model", envelope("model", "Payer", openai(text="paid"), **used))
    trace = told(journal)
    assert said(trace) == ["Boss", "Car", "Med", "Car", "Paint", "Boss", "Payer"]
    assert went(trace) == [
        ("Boss", "Car", "consult"), ("Boss", "Med", "consult"), ("Car", "Paint", "handoff"),
        ("Boss", "Payer", "handoff"),
    ]  # fmt: skip
    assert [(item.agent, item.model, item.calls, item.input_tokens) for item in trace.usage] == [
        ("Boss", "m-1", 2, 10), ("Car", "m-1", 2, 10), ("Med", "m-1", 1, 5), ("Paint", "m-1", 1, 5),
        ("Payer", "m-1", 1, 5),
    ]  # fmt: skip
    assert trace.turns[0].results == {"id_ask_car": "red", "id_ask_med": "yes"}
    tool = next(turn for turn in trace.turns if turn.tool)
    assert (tool.agent, tool.call_id, tool.text) == ("Car", "id_look_up", "7")
    parents = {stint.agent: stint.parent for stint in trace.stints}
    assert parents == {"Boss": None, "Car": 0, "Med": 0, "Paint": 0, "Payer": None}


def test_endless_journals_are_cut() -> None:
    journal = Journal()
    for _ in range(9):
        journal.run("call LLM", reply())
    record = record_from(invocation(), journal.rows)
    trace = trace_of(record, Directory([]), turns_max=5)
    assert (len(trace.turns), trace.is_cut) == (5, True)


def test_a_service_that_takes_no_part_lends_no_name() -> None:
    journal = Journal()
    journal.run("call LLM", reply(("transfer_to_billing", {})))
    journal.run("call LLM", reply())
    trace = trace_of(record_from(invocation(), journal.rows), Directory([service("Billing", [{"name": "BILLING"}])]))
    assert went(trace) == [("Desk", "billing", "handoff")]


def test_a_trace_ends_after_so_many_turns() -> None:
    for more in (0, 1):
        journal = Journal()
        for number in range(TURNS_MAX + more):
            journal.run("call LLM", openai(text=f"{number}"))
        trace = told(journal)
        assert (len(trace.turns), trace.is_cut) == (TURNS_MAX, bool(more))


def test_a_conversation_too_large_to_read_is_left_out() -> None:
    items = [{"role": "user", "content": "hello"}]
    for more, is_read in ((0, True), (1, False)):
        value = json.dumps(items).encode()
        value += b" " * (SESSION_BYTES_MAX - len(value) + more)
        journal = Journal()
        journal.add(m.SetStateCommand(b"items", value))
        assert bool(_stored(record_from(invocation(), journal.rows))) == is_read
