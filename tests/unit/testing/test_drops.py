"""Crashes in this process: each boundary is reached, a good handler survives all, a bad one is found at its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import restate
from restate import app
from tests.unit.testing.clerk import clerk, ledger

from rewake.testing import drops
from rewake.testing.crash.boundary import Kill
from rewake.testing.drops import TRIES_MAX, AppCall, drop_everywhere, replay_always
from rewake.testing.harness import quiet_log

SERVED = app([clerk, ledger])


@pytest.fixture(autouse=True)
def _quietly() -> Iterator[None]:
    with quiet_log("restate"):
        yield


def test_a_handler_survives_every_drop() -> None:
    report = drop_everywhere(AppCall(app=SERVED, service="Clerk", handler="number"))
    assert (report.is_right, report.not_landed) == (True, [])
    assert [(play.what.removeprefix("dropped "), play.cut_off) for play in report.plays] == [
        ("before Clerk/number: run number", []),
        ("before Clerk/number: result of number", ["number"]),
        ("after Clerk/number: run number", []),
        ("after Clerk/number: result of number", []),
        ("before Clerk/number: output", []),
        ("before Clerk/number: end", []),
    ]


def test_a_boundary_that_is_not_reached_is_tried_again_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count()
    service = restate.Service("Once")

    @service.handler()
    async def begin(ctx: restate.Context) -> None:
        await ctx.run_typed("only the first time" if next(calls) == 0 else "later", lambda: 1)

    plays: list[Kill | None] = []
    real = drops._play

    def play(call: AppCall, kill: Kill | None, *given: Any) -> Any:
        plays.append(kill)
        return real(call, kill, *given)

    monkeypatch.setattr(drops, "_play", play)
    report = drop_everywhere(AppCall(app=service, service="Once", handler="begin"), limit=1)
    assert [play.what for play in report.not_landed] == ["dropped before Once/begin: run only the first time"]
    assert [kill is not None for kill in plays] == [False, False] + [True] * TRIES_MAX


def test_awakeables_are_answered() -> None:
    report = drop_everywhere(AppCall(app=SERVED, service="Clerk", handler="wait", answer="yes"), limit=2)
    assert (report.answer, report.is_right, len(report.plays)) == ({"value": "yes"}, True, 2)


def test_a_handler_that_wanders_is_found() -> None:
    report = drop_everywhere(AppCall(app=SERVED, service="Clerk", handler="wander"), limit=3)
    assert not report.is_right
    with pytest.raises(AssertionError) as raised:
        replay_always(AppCall(app=SERVED, service="Clerk", handler="wander"))
    title, recorded, made, asked, line, *_ = str(raised.value).splitlines()
    assert title == "Clerk/wander takes another way at a replay."
    assert re.fullmatch(r"  the journal has +Run step \d+ as command 1", recorded)
    assert re.fullmatch(r"  the code asked for +Run step \d+", asked)
    place = 'testing/clerk.py:LINE in wander: await ctx.run_typed(f"step {next(attempts)}", lambda: 1)'
    for text, name in ((made, "made at"), (line, "at")):
        assert re.sub(r"py:\d+", "py:LINE", text) == f"  {name:<18}  {place}"


def test_a_replay_at_every_await_gives_the_answer() -> None:
    assert replay_always(AppCall(app=SERVED, service="Clerk", handler="file", body="claim")) == "claim 17 17"
