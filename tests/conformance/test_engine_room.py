"""More handlers than places: callers that wait make room for those they wait for, long before the inactivity timeout.

That is a minute in all of these, longer than a test may take.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import restate
from durable_app import gate, mark
from restate import RunOptions
from stage import Stage, Transport, journal, reaches, row, run, settles_in_memory, until

from rewake.core.effects import ReplyStatus
from rewake.core.ids import invocation_id_from_str
from rewake.core.model import Status
from rewake.engine import Engine, live_attempts

OVER: tuple[Transport, ...] = ("in_process", "worker")


async def asked_to_leave(engine: Engine, invocation_id: str) -> None:
    """Wait until the engine has considered to suspend it."""
    await until(lambda: engine._attempts.running[invocation_id_from_str(invocation_id)].room_asks)


@pytest.mark.parametrize("transport", OVER)
@pytest.mark.parametrize("places", [1, 2])
def test_callers_make_room_for_callees(stage: Stage, transport: Transport, places: int) -> None:
    async def main() -> None:
        async with stage.engine(transport, concurrency_max=places) as engine:
            answers = await asyncio.gather(*(engine.call("Steps", "route", f"r{number}") for number in range(4)))
            assert answers == [f"pick, ask r{number}, check" for number in range(4)]
            assert {name: stage.count(f"ran {name}") for name in ("pick", "ask", "check")} == {
                "pick": 4,
                "ask": 4,
                "check": 4,
            }
            await settles_in_memory(engine)

    run(main())


@pytest.mark.parametrize("transport", OVER)
def test_a_chain_is_longer_than_there_are_places(stage: Stage, transport: Transport) -> None:
    request: dict[str, Any] = {"service": "Steps", "handler": "same", "body": json.dumps("the end")}
    for _ in range(5):
        request = {"service": "Steps", "handler": "call_generic", "body": json.dumps(request)}

    async def main() -> None:
        async with stage.engine(transport, concurrency_max=2) as engine:
            answer = await engine.call(request["service"], request["handler"], json.loads(request["body"]))
            for _ in range(4):
                answer = json.loads(answer)
            assert json.loads(answer) == "the end"
            await settles_in_memory(engine)

    run(main())


def test_what_executes_a_step_is_left_alone(stage: Stage) -> None:
    """Also when it waits for a call as well: suspending it could cut the step off, and run it again."""
    both = restate.Service("Both")

    @both.handler()
    async def call_and_step(ctx: restate.Context, _: Any = None) -> str:
        mark("attempt")
        call, step = ctx.service_call(same_here, "answer"), ctx.run_typed("step", _step, RunOptions())
        await restate.gather(call, step)
        return f"{await call} {await step}"

    @both.handler("same")
    async def same_here(ctx: restate.Context, text: str) -> str:
        return text

    async def _step() -> str:
        mark("ran step")
        await gate("step")
        return "step"

    async def main() -> None:
        async with stage.engine(app=restate.app([both]), concurrency_max=1) as engine:
            invocation_id = await engine.send("Both", "call_and_step")
            await asked_to_leave(engine, invocation_id)
            stage.open_gate("step")
            assert await engine.result(invocation_id) == "answer step"
            assert (stage.count("attempt"), stage.count("ran step")) == (2, 1)

    run(main())


@pytest.mark.full_duplex(reason="what waits suspends at once, by itself")
def test_what_waits_for_no_journaled_thing_is_left_alone_at_first(stage: Stage) -> None:
    """It may be at work in the handler's own code, which would run again."""

    async def main() -> None:
        async with stage.engine(concurrency_max=1) as engine:
            first = await engine.send("Waits", "named", ["go"])
            await stage.marked("attempt named")
            second = await engine.send("Steps", "same", "x")
            await asked_to_leave(engine, first)
            await engine._loop.flush()
            assert not engine._attempts.running[invocation_id_from_str(first)].is_half_closed
            assert await engine.kill(first) is ReplyStatus.DONE
            assert await engine.result(second) == "x"

    run(main())


@pytest.mark.full_duplex(reason="what waits suspends at once, by itself")
@pytest.mark.parametrize("transport", OVER)
def test_waiting_for_an_awakeable_gives_up_the_place_that_its_answer_needs(
    stage: Stage, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All places wait for what only a call that is queued behind them can say."""
    monkeypatch.setattr(live_attempts, "STALLED_AFTER_S", 0.1)

    async def main() -> None:
        async with stage.engine(transport, concurrency_max=2) as engine:
            waiting = [await engine.send("Waits", "named", ["go"]) for _ in range(2)]
            await until(lambda: stage.count("attempt named") == 2)
            for invocation_id in waiting:
                await engine.call("Waits", "signaller", {"resolve": "go", "to": invocation_id, "value": "x"})
            assert [await engine.result(invocation_id) for invocation_id in waiting] == [["x"], ["x"]]

    run(main())


@pytest.mark.full_duplex(reason="it counts attempts, and each wait is one")
def test_nobody_is_asked_while_there_are_places(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine(concurrency_max=2) as engine:
            assert await engine.call("Steps", "route", "r") == "pick, ask r, check"
            assert engine._attempts._room_timer is None
            assert engine.stats()["attempts_started"] == 2

    run(main())


def test_a_pause_of_what_waits_for_its_turn_names_no_failure(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine(concurrency_max=1) as engine:
            first = await engine.send("Steps", "slow", "gate")
            await stage.marked("attempt slow")
            second = await engine.send("Steps", "same", "x")
            assert await engine.pause(second) is ReplyStatus.ACCEPTED
            paused = await reaches(engine, second, Status.PAUSED)
            assert (paused.last_error, paused.retry_count) == (None, 0)
            events = (await engine.query(f"select event_type from sys_journal_events where id = '{second}'")).rows
            assert [row[0] for row in events] == ["Paused"]

            assert await engine.resume(second) is ReplyStatus.DONE
            assert await engine.pause(second) is ReplyStatus.ACCEPTED
            assert await engine.resume(second) is ReplyStatus.DONE
            stage.open_gate("gate")
            assert await engine.result(first) == "slow gate"
            assert await engine.result(second) == "x"
            found = row(engine, second)
            assert found is not None and found.last_error is None
            assert journal(engine, second) == ["INPUT", "OUTPUT"]

    run(main())


def test_long_handlers_of_one_service_leave_places_for_the_others(stage: Stage) -> None:
    """More of them than there are places work on for as long as the test lasts; calls of another one are answered."""
    batch, desk = restate.Service("Batch"), restate.Service("Desk")
    works = asyncio.Semaphore(0)

    @batch.handler()
    async def work(ctx: restate.Context) -> int:
        await works.acquire()
        return 1

    @desk.handler()
    async def ask(ctx: restate.Context) -> int:
        return 2

    async def main() -> None:
        async with stage.engine(app=restate.app([batch, desk]), concurrency_max=8) as engine:
            begun = [await engine.send("Batch", "work") for _ in range(12)]
            for _ in range(10):
                assert await engine.call("Desk", "ask") == 2
            for _ in begun:
                works.release()
            assert [await engine.result(each) for each in begun] == [1] * 12

    run(main())


def test_a_flood_of_one_service_leaves_the_others_their_turns(stage: Stage) -> None:
    """A call beside 2,000 waiting ones of another service is answered while nearly all of them still wait."""
    flood, desk = restate.Service("Flood"), restate.Service("Desk")
    ended: list[str] = []

    @flood.handler()
    async def slow(ctx: restate.Context) -> None:
        await asyncio.sleep(0.005)
        ended.append("flood")

    @desk.handler()
    async def ask(ctx: restate.Context) -> int:
        return len(ended)

    async def main() -> None:
        async with stage.engine(app=restate.app([flood, desk]), concurrency_max=2) as engine:
            await asyncio.gather(*(engine.send("Flood", "slow") for _ in range(2_000)))
            first = await engine.call("Desk", "ask")
            seen = [await engine.call("Desk", "ask") - first for _ in range(10)]
            assert seen[-1] < 100, seen

    run(main())
