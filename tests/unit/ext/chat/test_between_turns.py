"""A conversation whose turn waits between turns: whose message comes next, and what a stop leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import restate

from rewake.ext.chat.session import chat_objects
from rewake.ext.kernel import BetweenTurns, restate_context
from rewake.testing import VirtualEngine

said: list[str] = []


class Asking:
    """Agents that ask about "pay", wait for a while when people have answered, and repeat anything else."""

    def keeper(self, service: restate.VirtualObject) -> BetweenTurns:
        self._questions = BetweenTurns(service)
        return self._questions

    async def __call__(self, *given: Any) -> str | None:
        if len(given) > 1:
            ctx: Any = restate_context()
            _, held = ctx.awakeable(type_hint=str)
            given = (await held,)
        elif given[0] == "pay":
            await self._questions.leave("Pay it?", 40)
            return None
        said.append(given[0])
        return str(given[0])


async def hold(ctx: restate.ObjectContext) -> None:
    _, held = ctx.awakeable(type_hint=str)
    await held


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[VirtualEngine]:
    said.clear()
    with VirtualEngine(tmp_path / "data") as engine:
        desk, inbox = chat_objects("Desk", Asking(), "queue", keeps=True)
        desk.handler()(hold)
        yield engine.serve(desk, inbox)


def post(engine: VirtualEngine, id: str, text: str) -> str:
    found = engine.call("DeskInbox", "post", {"id": id, "text": text}, key="ada")
    return str(found["invocation"])


def queued(engine: VirtualEngine) -> list[str]:
    return [each["id"] for each in engine.call("DeskInbox", "waiting", {}, key="ada")]


def names(engine: VirtualEngine) -> list[str]:
    """What the conversation keeps, without its turns."""
    return sorted(name for name in engine.state("Desk", "ada") if not name.startswith("turn/"))


def asked(engine: VirtualEngine) -> str:
    """The id of the question of a turn that has begun to wait."""
    engine.result(post(engine, "m1", "pay"))
    (question,) = state_of(engine, "rewake.approvals")["open"]
    return str(question["id"])


def state_of(engine: VirtualEngine, name: str) -> Any:
    found = engine.state("Desk", "ada")[name]
    return json.loads(found) if isinstance(found, str) else found


def test_messages_are_answered_in_the_order_in_which_they_came(engine: VirtualEngine) -> None:
    question = asked(engine)
    assert engine.result(post(engine, "m2", "two")) == engine.result(post(engine, "m3", "three")) == ""
    engine.call("Desk", "answer_approval", {"id": question, "approved": True}, key="ada")
    (held,) = engine.awakeables()
    four = post(engine, "m4", "four")  # the turn has not ended yet
    assert (queued(engine), said) == (["m2", "m3", "m4"], [])
    engine.resolve(held, "paid")
    assert engine.result(four) == ""
    engine.settle()
    assert said == ["paid", "two", "three", "four"]
    assert queued(engine) == []
    assert state_of(engine, "chat") == {"rewake": 1, "turns": 4}
    assert engine.result(post(engine, "m5", "five")) == "five"


def test_a_stop_before_the_turn_goes_on_leaves_nothing_of_it(engine: VirtualEngine) -> None:
    question = asked(engine)
    engine.send("Desk", "hold", key="ada")
    answer = engine.send("Desk", "answer_approval", {"id": question, "approved": True}, key="ada")
    engine.send("Desk", "hold", key="ada")  # between the answer and the turn that it starts
    engine.resolve(engine.awakeables()[0])
    assert engine.result(answer)["state"] == "approved"
    (held,) = engine.awakeables()
    assert engine.call("Desk", "stop", {}, key="ada") is True
    engine.resolve(held)
    assert engine.result(post(engine, "m2", "two")) == "two"
    assert (said, names(engine)) == (["two"], ["chat", "rewake.approvals.decided"])
    assert [turn["status"] for turn in engine.call("Desk", "view", {}, key="ada")["turns"]] == ["stopped", "ended"]
