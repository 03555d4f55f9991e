"""What is kept how long, what stays the same in every attempt, and deployments that are gone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import restate
from durable_app import mark
from stage import (
    QUICK_SUSPENSION,
    VERSIONS,
    Stage,
    journal,
    reaches,
    row,
    run,
    settles_in_memory,
    until,
)

from rewake.core.effects import ReplyStatus
from rewake.core.ids import invocation_id_from_str
from rewake.core.model import Status
from rewake.deployments.in_process import InProcessDeployment
from rewake.engine import Engine
from rewake.protocol.messages import FIRST_USER_SIGNAL, Success

keeps = restate.Service("Keeps")


@keeps.handler(journal_retention=timedelta(0))
async def nothing(ctx: restate.Context, text: str) -> str:
    return await ctx.run_typed("one", lambda: text)


@keeps.handler(journal_retention=timedelta(milliseconds=400))
async def briefly(ctx: restate.Context, text: str) -> str:
    return await ctx.run_typed("one", lambda: text)


forgetful = restate.Workflow("Forgetful")


@forgetful.main(workflow_retention=timedelta(milliseconds=400))
async def once(ctx: restate.WorkflowContext, text: str) -> str:
    mark("once")
    ctx.set("text", text)
    return text


@forgetful.handler()
async def peek(ctx: restate.WorkflowSharedContext, _: Any = None) -> str | None:
    return await ctx.get("text", type_hint=str)


app = restate.app([keeps, forgetful])


async def passes(engine: Engine, at_ms: int | None) -> None:
    """Wait until a time that was stored is over."""
    assert at_ms is not None
    await until(lambda: engine.now_ms() > at_ms)


def test_a_run_that_leaves_nothing(stage: Stage) -> None:
    """Its callers still get the answer; with an idempotency key the answer is kept, the journal not."""

    async def main() -> None:
        async with stage.engine(app=app) as engine:
            assert await engine.call("Keeps", "nothing", "x") == "x"
            invocation_id = await engine.send("Keeps", "nothing", "x")
            await until(lambda: row(engine, invocation_id) is None)
            assert journal(engine, invocation_id) == []

            kept = await engine.send("Keeps", "nothing", "y", idempotency_key="k")
            assert await engine.result(kept) == "y"
            found = await reaches(engine, kept, Status.COMPLETED)
            assert found.purge_at_ms is not None
            assert journal(engine, kept) == []
            assert await engine.call("Keeps", "nothing", "z", idempotency_key="k") == "y"
            reply = await engine.restart_as_new(invocation_id_from_str(kept))
            assert reply.status is ReplyStatus.INPUT_GONE
            await settles_in_memory(engine)

    run(main())


def test_the_sweep_drops_a_journal_before_its_result(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine(app=app) as engine:
            invocation_id = await engine.send("Keeps", "briefly", "x", idempotency_key="k")
            other = await engine.send("Keeps", "briefly", "x")
            assert [await engine.result(invocation_id), await engine.result(other)] == ["x", "x"]
            found = await reaches(engine, invocation_id, Status.COMPLETED)
            assert found.journal_purge_at_ms is not None and found.purge_at_ms is not None
            assert found.journal_purge_at_ms < found.purge_at_ms
            assert len(journal(engine, invocation_id)) == 4
            await passes(engine, found.journal_purge_at_ms)
            other_row = row(engine, other)
            await passes(engine, other_row.purge_at_ms if other_row else None)
        async with stage.engine(app=app) as engine:
            assert await engine.sweep() == 2
            assert journal(engine, invocation_id) == []
            assert row(engine, other) is None
            assert await engine.result(invocation_id) == "x"
            assert await engine.sweep() == 0

    run(main())


def test_a_workflow_key_is_free_again_after_its_retention(stage: Stage) -> None:
    """State and promises of the first run are gone."""

    async def main() -> None:
        async with stage.engine(app=app) as engine:
            invocation_id = await engine.send("Forgetful", "once", "first", key="w")
            assert await engine.result(invocation_id) == "first"
            assert await engine.call("Forgetful", "peek", key="w") == "first"
            found = row(engine, invocation_id)
            await passes(engine, found.purge_at_ms if found else None)
            assert await engine.sweep() >= 1
            assert await engine.call("Forgetful", "peek", key="w") is None
            assert await engine.call("Forgetful", "once", "second", key="w") == "second"
            assert stage.count("once") == 2

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_random_values_are_the_same_in_every_attempt(stage: Stage, version: int) -> None:
    """They go into a call's arguments: any difference would be a journal mismatch."""
    dice = restate.Service("Dice")

    @dice.handler()
    async def echo(ctx: restate.Context, text: str) -> str:
        return text

    @dice.handler()
    async def roll(ctx: restate.Context, _: Any = None) -> list[str]:
        first = await ctx.service_call(echo, f"{ctx.uuid()} {ctx.random().random()}")
        await ctx.sleep(timedelta(milliseconds=30))
        mark(f"{ctx.uuid()} {ctx.request().id}")
        return [first, await ctx.service_call(echo, f"{ctx.uuid()} {ctx.random().random()}")]

    async def main() -> None:
        async with stage.engine(version=version, defaults=QUICK_SUSPENSION, app=restate.app([dice])) as engine:
            first, second = await asyncio.gather(engine.call("Dice", "roll"), engine.call("Dice", "roll"))
            assert len({*first, *second}) == 4
            assert len({line.split()[0] for line in stage.marks}) == 2

    run(main())


def test_an_invocation_waits_for_a_deployment_that_is_gone(stage: Stage) -> None:
    """RT0011 until it is there again; retries in vain cost its steps no attempt."""

    async def main() -> None:
        async with stage.engine() as engine:
            invocation_id = await engine.send("Steps", "slow", "gate")
            await stage.marked("attempt slow")
        engine = Engine(stage.data, options=engine.options)
        await engine.start()
        try:
            engine.drive()
            await until(lambda: (found := row(engine, invocation_id)) and found.retry_count >= 2)
            found = row(engine, invocation_id)
            assert found is not None and found.last_error is not None
            assert (found.last_error.restate_code, found.command_retry_count) == ("RT0011", 0)
            async with stage.deployment() as client:
                await engine.add_deployment(client, uri=f"{stage.usual}:durable_app", kind=stage.usual)
                stage.open_gate("gate")
                await until(lambda: (found := row(engine, invocation_id)) and found.status is not Status.INVOKED)
                if (found := row(engine, invocation_id)) and found.status is Status.PAUSED:
                    await engine.resume(invocation_id_from_str(invocation_id))
                assert await engine.result(invocation_id) == "slow gate"
        finally:
            await engine.stop()

    run(main())


def test_a_new_revision_takes_new_calls_and_the_old_one_finishes_its_own(stage: Stage) -> None:
    def revision(number: int) -> Any:
        service = restate.Service("Revised")

        @service.handler()
        async def work(ctx: restate.Context, _: Any = None) -> str:
            before = await ctx.run_typed("one", lambda: number)
            mark(f"waits {number}")
            return f"{before} {await ctx.awakeable(type_hint=str)[1]} {number}"

        return restate.app([service])

    async def main() -> None:
        async with stage.engine(app=revision(1), defaults=QUICK_SUSPENSION) as engine:
            old = await engine.send("Revised", "work")
            await reaches(engine, old, Status.SUSPENDED)
            client = InProcessDeployment(revision(2))
            deployment = await engine.add_deployment(client, uri="in-process:second", kind="in_process")
            assert engine.services["Revised"].revision == 2
            new = await engine.send("Revised", "work")
            await reaches(engine, new, Status.SUSPENDED)
            for invocation_id in (old, new):
                await engine.complete_awakeable(
                    invocation_id_from_str(invocation_id), FIRST_USER_SIGNAL, Success(b'"x"')
                )
            assert [await engine.result(old), await engine.result(new)] == ["1 x 1", "2 x 2"]

            moved = await engine.send("Revised", "work")
            await reaches(engine, moved, Status.SUSPENDED)
            first = next(each for each in engine.deployments.values() if each.id != deployment.id)
            moved_to = await engine.resume(invocation_id_from_str(moved), deployment=first.id)
            assert moved_to is ReplyStatus.DONE
            await engine.complete_awakeable(invocation_id_from_str(moved), FIRST_USER_SIGNAL, Success(b'"x"'))
            assert await engine.result(moved) == "2 x 1"

    run(main())
