"""Retries: limits of steps and of handlers, what follows when they are used up, and operators who step in."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import restate
from durable_app import delta
from restate import RunOptions, TerminalError
from retried_app import broken
from stage import (
    BROKEN,
    DEFAULTS,
    FAST_RETRY,
    QUICK_SUSPENSION,
    VERSIONS,
    Stage,
    Transport,
    journal,
    reaches,
    row,
    run,
    settles_in_memory,
    status,
    until,
)

from rewake.core.effects import ReplyStatus
from rewake.core.ids import invocation_id_from_str, invocation_id_to_str
from rewake.core.model import HandlerOptions, OnMaxAttempts, Status
from rewake.engine import Engine, InvocationFailed
from rewake.protocol.messages import FIRST_USER_SIGNAL, Success

APP = "retried_app:app"
FEW_ATTEMPTS = msgspec.structs.replace(FAST_RETRY, max_attempts=4)


def heal(stage: Stage, name: str) -> None:
    (stage.path / f"healed.{name}").touch()


def test_a_bounded_step_runs_as_often_as_it_says(stage: Stage, transport: Transport, version: int) -> None:
    """Its failure is then the step's result, in the journal, and the handler goes on with it."""

    async def main() -> None:
        async with stage.engine(transport, version=version, app=APP) as engine:
            invocation_id = await engine.send("Tries", "bounded")
            assert await engine.result(invocation_id) == "gave up: RuntimeError('bounded is broken')"
            assert stage.count("ran bounded") == 3
            assert journal(engine, invocation_id) == ["INPUT", "RUN bounded", "RUN_COMPLETION", "OUTPUT"]
            found = row(engine, invocation_id)
            assert found is not None and found.last_error is not None
            assert found.last_error.related_command_name == "bounded"
            assert found.last_error.related_command_type == "Run"

    run(main())


def test_the_count_of_a_bounded_step_survives_engines(stage: Stage) -> None:
    async def main() -> None:
        for number in (1, 2):
            async with stage.engine(app=APP) as engine:
                if number == 1:
                    invocation_id = await engine.send("Tries", "slow_to_retry")
                await stage.marked("ran bounded", times=number)
                await until(lambda: (found := row(engine, invocation_id)) and found.command_retry_count == number)  # noqa: B023
        async with stage.engine(app=APP) as engine:
            assert await engine.result(invocation_id) == "gave up: RuntimeError('bounded is broken')"
            assert stage.count("ran bounded") == 3

    run(main())


@pytest.mark.parametrize("handler", ["endless", "raises"])
def test_an_exhausted_policy_pauses_and_resume_begins_a_new_round(stage: Stage, handler: str) -> None:
    name = {"endless": "endless", "raises": "handler"}[handler]
    defaults = HandlerOptions(retry=FEW_ATTEMPTS)

    async def main() -> None:
        async with stage.engine(app=APP, defaults=defaults) as engine:
            invocation_id = await engine.send("Tries", handler)
            await reaches(engine, invocation_id, Status.PAUSED)
            assert stage.count(f"ran {name}") == 4
            await settles_in_memory(engine)
        async with stage.engine(app=APP, defaults=defaults) as engine:
            assert status(engine, invocation_id) is Status.PAUSED
            assert await engine.resume(invocation_id_from_str(invocation_id)) is ReplyStatus.DONE
            await stage.marked(f"ran {name}", times=5)
            await reaches(engine, invocation_id, Status.PAUSED)
            assert stage.count(f"ran {name}") == 8
            heal(stage, name)
            assert await engine.resume(invocation_id_from_str(invocation_id)) is ReplyStatus.DONE
            assert name in await engine.result(invocation_id)
            assert stage.count("ran before") <= 1

    run(main())


def test_progress_begins_a_new_round(stage: Stage) -> None:
    """Each of these steps fails three times; with four attempts in all the handler would never get through."""
    steady = restate.Service("Steady")

    @steady.handler()
    async def work(ctx: restate.Context, count: int) -> int:
        for number in range(count):
            await ctx.run_typed(f"step {number}", fourth_time_lucky, RunOptions(), f"step {number}")
        return count

    async def fourth_time_lucky(name: str) -> None:
        seen[name] = seen.get(name, 0) + 1
        if seen[name] < 4:
            raise RuntimeError(name)

    seen: dict[str, int] = {}

    async def main() -> None:
        async with stage.engine(app=restate.app([steady]), defaults=HandlerOptions(retry=FEW_ATTEMPTS)) as engine:
            assert await engine.call("Steady", "work", 3) == 3
            assert set(seen.values()) == {4}

    run(main())


def test_a_delay_the_handler_asks_for_counts(stage: Stage) -> None:
    """Else a handler that always asks would be retried for ever."""

    async def main() -> None:
        async with stage.engine(app=APP, defaults=HandlerOptions(retry=FEW_ATTEMPTS)) as engine:
            invocation_id = await engine.send("Tries", "asks_for_a_delay")
            await reaches(engine, invocation_id, Status.PAUSED)
            assert stage.count("asked") == 4

    run(main())


def test_a_handlers_policy_may_kill(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine(app=APP) as engine:
            with pytest.raises(InvocationFailed) as caught:
                await engine.call("Tries", "killed")
            assert (caught.value.code, caught.value.message) == (500, "RuntimeError('no luck')")
            assert stage.count("killed tried") == 2

    run(main())


def test_a_services_policy_and_the_engines(stage: Stage) -> None:
    async def main() -> None:
        kill = msgspec.structs.replace(FAST_RETRY, max_attempts=2, on_max_attempts=OnMaxAttempts.KILL)
        async with stage.engine(app=APP, defaults=HandlerOptions(retry=kill)) as engine:
            invocation_id = await engine.send("Strict", "paused")
            await reaches(engine, invocation_id, Status.PAUSED)
            assert stage.count("ran strict") == 3
            with pytest.raises(InvocationFailed):
                await engine.call("Tries", "endless")
            assert stage.count("ran endless") == 2

    run(main())


# Pause, resume, restart


@pytest.mark.parametrize("version", VERSIONS)
def test_pause_of_a_waiting_handler_and_resume(stage: Stage, version: int) -> None:
    async def main() -> None:
        for defaults in (DEFAULTS, QUICK_SUSPENSION):
            async with stage.engine(version=version, defaults=defaults) as engine:
                invocation_id = await engine.send("Waits", "named", ["go"])
                await stage.marked("attempt named")
                if defaults is QUICK_SUSPENSION:
                    await reaches(engine, invocation_id, Status.SUSPENDED)
                told = await engine.pause(invocation_id_from_str(invocation_id))
                assert told in (ReplyStatus.ACCEPTED, ReplyStatus.DONE)
                await reaches(engine, invocation_id, Status.PAUSED)
                assert await engine.pause(invocation_id_from_str(invocation_id)) is ReplyStatus.DONE
                await settles_in_memory(engine)
                await engine.call("Waits", "signaller", {"resolve": "go", "to": invocation_id, "value": "x"})
                assert status(engine, invocation_id) is Status.PAUSED, "a signal is kept, and wakes nobody"
                assert await engine.resume(invocation_id_from_str(invocation_id)) is ReplyStatus.DONE
                assert await engine.result(invocation_id) == ["x"]
                assert await engine.pause(invocation_id_from_str(invocation_id)) is ReplyStatus.ALREADY_COMPLETED
                assert await engine.resume(invocation_id_from_str(invocation_id)) is ReplyStatus.ALREADY_COMPLETED

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_pause_lets_a_running_step_finish(stage: Stage, version: int) -> None:
    """Its result is journaled and not asked for again."""

    async def main() -> None:
        stage.hold("long")
        async with stage.engine(version=version) as engine:
            invocation_id = await engine.send("Waits", "pending_run", "long")
            await stage.marked("ran long")
            assert await engine.pause(invocation_id_from_str(invocation_id)) is ReplyStatus.ACCEPTED
            stage.release("long")
            await reaches(engine, invocation_id, Status.PAUSED)
            assert journal(engine, invocation_id)[:3] == ["INPUT", "RUN long", "RUN_COMPLETION"]
            await engine.resume(invocation_id_from_str(invocation_id))
            assert await engine.result(invocation_id) == "long short"
            assert stage.counts("ran ") == {"long": 1, "short": 1}

    run(main())


def test_pause_of_one_that_backs_off_and_cancel_of_a_paused_one(stage: Stage) -> None:
    slow = msgspec.structs.replace(FAST_RETRY, initial_interval_ms=3_600_000, max_interval_ms=3_600_000)

    async def main() -> None:
        async with stage.engine(app=APP, defaults=HandlerOptions(retry=slow)) as engine:
            first = await engine.send("Tries", "endless")
            await until(lambda: (found := row(engine, first)) and found.next_retry_at_ms)
            await engine.pause(invocation_id_from_str(first))
            await reaches(engine, first, Status.PAUSED)
            assert engine._store.reader.next_timer_at() is None
            assert await engine.cancel(invocation_id_from_str(first)) is ReplyStatus.ACCEPTED
            with pytest.raises(InvocationFailed, match="cancelled"):
                await engine.result(first)

            second = await engine.send("Tries", "endless")
            await until(lambda: (found := row(engine, second)) and found.next_retry_at_ms)
            heal(stage, "endless")
            assert await engine.resume(invocation_id_from_str(second)) is ReplyStatus.DONE, "retry now"
            assert await engine.result(second) == "endless"

    run(main())


async def restart(engine: Engine, invocation_id: str, **options: Any) -> str:
    reply = await engine.restart_as_new(invocation_id_from_str(invocation_id), **options)
    assert reply.status is ReplyStatus.ACCEPTED and reply.invocation_id is not None, reply
    return invocation_id_to_str(reply.invocation_id)


@pytest.mark.parametrize("version", VERSIONS)
def test_restart_as_new(stage: Stage, version: int) -> None:
    """From the input, or from any entry: what lies before it is not done again."""

    async def main() -> None:
        async with stage.engine(version=version) as engine:
            old = await engine.send("Steps", "route", "Ada", idempotency_key="k")
            answer = await engine.result(old)
            first = await restart(engine, old)
            assert await engine.result(first) == answer
            assert stage.counts("ran ") == {"pick": 2, "ask": 2, "check": 2}
            found = row(engine, first)
            assert found is not None and found.idempotency_key is None
            assert found.restarted_from == invocation_id_from_str(old)

            for from_index, counts in ((2, (2, 3, 3)), (3, (2, 3, 4)), (5, (2, 3, 5)), (6, (2, 3, 5))):
                again = await restart(engine, old, from_index=from_index)
                assert await engine.result(again) == answer
                assert stage.counts("ran ") == dict(zip(("pick", "ask", "check"), counts, strict=True)), from_index
                assert journal(engine, again) == journal(engine, old)
            reply = await engine.restart_as_new(invocation_id_from_str(old), from_index=99)
            assert reply.status is ReplyStatus.INCOMPLETE_PREFIX
            await engine.purge_journal(invocation_id_from_str(old))
            reply = await engine.restart_as_new(invocation_id_from_str(old))
            assert reply.status is ReplyStatus.INPUT_GONE

    run(main())


def test_restart_of_what_is_not_complete(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine() as engine:
            running = await engine.send("Cancels", "asleep")
            await stage.marked("attempt")
            scheduled = await engine.send("Steps", "same", "x", delay_ms=3_600_000)
            flow = await engine.send("Flow", "run", "x", key="w")
            await stage.marked("run w")
            statuses = [
                (await engine.restart_as_new(invocation_id_from_str(invocation_id))).status
                for invocation_id in (running, scheduled, flow)
            ]
            await engine.kill(invocation_id_from_str(flow))
            statuses.append((await engine.restart_as_new(invocation_id_from_str(flow))).status)
            statuses.append((await engine.restart_as_new(bytes(24))).status)
            assert statuses == [
                ReplyStatus.IN_PROGRESS,
                ReplyStatus.NOT_STARTED,
                ReplyStatus.IN_PROGRESS,
                ReplyStatus.UNSUPPORTED,
                ReplyStatus.NOT_FOUND,
            ]

    run(main())


def test_a_failed_run_is_restarted_behind_its_last_good_step(stage: Stage) -> None:
    """An unfinished step in the prefix is refused; the entry before it is a good place."""

    async def main() -> None:
        kill = msgspec.structs.replace(FAST_RETRY, max_attempts=1, on_max_attempts=OnMaxAttempts.KILL)
        async with stage.engine(app=APP, defaults=HandlerOptions(retry=kill)) as engine:
            old = await engine.send("Tries", "endless")
            with pytest.raises(InvocationFailed):
                await engine.result(old)
            assert journal(engine, old) == ["INPUT", "RUN endless"]
            reply = await engine.restart_as_new(invocation_id_from_str(old), from_index=1)
            assert reply.status is ReplyStatus.INCOMPLETE_PREFIX
            heal(stage, "endless")
            assert await engine.result(await restart(engine, old)) == "endless"

    run(main())


# Journal mismatch


MISMATCH = """
import restate
steps = restate.Service("Steps")

@steps.handler()
async def work(ctx: restate.Context, _: str) -> str:
    one = await ctx.run_typed("NAME", lambda: "one")
    _, future = ctx.awakeable(type_hint=str)
    return one + " " + await future

app = restate.app([steps])
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_changed_code_is_told_and_fixed_code_goes_on(stage: Stage, version: int) -> None:
    """RT0016 is retried as the policy says and pauses; the invocation keeps what it had."""

    def code(name: str) -> Any:
        names: dict[str, Any] = {}
        exec(MISMATCH.replace("NAME", name), names)  # noqa: S102
        return names["app"]

    async def main() -> None:
        defaults = HandlerOptions(retry=FEW_ATTEMPTS)
        async with stage.engine(version=version, defaults=defaults, app=code("first")) as engine:
            invocation_id = await engine.send("Steps", "work", "x")
            await until(lambda: len(journal(engine, invocation_id)) == 3)
        async with stage.engine(version=version, defaults=defaults, app=code("renamed")) as engine:
            await reaches(engine, invocation_id, Status.PAUSED)
            found = row(engine, invocation_id)
            assert found is not None and found.last_error is not None
            assert (found.last_error.code, found.last_error.restate_code) == (570, "RT0016")
            assert found.last_error.related_command_index == 1
            assert len(journal(engine, invocation_id)) == 3
        async with stage.engine(version=version, defaults=defaults, app=code("first")) as engine:
            assert await engine.resume(invocation_id_from_str(invocation_id)) is ReplyStatus.DONE
            await engine.complete_awakeable(invocation_id_from_str(invocation_id), FIRST_USER_SIGNAL, Success(b'"two"'))
            assert await engine.result(invocation_id) == "one two"
            assert journal(engine, invocation_id) == ["INPUT", "RUN first", "RUN_COMPLETION", "SIGNAL", "OUTPUT"]

    run(main())


def test_a_dead_process_is_retried_at_once_and_then_backs_off(stage: Stage, transport: Transport) -> None:
    """RT0010 reports what the death of a worker or a server costs; in process an app that raises does the same."""

    async def main() -> None:
        async with stage.engine(transport) as engine:
            stage.hold("pick")
            invocation_id = await engine.send("Steps", "route", "Ada")
            await stage.marked("ran pick")
            attempt = engine._attempts.running[invocation_id_from_str(invocation_id)]
            if transport == "worker":
                os.kill(engine.clients[attempt.effect.deployment_id]._available[0].pid, 9)  # type: ignore[attr-defined]
            elif stage.service is not None:
                stage.service.restart()
            else:
                assert attempt.handle is not None
                attempt.handle.abort()
                attempt.on_failure(BROKEN)
            await stage.marked("ran pick", times=2)
            stage.release("pick")
            assert await engine.result(invocation_id) == "pick, ask Ada, check"
            found = row(engine, invocation_id)
            assert found is not None and found.last_error is not None
            assert found.last_error.restate_code == "RT0010"

    run(main())


def test_attempts_that_run_at_once_are_limited(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine(concurrency_max=3) as engine:
            sent = [await engine.send("Steps", "slow", "gate") for _ in range(10)]
            await stage.marked("attempt slow", times=3)
            assert engine.stats()["attempts_running"] == 3
            assert engine.stats()["attempts_queued"] == 7
            stage.open_gate("gate")
            assert await asyncio.gather(*map(engine.result, sent)) == ["slow gate"] * 10
            assert stage.count("through gate") == 10

    run(main())


def test_a_handler_may_outlive_the_time_between_two_retries(stage: Stage) -> None:
    """A step's duration limit is measured across attempts."""
    timed = restate.Service("Timed")

    @timed.handler()
    async def work(ctx: restate.Context, _: Any = None) -> str:
        options: RunOptions[str] = RunOptions(
            max_duration=timedelta(milliseconds=80), initial_retry_interval=delta(20), type_hint=str
        )
        try:
            return await ctx.run_typed("bounded", broken("bounded"), options)
        except TerminalError as error:
            return f"gave up: {error.message}"

    async def main() -> None:
        async with stage.engine(app=restate.app([timed])) as engine:
            assert await engine.call("Timed", "work") == "gave up: RuntimeError('bounded is broken')"
            assert 2 <= stage.count("ran bounded") <= 6

    run(main())


def test_defaults_are_those_of_the_engine_that_runs(stage: Stage) -> None:
    """Not those the app was first registered under; what an operator set stays."""

    async def main() -> None:
        async with stage.engine() as engine:
            await engine.update_service("Steps", abort_timeout_ms=777)
        async with stage.engine(defaults=QUICK_SUSPENSION) as engine:
            assert engine.services["Steps"].handlers["route"].options.abort_timeout_ms == 777
            for service in engine.services.values():
                assert service.revision == 1
                for handler in service.handlers.values():
                    assert handler.options.inactivity_timeout_ms == QUICK_SUSPENSION.inactivity_timeout_ms

    run(main())
