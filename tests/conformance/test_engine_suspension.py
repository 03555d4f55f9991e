"""Suspending and resuming: every combinator, the race at suspension, the timeouts, and the memory meanwhile empty."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
import restate
from durable_app import mark, step, waits
from stage import (
    FAST_RETRY,
    POLL_S,
    QUICK_SUSPENSION,
    VERSIONS,
    Stage,
    Transport,
    entries,
    journal,
    reaches,
    row,
    run,
    settles_in_memory,
    until,
)

from rewake.core.ids import awakeable_id_parse, invocation_id_from_str
from rewake.core.model import HandlerOptions, Status
from rewake.engine import Engine, live_attempts
from rewake.protocol.messages import Success

NO_INACTIVITY = HandlerOptions(retry=FAST_RETRY, inactivity_timeout_ms=0)
SLOW_TO_SUSPEND = HandlerOptions(retry=FAST_RETRY, inactivity_timeout_ms=60_000)


async def signal(engine: Engine, target: str, name: str, value: str) -> None:
    await engine.call("Waits", "signaller", {"resolve": name, "to": target, "value": value})


COMBINATORS: dict[str, Any] = {
    "gathered": ["late a", "now"],
    "selected": [["signal", "now"], ["call", "late b"]],
    "waited": [1, 1],
}


@pytest.mark.parametrize("handler", COMBINATORS)
def test_each_combinator_suspends_and_resumes(stage: Stage, transport: Transport, version: int, handler: str) -> None:
    """With nothing in memory while it waits; the signal comes while it is suspended."""

    async def main() -> None:
        async with stage.engine(transport, version=version, defaults=QUICK_SUSPENSION) as engine:
            invocation_id = await engine.send("Waits", handler)
            await reaches(engine, invocation_id, Status.SUSPENDED)
            if handler != "gathered":
                await settles_in_memory(engine)
            await signal(engine, invocation_id, "go", "now")
            assert await engine.result(invocation_id) == COMBINATORS[handler]
            assert 2 <= stage.count("attempt") <= 5
            await settles_in_memory(engine)

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_as_completed_gives_the_order_of_the_journal(stage: Stage, version: int) -> None:
    async def main() -> None:
        async with stage.engine(version=version, defaults=QUICK_SUSPENSION) as engine:
            invocation_id = await engine.send("Waits", "completed_in_turn")
            await until(lambda: "SLEEP_COMPLETION" in journal(engine, invocation_id))
            await signal(engine, invocation_id, "go", "now")
            told = {"CALL_COMPLETION": "call", "SLEEP_COMPLETION": "sleep", "SIGNAL": "signal"}
            result = await engine.result(invocation_id)
            assert result == [told[entry] for entry in journal(engine, invocation_id) if entry in told]
            assert len(result) == 3

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_request_response_mode_runs_everything_too(stage: Stage, version: int) -> None:
    """An inactivity timeout of 0: each wait and each step ends the attempt."""

    async def main() -> None:
        async with stage.engine(version=version, defaults=NO_INACTIVITY) as engine:
            assert await engine.call("Steps", "route", "Ada") == "pick, ask Ada, check"
            assert stage.counts("ran ") == {"pick": 1, "ask": 1, "check": 1}
            invocation_id = await engine.send("Waits", "gathered")
            await signal(engine, invocation_id, "go", "now")
            assert await engine.result(invocation_id) == ["late a", "now"]

    run(main())


@pytest.mark.full_duplex(reason="the request is closed before the handler has begun")
def test_a_notification_between_half_close_and_suspension(
    stage: Stage, transport: Transport, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot reach that attempt any more, and must wake the next one at once."""
    real_half_close = live_attempts.LiveAttempt.half_close
    half_closed: list[live_attempts.LiveAttempt] = []

    def half_close(attempt: live_attempts.LiveAttempt) -> None:
        if not attempt.is_half_closed and attempt.effect.target.handler == "awakeable":
            if not stage.marks:  # the handler has not begun; it is to be waited for
                asyncio.get_running_loop().call_later(POLL_S, attempt.half_close)
                return
            half_closed.append(attempt)
            name = stage.marks[0].removeprefix("awakeable ")
            invocation_id, index = awakeable_id_parse(name)
            asyncio.ensure_future(engines[0].complete_awakeable(invocation_id, index, Success(b'"in between"')))
        real_half_close(attempt)

    monkeypatch.setattr(live_attempts.LiveAttempt, "half_close", half_close)
    engines: list[Engine] = []

    async def main() -> None:
        async with stage.engine(transport, version=version, defaults=QUICK_SUSPENSION) as engine:
            engines.append(engine)
            assert await engine.call("Waits", "awakeable") == "got in between"
            assert len(half_closed) >= 1
            assert len(stage.marks) == 2

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_step_longer_than_the_inactivity_timeout(stage: Stage, version: int) -> None:
    """Its proposal comes after the half-close, is stored, and the step is not run again."""

    async def main() -> None:
        stage.hold("long")
        async with stage.engine(version=version, defaults=QUICK_SUSPENSION) as engine:
            invocation_id = await engine.send("Waits", "pending_run", "long")
            await stage.marked("ran long")
            attempt = engine._attempts.running[invocation_id_from_str(invocation_id)]
            await until(lambda: attempt.is_half_closed)
            stage.release("long")
            assert await engine.result(invocation_id) == "long short"
            assert stage.counts("ran ") == {"long": 1, "short": 1}
            assert stage.count("attempt") >= 2

    run(main())


def test_a_silent_step_is_aborted_and_retried(stage: Stage, transport: Transport) -> None:
    """RT0001 after the abort timeout; the step runs again, and its first run counts for nothing."""

    async def main() -> None:
        stage.hold("long")
        defaults = HandlerOptions(retry=FAST_RETRY, inactivity_timeout_ms=10, abort_timeout_ms=150)
        async with stage.engine(transport, defaults=defaults) as engine:
            invocation_id = await engine.send("Waits", "pending_run", "long")
            await stage.marked("ran long", times=2)
            found = row(engine, invocation_id)
            assert found is not None and found.last_error is not None
            assert found.last_error.restate_code == "RT0001"
            assert "'abort timeout' (150 ms)" in found.last_error.message
            stage.release("long")
            assert await engine.result(invocation_id) == "long short"

    run(main())


def test_the_clock_of_a_sleep_goes_on_while_suspended_and_across_a_restart(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine(defaults=QUICK_SUSPENSION) as engine:
            started_at_ms = engine.now_ms()
            invocation_id = await engine.send("Steps", "nap", 700)
            await reaches(engine, invocation_id, Status.SUSPENDED)
            await settles_in_memory(engine)
            (sleep,) = entries(engine, invocation_id)[1:]
        async with stage.engine(defaults=QUICK_SUSPENSION) as engine:
            assert await engine.result(invocation_id) == "woken"
            assert engine.now_ms() - started_at_ms >= 695
            assert entries(engine, invocation_id)[1] == sleep  # with the time it ends at

    run(main())


def test_what_is_due_while_the_engine_is_down_happens_at_its_start(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine(defaults=QUICK_SUSPENSION) as engine:
            invocation_id = await engine.send("Steps", "nap", 300)
            await until(lambda: "SLEEP a nap" in journal(engine, invocation_id))
            due_at_ms = engine.now_ms() + 300
        await until(lambda: time.time_ns() // 1_000_000 > due_at_ms)
        async with stage.engine(defaults=QUICK_SUSPENSION) as engine:
            assert await engine.result(invocation_id) == "woken"

    run(main())


def test_many_suspended_invocations_hold_no_memory(stage: Stage) -> None:
    """And all of them resume when their turn comes, also in the next engine."""
    count = 200

    async def main() -> None:
        async with stage.engine(defaults=QUICK_SUSPENSION) as engine:
            sent = await asyncio.gather(*(engine.send("Waits", "awakeable") for _ in range(count)))
            await until(lambda: engine._store.reader.open_counts() == {Status.SUSPENDED: count})
            await settles_in_memory(engine)
            assert engine.stats()["attempts_running"] == 0
        names = list(dict.fromkeys(line.removeprefix("awakeable ") for line in stage.marks))
        assert len(names) == count
        async with stage.engine(defaults=QUICK_SUSPENSION) as engine:
            assert engine.stats()["invocations_in_memory"] == 0
            for name in names:
                await engine.complete_awakeable(*awakeable_id_parse(name), Success(b'"x"'))
            assert await asyncio.gather(*map(engine.result, sent)) == ["got x"] * count
            await settles_in_memory(engine)

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_background_step_is_cut_off_by_a_suspension_and_run_again(stage: Stage, version: int) -> None:
    """The price of half-closing that the protocol names; the result is right all the same."""
    background = restate.Service("Background")

    @background.handler()
    async def work(ctx: restate.Context, _: Any = None) -> list[str]:
        running = ctx.run_typed("background", step, name="background")
        mark("attempt")
        await ctx.signal("go", type_hint=str)
        return [await running]

    async def main() -> None:
        stage.hold("background")
        async with stage.engine(
            version=version, defaults=QUICK_SUSPENSION, app=restate.app([background, waits])
        ) as engine:
            invocation_id = await engine.send("Background", "work")
            await reaches(engine, invocation_id, Status.SUSPENDED)
            stage.release("background")
            await signal(engine, invocation_id, "go", "now")
            assert await engine.result(invocation_id) == ["background"]
            assert stage.count("attempt") >= 2

    run(main())


def test_a_handlers_own_timeouts_count(stage: Stage) -> None:
    own = restate.Service("Own")

    @own.handler(inactivity_timeout=timedelta(milliseconds=10))
    async def quick(ctx: restate.Context, _: Any = None) -> str:
        return await ctx.signal("go", type_hint=str)

    @own.handler()
    async def patient(ctx: restate.Context, _: Any = None) -> str:
        mark("patient waits")
        return await ctx.signal("go", type_hint=str)

    async def main() -> None:
        app = restate.app([own])
        async with stage.engine(defaults=SLOW_TO_SUSPEND, app=app) as engine:
            patient_id = await engine.send("Own", "patient")
            await stage.marked("patient")
            quick_id = await engine.send("Own", "quick")
            await reaches(engine, quick_id, Status.SUSPENDED)
            found = row(engine, patient_id)
            assert found is not None and found.status is Status.INVOKED

    run(main())
