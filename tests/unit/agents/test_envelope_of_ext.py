"""What rewake.ext writes is what rewake.agents reads: two readings of one persisted form, held together here."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from rewake.agents import envelope as read
from rewake.ext.kernel import envelope as written
from rewake.ext.kernel.undoable import _packed

REPLY = {"output": [{"type": "message", "content": [{"type": "output_text", "text": "Yes."}]}], "response_id": None}
SAMPLES: list[dict[str, Any]] = [
    {"kind": "model", "framework": "openai-agents", "agent": "Intake", "path": ("Intake",), "value": REPLY,
     "model": "gpt-5", "usage": {"requests": 1, "input_tokens": 7, "output_tokens": 2}, "request_id": "req_1"},
    {"kind": "model", "framework": "openai-agents", "agent": "Car", "path": ("Intake", "Car"), "calls": ("call_1",),
     "value": REPLY, "handoff": "Paint"},
    {"kind": "tool", "framework": "kernel", "agent": "Car", "path": ("Intake", "Car"), "calls": ("call_1",),
     "call": "call_2", "tool": "look_up", "value": {"found": True}, "attempts": 3},
    {"kind": "tool", "framework": "kernel", "agent": "Car", "path": ("Car",), "call": "c", "tool": "a", "branch": True},
    {"kind": "mcp", "framework": "kernel", "agent": "Car", "path": ("Car",), "server": "files", "value": []},
    {"kind": "order", "framework": "kernel", "value": ["call_1"]},
    {"kind": "steering", "framework": "kernel", "value": {"id": "msg_2", "text": "In Texas"}},
]  # fmt: skip


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["kind"])
def test_each_field_is_read_as_it_was_written(sample: dict[str, Any]) -> None:
    stored = written.Envelope(**sample)
    found = read.decode_envelope(written.encode(stored))
    assert found is not None
    for name in ("kind", "path", "calls", "attempts"):
        assert getattr(found, name) == getattr(stored, name)
    for name in ("agent", "call", "tool", "server", "handoff"):
        assert getattr(found, name) == (getattr(stored, name) or "")
    assert (found.is_branch, found.value) == (stored.branch, stored.value)
    if stored.kind == "model":
        usage = stored.usage or {}
        assert found.reply is not None
        assert (found.reply.model, found.reply.text) == (stored.model, "Yes.")
        assert (found.reply.input_tokens, found.reply.output_tokens) == (
            usage.get("input_tokens"), usage.get("output_tokens"),
        )  # fmt: skip


def test_both_know_the_same_kinds() -> None:
    assert frozenset(get_args(written.Kind)) == read.KINDS


@pytest.mark.parametrize("answer", [b'"Booked."', b"", b"\xff\x00"])
def test_an_answer_that_can_be_undone_is_read_as_the_handlers_own(answer: bytes) -> None:
    stored = written.Envelope(kind="undoable", framework="kernel", value=_packed(answer) | {"undo": []})
    assert read.own_answer(written.encode(stored)) == answer
    assert read.own_answer(answer) == answer


@pytest.mark.parametrize("value", [None, {}, {"base64": 7}, {"base64": "?"}, {"answer": ["a"]}])
def test_an_answer_of_another_form_stays_as_it_is(value: Any) -> None:
    stored = written.encode(written.Envelope(kind="undoable", framework="kernel", value=value))
    assert read.own_answer(stored) == stored
