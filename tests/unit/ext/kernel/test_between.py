"""Questions between turns on a clock that skips: reminders, deadlines, and two questions of one run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import restate

from rewake.ext.kernel import ApprovalRequest, Approvals, BetweenTurns, Decision
from rewake.testing import VirtualEngine

sent: list[int] = []


async def notify(request: ApprovalRequest) -> None:
    sent.append(request.reminder)


desk = restate.VirtualObject("Desk")
questions = BetweenTurns(
    desk,
    Approvals(deadline=timedelta(days=3), remind=timedelta(days=1), notify=notify),
)


@desk.handler()
async def pay(ctx: restate.ObjectContext, amounts: list[int]) -> None:
    for amount in amounts:
        await questions.leave("Pay it?", amount)


@questions.next_turn
async def decided(ctx: restate.ObjectContext, amount: int, decision: Decision) -> None:
    done = await ctx.get("done", type_hint=list[Any]) or []
    ctx.set("done", [*done, [amount, str(decision.outcome)]])


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[VirtualEngine]:
    sent.clear()
    with VirtualEngine(tmp_path / "data") as engine:
        yield engine.serve(desk)


def state(engine: VirtualEngine, name: str) -> Any:
    return engine.state("Desk", "ada").get(name)


def answered(engine: VirtualEngine, id: str) -> Any:
    return engine.call("Desk", "answer_approval", {"id": id, "approved": True, "who": "Ada"}, key="ada")


def test_people_are_reminded_until_the_question_expires(engine: VirtualEngine) -> None:
    engine.call("Desk", "pay", [40], key="ada")
    (question,) = state(engine, "rewake.approvals")["open"]
    engine.advance(timedelta(days=1, hours=1))
    assert sent == [0, 1]
    engine.restart()
    engine.advance(timedelta(days=4))
    assert sent == [0, 1, 2]
    assert state(engine, "done") == [[40, "expired"]]
    assert answered(engine, question["id"])["refused"] == "RW4028"
    assert sorted(engine.state("Desk", "ada")) == ["done", "rewake.approvals.decided"]


def test_each_question_of_a_run_starts_a_turn_of_its_own(engine: VirtualEngine) -> None:
    engine.call("Desk", "pay", [40, 50], key="ada")
    first, second = state(engine, "rewake.approvals")["open"]
    assert answered(engine, second["id"])["state"] == "approved"
    engine.settle()
    assert state(engine, "done") == [[50, "approved"]]
    assert answered(engine, first["id"])["state"] == "approved"
    engine.settle()
    assert state(engine, "done") == [[50, "approved"], [40, "approved"]]
    before = list(sent)
    engine.advance(timedelta(days=9))
    assert (sent, state(engine, "rewake.approvals")) == (before, None)
