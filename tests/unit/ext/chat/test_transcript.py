"""Transcripts of turns, from the envelopes of the journal and from deltas."""

from __future__ import annotations

from typing import Any

from rewake.ext.chat.transcript import Transcript

MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}


def function_call(name: str, call: str = "c1", arguments: str = '{"amount": 4}') -> dict[str, Any]:
    return {"type": "function_call", "call_id": call, "name": name, "arguments": arguments}


def model(*output: Any, **fields: Any) -> dict[str, Any]:
    found = {"kind": "model", "framework": "openai-agents", "agent": "Desk", "path": ["Desk"]}
    return found | {"value": {"output": list(output)}} | fields


def test_steps_of_openai_agents() -> None:
    transcript = Transcript()
    transcript.recorded(model({"type": "reasoning", "summary": [{"text": "Hm"}]}, MESSAGE, function_call("pay")))
    transcript.recorded({"kind": "tool", "call": "c1", "tool": "pay", "value": {"$context": {}, "$value": "paid"}})
    transcript.recorded(model(function_call("transfer_to_the_bank", "c2", "{}"), handoff="The bank"))
    first, second = transcript.steps
    assert [part["type"] for part in first["parts"]] == ["reasoning", "text", "tool"]
    assert first["parts"][2] == {
        "type": "tool",
        "call": "c1",
        "tool": "pay",
        "agent": "Desk",
        "input": {"amount": 4},
        "state": "returned",
        "output": "paid",
    }
    assert second["parts"] == [{"type": "handoff", "agent": "The bank"}]
    assert transcript.text == "Hello"


def test_steps_of_pydantic_ai() -> None:
    transcript = Transcript()
    parts = [
        {"part_kind": "thinking", "content": "Hm"},
        {"part_kind": "text", "content": "Hello"},
        {"part_kind": "tool-call", "tool_call_id": "c1", "tool_name": "pay", "args": '{"amount": 4}'},
    ]
    envelope = model(framework="pydantic-ai") | {"value": {"kind": "response", "parts": parts}}
    transcript.recorded(envelope)
    assert [part["type"] for part in transcript.steps[0]["parts"]] == ["reasoning", "text", "tool"]
    assert transcript.steps[0]["parts"][2]["input"] == {"amount": 4}


def test_an_answer_is_part_of_the_turn_once() -> None:
    """A function's answer; also where its own agent has said the same."""
    transcript = Transcript()
    transcript.recorded(model(MESSAGE))
    transcript.conclude("Hello")
    assert transcript.text == "Hello"
    transcript.conclude("Hello, Ada")
    assert transcript.text == "Hello\n\nHello, Ada"


def test_a_nested_agent_shows_as_progress_and_its_question_as_a_step() -> None:
    transcript = Transcript()
    transcript.recorded(model(function_call("ask_bank")))
    nested = {"path": ["Desk", "Bank"], "calls": ["c1"], "agent": "Bank"}
    transcript.recorded(model(MESSAGE, function_call("pay", "c2"), **nested))
    assert transcript.steps[0]["parts"][0]["progress"] == {"agent": "Bank", "text": "Hello"}
    question = {"id": "a1", "awakeables": ["a1"], "question": "Pay?", "arguments": '{"amount": 4}', "digest": "d"}
    about = {"kind": "approval", "agent": "Bank", "call": "c2", "tool": "pay"}
    transcript.recorded(about | {"value": question})
    assert [part["tool"] for part in transcript.waiting] == ["pay"]
    assert transcript.steps[1]["agent"] == "Bank"
    transcript.recorded(about | {"value": {"outcome": "denied", "id": "a1", "why": "no"}})
    assert transcript.steps[1]["parts"][0]["state"] == "denied"
    transcript.returned("c1", "nothing paid")
    assert [part["state"] for part in transcript.calls()] == ["returned", "denied"]


def test_deltas_give_way_to_what_is_stored() -> None:
    transcript = Transcript()
    draft: dict[str, Any] = {"agent": "Desk", "parts": []}
    for delta in ("Hel", "lo", {"type": "tool_input", "call": "c1", "tool": "pay", "text": '{"amo'}):
        transcript.say(["Desk"], [], delta, draft)
    assert transcript.steps[0]["parts"][0] == {"type": "text", "text": "Hello"}
    assert transcript.steps[0]["parts"][1]["written"] == '{"amo'
    transcript.settle(draft, model(MESSAGE, function_call("pay")))
    assert [part["type"] for part in transcript.steps[0]["parts"]] == ["text", "tool"]
    assert len(transcript.steps) == 1
