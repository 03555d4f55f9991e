"""The envelope of rewake.ext: read from its persisted form, whatever is in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rewake.agents.decoding import decode_reply
from rewake.agents.envelope import PATH_MAX, decode_envelope

MODEL: dict[str, Any] = {
    "rewake": 1, "kind": "model", "framework": "openai-agents", "agent": "Medical", "path": ["Boss", "Medical"],
    "calls": ["call_1"], "model": "gpt-5", "usage": {"requests": 1, "input_tokens": 812, "output_tokens": 40},
    "request_id": "req_7", "handoff": "Billing", "fingerprint": "9f2c61d0a4b7e813",
    "value": {"output": [{"type": "function_call", "name": "transfer_to_billing", "call_id": "c", "arguments": "{}"}],
              "usage": {"input_tokens": 1, "output_tokens": 1}, "response_id": None},
}  # fmt: skip


def stored(told: Any) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode()


def test_a_model_step() -> None:
    found = decode_envelope(stored(MODEL))
    assert found is not None and found.reply is not None
    assert (found.kind, found.framework, found.agent) == ("model", "OpenAI Agents", "Medical")
    assert (found.path, found.calls, found.handoff) == (("Boss", "Medical"), ("call_1",), "Billing")
    reply = found.reply
    assert (reply.model, reply.input_tokens, reply.output_tokens) == ("gpt-5", 812, 40)
    assert [call.name for call in reply.calls] == ["transfer_to_billing"]


def test_a_pydantic_reply_inside() -> None:
    value = {"kind": "response", "parts": [{"part_kind": "text", "content": "Yes."}], "model_name": "m"}
    found = decode_envelope(stored(MODEL | {"framework": "pydantic-ai", "value": value}))
    assert found is not None and found.reply is not None
    assert (found.reply.framework, found.reply.text) == ("Pydantic AI", "Yes.")


def test_a_model_that_another_one_took_over_from() -> None:
    value = {"$failed": {"error": "ModelOverloadedError", "text": "status_code: 529", "http": True}}
    found = decode_envelope(stored(MODEL | {"framework": "pydantic-ai", "model": "busy", "value": value}))
    assert found is not None and (reply := found.reply) is not None
    assert (reply.model, reply.finish, reply.text) == ("busy", "error", "ModelOverloadedError: status_code: 529")


def test_a_tool_step() -> None:
    told = {"rewake": 1, "kind": "tool", "framework": "kernel", "agent": "A", "call": "c1", "tool": "pay",
            "attempts": 3, "branch": True, "value": None}  # fmt: skip
    found = decode_envelope(stored(told))
    assert found is not None
    assert (found.path, found.call, found.tool, found.attempts, found.is_branch) == (("A",), "c1", "pay", 3, True)


def test_a_newer_version_and_kind_are_read_as_far_as_they_are_known() -> None:
    found = decode_envelope(stored({"rewake": 9, "kind": "dream", "path": ["A"], "value": 1}))
    assert found is not None
    assert (found.kind, found.agent, found.value) == ("dream", "A", 1)


@pytest.mark.parametrize(
    "told",
    [
        {"rewake": True, "kind": "model"},
        {"rewake": 1},
        {"rewake": 1, "kind": 7},
        {"kind": "model"},
        [{"rewake": 1, "kind": "model"}],
        "rewake",
    ],
)
def test_anything_else_is_none(told: Any) -> None:
    assert decode_envelope(stored(told)) is None


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"rewake"', b'{"rewake":1,"kind":"model"' + b"[" * 9_999])
def test_what_cannot_be_read_is_none(content: bytes | None) -> None:
    assert decode_envelope(content) is None


@pytest.mark.parametrize("name", list(MODEL))
@pytest.mark.parametrize("value", [None, 7, "x", [1, None], {"a": []}, [["x"] * 99] * 99])
def test_a_field_of_another_type_is_as_if_absent(name: str, value: Any) -> None:
    found = decode_envelope(stored(MODEL | {name: value}))
    assert found is None or (isinstance(found.agent, str) and len(found.calls) <= max(len(found.path) - 1, 0))


def test_an_envelope_is_no_reply_of_a_framework() -> None:
    assert decode_reply(stored(MODEL)) is None


def test_a_path_beyond_reason_is_cut() -> None:
    found = decode_envelope(stored(MODEL | {"path": ["A"] * 999, "calls": ["c"] * 999}))
    assert found is not None
    assert (len(found.path), len(found.calls)) == (PATH_MAX, PATH_MAX - 1)
