"""A chat with an agent of Pydantic AI: a nested agent, an approval that outlives the handlers, what is remembered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_kit import Desk, approval_of, desk_of, outputs_of, text_of
from starlette.testclient import TestClient
from subject import until

from rewake.testing.models import rule, text, tool_call

pytest.importorskip("pydantic_ai", reason="the chat of these tests speaks with an agent of Pydantic AI")

RULES = [
    rule(name="bank", system="you are bank", answer=text("the bank agrees")),
    rule(name="end", system="you are billing", tool_result="way", answer=text("You get it back.")),
    rule(name="denied", system="you are billing", tool_result="too much", answer=text("Then not.")),
    rule(name="refund", system="you are billing", after_tool="ask_bank", answer=tool_call("refund", {"amount": 40})),
    rule(name="billing", system="you are billing", says="charged", answer=tool_call("ask_bank", {"question": "40?"})),
    rule(name="hello", system="you are billing", answer=text("Hello.")),
]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "scripted")  # the model asks for one when it is made
        from chat_pydantic_served import desk as chat
    yield from desk_of("rewake", chat, "chat_pydantic_served:app", RULES, Path(tmp_path_factory.mktemp("chat")))


def test_an_approval_outlives_the_handlers_and_the_conversation_is_remembered(desk: Desk) -> None:
    before, marks = {name: count.asked for name, count in desk.models.counts.items()}, paid(desk)
    assert text_of(desk.say("one", "m1", "Hello")) == "Hello."
    asking = desk.say("one", "m2", "I was charged twice")
    approval = approval_of(asking)
    assert outputs_of(asking) == ["the bank agrees"]
    desk.subject.service.restart()
    rest = desk.answer("one", approval, approved=True)
    outputs = outputs_of(rest)
    assert outputs == ["40 EUR are on their way"]
    assert text_of(rest) == "You get it back."
    assert paid(desk) == marks + 1
    assert text_of(desk.say("one", "m3", "Hello again")) == "Hello."
    said = [message["content"] for message in _asked(desk) if message["role"] == "user"]
    assert said == ["Hello", "I was charged twice", "Hello again"]
    assert {name: count.asked - before[name] for name, count in desk.models.counts.items()} == {
        "bank": 1,
        "end": 1,
        "denied": 0,
        "refund": 1,
        "billing": 1,
        "hello": 2,
    }


def test_questions_between_turns(desk: Desk) -> None:
    """The same, while no invocation is open; a turn that is stopped leaves a conversation that goes on."""
    from chat_pydantic_served import kept as chat

    before, marks = {name: count.asked for name, count in desk.models.counts.items()}, paid(desk)
    web = chat.web(ingress_url=f"http://127.0.0.1:{desk.subject.ingress_port}")
    with TestClient(web, base_url="http://desk") as client:
        kept = Desk(desk.subject, client, desk.models, desk.folder)
        approval = approval_of(kept.say("one", "m1", "I was charged twice"))
        open_now = "select id from sys_invocation where target_service_name = 'KeptDesk' and status <> 'completed'"
        assert kept.subject.query(open_now) == []
        kept.subject.service.restart()
        rest = kept.answer("one", approval, approved=True)
        assert (outputs_of(rest), text_of(rest)) == (["40 EUR are on their way"], "You get it back.")
        assert paid(desk) == marks + 1
        asked = {name: count.asked - before[name] for name, count in desk.models.counts.items()}
        assert asked == {"bank": 1, "end": 1, "denied": 0, "refund": 1, "billing": 1, "hello": 0}
        approval_of(kept.say("one", "m2", "I was charged again"))
        assert kept.client.post("/api/chat/one/stop", json={}).json() == {"stopped": True}
        until(lambda: kept.get("one")["status"] == "stopped", lambda: str(kept.get("one")))
        assert text_of(kept.say("one", "m3", "Hello again")) == "Hello."


def test_a_denial_reaches_the_model(desk: Desk) -> None:
    approval = approval_of(desk.say("two", "m1", "I was charged twice"))
    rest = desk.answer("two", approval, approved=False, reason="too much")
    assert "tool-output-denied" in [chunk["type"] for chunk in rest]
    assert text_of(rest) == "Then not."


def test_a_stopped_turn_is_remembered_without_an_open_call(desk: Desk) -> None:
    """Stopped while it waits for a person: the next answer knows the message, and what had come of it."""
    approval_of(desk.say("three", "m1", "I was charged twice"))
    assert desk.client.post("/api/chat/three/stop", json={}).json() == {"stopped": True}
    until(lambda: desk.get("three")["status"] == "stopped", lambda: str(desk.get("three")))
    desk.subject.service.restart()
    assert text_of(desk.say("three", "m2", "Hello again")) == "Hello."
    asked = _asked(desk)
    assert [message["content"] for message in asked if message["role"] == "user"] == [
        "I was charged twice",
        "Hello again",
    ]
    results = {message["tool_call_id"]: message["content"] for message in asked if message["role"] == "tool"}
    assert next(iter(results.values())) == "the bank agrees"
    assert results.keys() == {call["id"] for message in asked for call in message.get("tool_calls") or ()}


def paid(desk: Desk) -> int:
    """How often the tool has run, in all tests."""
    marks = desk.folder / "marks"
    return marks.read_text().count("refund 40") if marks.exists() else 0


def _asked(desk: Desk) -> Any:
    return desk.models.exchanges[-1].request.body["messages"]
