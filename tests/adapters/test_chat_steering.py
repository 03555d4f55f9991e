"""A message in mid-turn, under each policy of a chat: kept, shown, read once.

Models are held, so that each message comes at a known moment. REWAKE_ALL_CRASHES=1 runs all on the real restate-server,
too.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from chat_kit import Desk, desk_of, read, text_of
from node_tour import EngineKind
from subject import until
from tour import ALL

from rewake.testing.models import rule, text, tool_call

pytest.importorskip("agents", reason="the chats of these tests speak with OpenAI agents")
pytest.importorskip("pydantic_ai", reason="and with an agent of Pydantic AI")

ENGINES: list[EngineKind] = ["rewake", "restate"] if ALL else ["rewake"]
AGENTS = ("you are guide", "you are reader")
RULES = [
    rule(name="calm", system=AGENTS, says="never mind", answer=text("Good day.")),
    rule(name="texas", system=AGENTS, says="texas", answer=text("In Texas.")),
    rule(name="final", system=AGENTS, after_tool="look_up", says="slowly", answer=text("It is there."), hold=True),
    rule(name="found", system=AGENTS, after_tool="look_up", answer=text("It is there.")),
    rule(name="look", system=AGENTS, says="Paris", answer=tool_call("look_up", {"what": "Paris"}), hold=True),
    rule(name="other", system=AGENTS, answer=text("Good day.")),
]


@pytest.fixture(scope="module", params=ENGINES)
def desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "scripted")  # the model asks for one when it is made
        from chat_steered_served import Web
    yield from desk_of(request.param, Web, "chat_steered_served:app", RULES, Path(tmp_path_factory.mktemp("chat")))


@pytest.fixture(autouse=True)
def fresh_models(desk: Desk) -> None:
    desk.models.reset()


def put(desk: Desk, chat: str, message: str, said: str, key: str = "one") -> Any:
    return desk.client.post(f"/{chat}/{key}/messages", json={"id": message, "text": said})


def look(desk: Desk, chat: str, form: str = "ai-sdk", key: str = "one") -> Any:
    response = desk.client.get(f"/{chat}/{key}?format={form}")
    assert response.status_code == 200, response.text
    return response.json()


def ends(desk: Desk, chat: str, turn: str, status: str = "ended", key: str = "one") -> Any:
    def is_over() -> bool:
        view = look(desk, chat, key=key)
        return bool(view["turn"] == turn and view["status"] == status)

    until(is_over, lambda: str(look(desk, chat, key=key)))
    return look(desk, chat, key=key)


def said_to_the_model(desk: Desk) -> list[str]:
    """Of its last request: the user's words, and where results of tools were."""
    body = desk.models.exchanges[-1].request.body
    found = []
    for item in body.get("input") or body["messages"]:
        if item.get("role") == "user":
            found.append(item["content"])
        elif item.get("type") == "function_call_output" or item.get("role") == "tool":
            found.append("(result)")
    return found


@pytest.mark.parametrize("chat", ["steer", "reader"])
def test_a_message_in_mid_turn_is_read_before_the_next_step(desk: Desk, chat: str) -> None:
    """Once, though the handlers are killed: part of the turn, of both formats, of the stream, of the memory."""
    asked = 1
    with ThreadPoolExecutor() as pool, desk.models.hold("look") as look_rule:
        put(desk, chat, "m1", "Where is Paris?")
        look_rule.wait_reached()
        reading = pool.submit(desk.client.get, f"/{chat}/one/stream")
        assert put(desk, chat, "m2", "The one in Texas").json() == {"accepted": True}
        put(desk, chat, "m2", "The one in Texas")  # sent twice, as after a lost connection
        assert look(desk, chat)["queued"] == [{"id": "m2", "text": "The one in Texas"}]
        if chat == "steer":
            desk.subject.service.restart()
            look_rule.wait_reached(asked := 2, timeout_s=40)
    view = ends(desk, chat, "m1")
    assert said_to_the_model(desk) == ["Where is Paris?", "(result)", "The one in Texas"]
    steering = {"type": "steering-message", "id": "m2", "parts": [{"type": "text", "text": "The one in Texas"}]}
    (question, answer) = view["messages"]
    kinds = ["step-start", "dynamic-tool", "steering-message", "step-start", "text"]
    assert [part["type"] for part in answer["parts"]] == kinds and steering in answer["parts"]
    assert view["queued"] == []
    roles = [message["role"] for message in look(desk, chat, "ag-ui")["messages"]]
    assert roles == ["user", "assistant", "tool", "user", "assistant"]
    chunks = read(reading.result())
    place = chunks.index(steering)
    assert [chunk["type"] for chunk in chunks[place - 1 : place + 2]] == [
        "finish-step",
        "steering-message",
        "start-step",
    ]
    rest = read(desk.client.post(f"/{chat}", json=use_chat("m2", "The one in Texas")))
    assert text_of(rest) == "In Texas."
    assert not [chunk for chunk in rest if chunk["type"].startswith("tool")]  # what came before it was not an answer
    put(desk, chat, "m3", "Thanks")
    ends(desk, chat, "m3")
    assert said_to_the_model(desk) == ["Where is Paris?", "(result)", "The one in Texas", "Thanks"]
    assert {name: count.asked for name, count in desk.models.counts.items() if count.asked} == {
        "look": asked,
        "texas": 1,
        "other": 1,
    }


def use_chat(message: str, said: str) -> Any:
    """What it posts."""
    return {"id": "one", "messages": [{"id": message, "role": "user", "parts": [{"type": "text", "text": said}]}]}


def test_a_message_after_the_last_step_gets_a_turn_of_its_own(desk: Desk) -> None:
    with desk.models.hold("final") as final:
        put(desk, "steer", "m1", "Where is Paris? Slowly", "late")
        desk.models.release("look")
        final.wait_reached()
        put(desk, "steer", "m2", "Never mind", "late")
    view = ends(desk, "steer", "m2", key="late")
    assert [message["id"] for message in view["messages"]] == ["m1", "answer-m1", "m2", "answer-m2"]


def test_a_function_of_the_users_asks_for_later_messages_and_what_it_returns_is_the_answer(desk: Desk) -> None:
    put(desk, "own", "m1", "one")
    question, answer = ends(desk, "own", "m1")["messages"]
    assert [message["parts"][-1]["text"] for message in (question, answer)] == ["one", "You said: one"]


def test_queued_messages_are_shown_and_answered_in_their_order(desk: Desk) -> None:
    with desk.models.hold("look") as look_rule:
        put(desk, "queue", "m1", "Where is Paris?")
        look_rule.wait_reached()
        put(desk, "queue", "m2", "And what is new?")
        put(desk, "queue", "m3", "Thanks")
        view = look(desk, "queue")
        assert (view["turn"], [each["id"] for each in view["queued"]]) == ("m1", ["m2", "m3"])
        desk.subject.service.restart()
        desk.subject.restart()
        until(lambda: desk.client.get("/queue/one").status_code == 200, lambda: "the engine")
        assert [each["id"] for each in look(desk, "queue")["queued"]] == ["m2", "m3"]
        look_rule.wait_reached(2, timeout_s=40)
    view = ends(desk, "queue", "m3")
    answered = [message["id"] for message in view["messages"]]
    assert answered == ["m1", "answer-m1", "m2", "answer-m2", "m3", "answer-m3"]
    assert view["queued"] == []
    assert said_to_the_model(desk) == ["Where is Paris?", "(result)", "And what is new?", "Thanks"]


def test_a_message_that_interrupts(desk: Desk) -> None:
    with desk.models.hold("look") as look_rule:
        put(desk, "interrupt", "m1", "Where is Paris?")
        look_rule.wait_reached()
        put(desk, "interrupt", "m2", "Never mind")
        view = ends(desk, "interrupt", "m2")
    assert [turn["status"] for turn in look(desk, "interrupt", "plain")["messages"]] == ["stopped", "ended"]
    assert view["messages"][-1]["parts"][-1]["text"] == "Good day."
    assert said_to_the_model(desk)[-1] == "Never mind"


def test_a_message_that_is_refused_until_the_turn_has_ended_or_was_killed(desk: Desk) -> None:
    with desk.models.hold("look") as look_rule:
        put(desk, "reject", "m1", "Where is Paris?")
        look_rule.wait_reached()
        refused = put(desk, "reject", "m2", "Hello?")
        assert refused.status_code == 409
        assert refused.json()["message"].startswith("The chat is still busy")
        (turn,) = look(desk, "reject", "plain")["messages"]
        reading = ThreadPoolExecutor().submit(desk.client.get, "/reject/one/stream")
        desk.subject.admin("PATCH", f"/invocations/{turn['invocation']}/kill")
        assert ends(desk, "reject", "m1", "stopped")["queued"] == []
        assert read(reading.result())[-1]["type"] == "abort"
        put(desk, "reject", "m3", "Hello?")
    assert ends(desk, "reject", "m3")["messages"][-1]["parts"][-1]["text"] == "Good day."
