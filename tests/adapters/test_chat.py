"""A chat on public Context and public ingress alone: on Rewake and on the real restate-server, without deltas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_kit import Desk, approval_of, desk_of, outputs_of, read, text_of
from subject import until

from rewake.ext.chat.inbox import ID_MAX
from rewake.ext.chat.routes import BODY_BYTES_MAX
from rewake.testing.models import rule, text, tool_call

pytest.importorskip("agents", reason="the chat of these tests speaks with OpenAI agents")

RULES = [
    rule(name="to billing", system="you are router", says="charged", answer=tool_call("transfer_to_billing")),
    rule(name="to technical", system="you are router", answer=tool_call("transfer_to_technical")),
    rule(name="technical", system="you are technical", answer=text("Switch it off and on.")),
    rule(name="bank end", system="you are bank", after_tool="refund", answer=text("moved")),
    rule(name="bank", system="you are bank", answer=tool_call("refund", {"amount": 40})),
    rule(name="billing end", system="you are billing", tool_result=("moved", "way"), answer=text("You get it back.")),
    rule(name="nested", system="you are billing", says="nested", answer=tool_call("ask_bank", {"input": "40"})),
    rule(name="billing", system="you are billing", answer=tool_call("refund", {"amount": 30})),
]


@pytest.fixture(scope="module", params=["rewake", "restate"])
def desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    from chat_served import desk as chat

    yield from desk_of(request.param, chat, "chat_served:app", RULES, Path(tmp_path_factory.mktemp("chat")))


def test_a_conversation_with_an_approval(desk: Desk) -> None:
    """Two turns; a message sent twice is one; an answer is taken once."""
    before = desk.models.counts["technical"].asked  # other conversations of this desk may have come first
    assert text_of(desk.say("one", "m1", "My box is broken")) == "Switch it off and on."
    assert text_of(desk.say("one", "m1", "My box is broken")) == "Switch it off and on."
    assert desk.models.counts["technical"].asked == before + 1
    approval = approval_of(desk.say("one", "m2", "I was charged twice"))
    assert desk.get("one")["status"] == "waiting"
    assert approval_of(read(desk.client.get("/api/chat/one/stream"))) == approval
    unknown = desk.client.post("/api/chat/one/approvals/sign_1no", json={"approved": True})
    assert unknown.status_code == 409
    rest = desk.answer("one", approval, approved=True)
    assert outputs_of(rest) == ["30 EUR are on their way"]
    assert text_of(rest) == "You get it back."
    assert desk.client.get("/api/chat/one/stream").status_code == 204
    history = desk.get("one")
    assert [message["role"] for message in history["messages"]] == ["user", "assistant", "user", "assistant"]
    assert desk.get("one", "?format=ag-ui")["messages"][-1]["content"] == "You get it back."


def test_a_turn_that_is_stopped_leaves_a_conversation_that_goes_on(desk: Desk) -> None:
    approval_of(desk.say("two", "m1", "I was charged twice"))
    assert desk.client.post("/api/chat/two/stop", json={}).json() == {"stopped": True}
    until(lambda: desk.get("two")["status"] == "stopped", lambda: str(desk.get("two")))
    assert desk.client.post("/api/chat/two/stop", json={}).json() == {"stopped": False}
    assert text_of(desk.say("two", "m2", "My box is broken")) == "Switch it off and on."
    asked = desk.models.exchanges[-1].request.body["input"]
    calls = {item["call_id"] for item in asked if item.get("type") == "function_call"}
    assert calls == {item["call_id"] for item in asked if item.get("type") == "function_call_output"}


def test_an_approval_in_a_nested_specialist_outlives_everything(desk: Desk) -> None:
    """kill -9 of handlers and engine while a person thinks: no model is asked again, nothing is paid twice."""
    approval = approval_of(desk.say("three", "m1", "I was charged twice, nested"))
    before = {name: count.asked for name, count in desk.models.counts.items()}
    desk.subject.service.restart()
    desk.subject.restart()
    until(lambda: desk.client.get("/api/chat/three").status_code == 200, lambda: "the engine")
    rest = desk.answer("three", approval, approved=True)
    outputs = outputs_of(rest)
    assert set(outputs) == {"moved", "40 EUR are on their way"}
    assert text_of(rest) == "You get it back."
    asked = {name: count.asked - before[name] for name, count in desk.models.counts.items()}
    assert {name: count for name, count in asked.items() if count} == {"bank end": 1, "billing end": 1}
    assert (desk.folder / "marks").read_text().splitlines().count("refund 40") == 1


def test_requests_that_are_refused(desk: Desk) -> None:
    """Each with its own status, before anything runs."""
    message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "hello"}]}

    def status(body: Any = None, **headers: str) -> int:
        return desk.client.post("/api/chat", json=body, headers=headers).status_code

    good = {"id": "five", "messages": [message]}
    assert status(good, origin="https://evil.example") == 403
    assert status(good, **{"sec-fetch-site": "cross-site"}) == 403
    assert desk.client.post("/api/chat", content=json.dumps(good)).status_code == 415
    assert desk.client.post("/api/chat", content="{", headers={"content-type": "application/json"}).status_code == 400
    assert status({"id": "x" * (ID_MAX + 1), "messages": [message]}) == 400
    assert status({"id": "five", "messages": [message | {"parts": []}]}) == 400
    assert status({"id": "five", "messages": []}) == 400
    assert status({"id": "five", "text": "x" * BODY_BYTES_MAX}) == 413
    assert desk.get("five") == {"messages": [], "status": "ended", "turn": None, "queued": []}
