"""Runs read as agents: what the journals of the tour's frameworks tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.ui.recorded import load

from rewake.agents.decoding import ModelReply, ToolCall, decode_conversation, decode_reply
from rewake.agents.routing import decision_in, handoff_target
from rewake.core import ids
from rewake.ui.agents import AgentTrace, agent_trace
from rewake.ui.database import reading


def traces(name: str, folder: Path) -> list[AgentTrace]:
    """The traces of the runs that callers started, in order."""
    with reading(load(name, folder), 1 << 42) as found:
        roots = [
            id_
            for (id_,) in found.execute("select id from invocation where invoked_by = 'ingress' order by created_at_ms")
        ]
        made = []
        for id_ in roots:
            invocation = found.invocation(id_)
            assert invocation is not None
            made.append(agent_trace(found, invocation, ids.invocation_id_to_str))
        return made


def story(trace: AgentTrace) -> list[str]:
    """Each turn in a word or two."""
    told = []
    for turn in trace.turns:
        if turn.kind == "model":
            assert turn.reply is not None
            told.append(f"{turn.agent} says {', '.join(call.name for call in turn.reply.calls) or turn.text[:20]}")
        elif turn.kind == "handoff":
            told.append(f"{turn.agent} -> {turn.title}")
        elif turn.kind == "decision":
            told.append(f"{turn.agent} chose {turn.choice}")
        elif turn.kind == "call":
            told.append(f"{turn.agent} calls {turn.title}")
        elif turn.kind == "step":
            told.append(f"step {turn.title}")
        else:
            told.append(turn.kind)
    return told


def test_openai_agents(tmp_path: Path) -> None:
    """Handoffs by tool calls; the state tells who speaks when the next message comes."""
    first, second, third = traces("claim_handoffs", tmp_path)
    assert story(first) == [
        "user",
        "ClaimDesk says transfer_to_medical_specialist",
        "ClaimDesk -> Medical specialist",
        "Medical specialist says file_medical_claim",
        "step File medical claim",
        "Medical specialist says Your claim M-ee99626",
        "answer",
    ]
    assert first.agents == ["ClaimDesk", "Medical specialist"]
    assert first.handoffs[0].reason == "it is about a treatment"
    handoff = first.turns[2]
    assert handoff.choices == {"Car specialist": 1, "Medical specialist": 1}
    asked = first.turns[3]
    assert asked.reply is not None
    assert asked.results[asked.reply.calls[0].call_id] == "M-ee996268: medical claim for two nights in hospital"
    assert [(item.agent, item.calls, item.input_tokens, item.output_tokens, item.cost) for item in first.usage] == [
        ("ClaimDesk", 1, 40, 17, None),
        ("Medical specialist", 2, 131, 30, None),
    ]
    assert story(second)[1] == "Medical specialist says The money arrives fi"
    assert (third.handoffs[0].source, third.handoffs[0].target) == ("Medical specialist", "Car specialist")


def test_adk(tmp_path: Path) -> None:
    """Transfers; the session tells the names of agents and what tools returned."""
    first = traces("claim_subagents", tmp_path)[0]
    assert story(first)[:4] == [
        "user",
        "intake says transfer_to_agent",
        "intake -> medical_specialist",
        "medical_specialist says open_claim",
    ]
    assert first.agents == ["intake", "medical_specialist"]
    assert {item.model for item in first.usage} == {"gemini-2.5-flash"}


def test_pydantic_ai(tmp_path: Path) -> None:
    """Agents as tools: those consulted answer in between, and the first one ends."""
    (trace,) = traces("claim_tools", tmp_path)
    assert story(trace) == [
        "user",
        "ClaimAdvisor says consult_medical_specialist, consult_car_specialist",
        "step Look up medical cover",
        "medical_specialist says Your hospital stay i",
        "step Look up car cover",
        "car_specialist says The repair is covere",
        "ClaimAdvisor says Your hospital stay i",
        "answer",
    ]
    assert [(item.target, item.kind) for item in trace.handoffs] == [
        ("medical_specialist", "consult"),
        ("car_specialist", "consult"),
    ]


def test_plain_steps(tmp_path: Path) -> None:
    """A router whose decision is a step; without a specialist it answers itself."""
    first, second = traces("support_router", tmp_path)
    assert story(first) == ["user", "SupportRouter chose billing", "step Ask billing", "answer"]
    assert story(second) == ["user", "SupportRouter chose None", "answer"]
    assert not second.handoffs


def test_specialists_in_services_of_their_own(tmp_path: Path) -> None:
    """The run that was called is told inside the one that called it."""
    first = traces("remote_specialists", tmp_path)[0]
    assert story(first) == [
        "user",
        "ClaimRouter chose CarSpecialist",
        "CarSpecialist calls CarSpecialist/answer",
        "asked",
        "CarSpecialist says find_garage",
        "step Find garage",
        "CarSpecialist says The repair is covere",
        "answer",
        "answer",
    ]
    assert [(item.source, item.target) for item in first.handoffs] == [("ClaimRouter", "CarSpecialist")]


REPLIES: dict[str, Any] = {
    "Chat completion": {
        "id": "x",
        "model": "gpt-5-mini",
        "choices": [
            {
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": "hm",
                    "tool_calls": [{"id": "c1", "function": {"name": "look", "arguments": '{"at": 1}'}}],
                },
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    },
    "Vercel AI": {
        "json": {
            "content": [
                {"type": "text", "text": "hm"},
                {"type": "tool-call", "toolCallId": "c1", "toolName": "look", "input": '{"at": 1}'},
            ],
            "finishReason": {"unified": "tool-calls"},
            "usage": {"inputTokens": {"total": 3}, "outputTokens": {"total": 4}},
            "response": {"modelId": "gpt-5-mini"},
        }
    },
    "Anthropic": {
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [
            {"type": "text", "text": "hm"},
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": 1}},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 4},
    },
    "LangChain": {
        "result": [
            {
                "type": "ai",
                "content": "hm",
                "tool_calls": [{"id": "c1", "name": "look", "args": {"at": 1}}],
                "usage_metadata": {"input_tokens": 3, "output_tokens": 4},
                "response_metadata": {"model_name": "gpt-5-mini"},
            }
        ]
    },
}


@pytest.mark.parametrize("framework", REPLIES)
def test_replies_of_other_frameworks(framework: str) -> None:
    reply = decode_reply(msgspec.json.encode(REPLIES[framework]))
    assert reply is not None
    assert reply.framework == framework
    assert (reply.text, reply.calls, reply.input_tokens, reply.output_tokens) == (
        "hm",
        (ToolCall("look", {"at": 1}, "c1"),),
        3,
        4,
    )
    assert reply.model


STRANGE: tuple[Any, ...] = (
    None, 1, [], {}, "text", {"output": None}, {"output": [1]}, {"choices": [[]]}, {"choices": [{"message": 1}]},
    {"content": {"parts": 3}}, {"content": {"parts": [None, {"function_call": 7}]}}, {"parts": [1], "kind": "response"},
    {"content": [None], "finishReason": None}, {"role": "assistant", "content": [{"type": []}]}, {"result": [[[]]]},
    {"output": [{"type": "message", "content": [{"text": {"a": 1}}]}], "usage": {"input_tokens": -1}},
)  # fmt: skip


@pytest.mark.parametrize("value", STRANGE, ids=range(len(STRANGE)))
def test_strange_content_is_no_error(value: Any) -> None:
    reply = decode_reply(msgspec.json.encode(value))
    assert reply is None or isinstance(reply, ModelReply)
    decode_conversation(msgspec.json.encode(value))


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000, b'{"a":' * 5_000, b"nul", b'"\\ud800"'])
def test_broken_content_is_no_error(content: bytes) -> None:
    assert decode_reply(content) is None
    assert decode_conversation(content) == []


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
