"""Forks of what is still open: the handler goes on from a step in a new invocation, and the first one knows nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import restate
from durable_app import gate, mark, step
from restate import RunOptions
from stage import QUICK_SUSPENSION, Stage, entries, journal, reaches, row, run, status

from rewake.core.effects import Reply, ReplyStatus
from rewake.core.ids import awakeable_id_parse, invocation_id_to_str
from rewake.core.model import Status
from rewake.engine import Engine
from rewake.protocol.messages import Success

agents = restate.Service("Agents")
sessions = restate.VirtualObject("Sessions")


@agents.handler()
async def answer(ctx: restate.Context, name: str) -> str:
    """Route, work until the test lets it, answer."""
    route = await ctx.run_typed("route", step, name="billing")
    mark(f"attempt {route}")
    done = await ctx.run_typed("work", _work, RunOptions(), route=route)
    return f"{name}: {done}"


async def _work(route: str) -> str:
    mark(f"work {route}")
    await gate(f"work {route}")
    return f"{route} answers"


@agents.handler()
async def ask_a_person(ctx: restate.Context, _: Any = None) -> str:
    """The id of the approval is in the journal: it is what the first step returns."""
    await ctx.run_typed("think", step, name="think")
    awakeable_id, approval = ctx.awakeable(type_hint=str)
    told = await ctx.run_typed("tell", lambda: awakeable_id)
    mark(f"told {told}")
    decision = await approval
    return f"{decision} {await ctx.run_typed('act', step, name='act')}"


@sessions.handler()
async def turn(ctx: restate.ObjectContext, name: str) -> str:
    route = await ctx.run_typed("route", step, name="billing")
    await ctx.run_typed("held", gate, RunOptions(), name)
    return f"{name} {route}"


app = restate.app([agents, sessions])


def new_id(reply: Reply) -> str:
    assert reply.status is ReplyStatus.ACCEPTED
    assert reply.invocation_id is not None
    return invocation_id_to_str(reply.invocation_id)


async def approve(engine: Engine, awakeable_id: str) -> None:
    await engine.complete_awakeable(*awakeable_id_parse(awakeable_id), Success(b'"yes"'))


def test_a_running_one_is_forked_with_another_decision(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine(app=app) as engine:
            first = await engine.send("Agents", "answer", "Ada")
            await stage.marked("work billing")
            await engine._loop.flush()  # the command of the step that runs is stored a moment later
            before = (row(engine, first), entries(engine, first))
            fork = new_id(await engine.restart_as_new(first, from_index=1, result=b'"technical"'))
            stage.open_gate("work technical")
            assert await engine.result(fork) == "Ada: technical answers"
            assert (row(engine, first), entries(engine, first)) == before
            assert engine.stats()["attempts_running"] == 1
            stage.open_gate("work billing")
            assert await engine.result(first) == "Ada: billing answers"
            assert stage.counts("ran ") == {"billing": 1}
            assert stage.counts("work ") == {"billing": 1, "technical": 1}

    run(main())


def test_a_step_that_never_returns_is_answered_by_hand(stage: Stage) -> None:
    """A step under way has no result yet; one is given to it, and the first invocation is killed or left."""

    async def main() -> None:
        async with stage.engine(app=app) as engine:
            first = await engine.send("Agents", "answer", "Ada")
            await stage.marked("work billing")
            assert (await engine.restart_as_new(first, from_index=3)).status is ReplyStatus.INCOMPLETE_PREFIX
            fork = new_id(await engine.restart_as_new(first, from_index=3, result=b'"by hand"'))
            assert await engine.result(fork) == "Ada: by hand"
            assert await engine.kill(first) is ReplyStatus.DONE
            assert (stage.counts("ran "), stage.counts("work ")) == ({"billing": 1}, {"billing": 1})

    run(main())


def test_without_steps_to_keep_it_must_be_over(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine(app=app) as engine:
            first = await engine.send("Agents", "answer", "Ada")
            await stage.marked("work billing")
            assert (await engine.restart_as_new(first)).status is ReplyStatus.IN_PROGRESS
            stage.open_gate("work billing")
            await engine.result(first)
            assert await engine.result(new_id(await engine.restart_as_new(first))) == "Ada: billing answers"

    run(main())


def test_a_fork_of_a_session_s_turn_waits_for_the_key(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine(app=app) as engine:
            first = await engine.send("Sessions", "turn", "one", key="s")
            await stage.marked("ran billing")
            second = await engine.send("Sessions", "turn", "two", key="s")
            fork = None
            while fork is None:  # the step's result is stored a moment after it ran
                reply = await engine.restart_as_new(first, from_index=1, result=b'"technical"')
                fork = new_id(reply) if reply.status is ReplyStatus.ACCEPTED else None
            assert (status(engine, second), status(engine, fork)) == (Status.INBOXED, Status.INBOXED)
            stage.open_gate("one")
            stage.open_gate("two")
            results = await asyncio.gather(*map(engine.result, (first, second, fork)))
            assert results == ["one billing", "two billing", "one technical"]
            finished = [row(engine, each) for each in (first, second, fork)]
            times = [(each.running_at_ms or 0, each.completed_at_ms or 0) for each in finished if each is not None]
            assert times == sorted(times)

    run(main())


@pytest.mark.parametrize("transport", ["in_process", "worker"])
def test_a_fork_outlives_a_restart_of_the_engine(stage: Stage, transport: Any) -> None:
    """Of a suspended one, with durable_app, so that a worker can run it."""

    async def main() -> None:
        async with stage.engine(transport, defaults=QUICK_SUSPENSION) as engine:
            first = await engine.send("Steps", "many", 3)
            await reaches(engine, first, Status.SUSPENDED)
            stage.hold("never")
            fork = new_id(await engine.restart_as_new(first, from_index=3, deployment="keep"))
            await reaches(engine, fork, Status.SUSPENDED)
        async with stage.engine(transport, defaults=QUICK_SUSPENSION) as engine:
            await engine.call("Waits", "signaller", {"resolve": "go", "to": fork, "value": "now"})
            assert await engine.result(fork) == 3
            assert status(engine, first) is Status.SUSPENDED
            assert journal(engine, first) == journal(engine, fork)[: len(journal(engine, first))]
            await engine.kill(first)

    run(main())


# Awakeables


def test_an_approval_that_is_open_keeps_its_id_to_itself(stage: Stage) -> None:
    """A fork that kept the telling would wait for an answer that goes to the first; one from before tells anew."""

    async def main() -> None:
        async with stage.engine(app=app, defaults=QUICK_SUSPENSION) as engine:
            first = await engine.send("Agents", "ask_a_person")
            told = await stage.marked("told ")
            await reaches(engine, first, Status.SUSPENDED)
            refused = await engine.restart_as_new(first, from_index=3)
            assert refused.status is ReplyStatus.OPEN_AWAKEABLE
            fork = new_id(await engine.restart_as_new(first, from_index=1))
            await reaches(engine, fork, Status.SUSPENDED)
            told_anew = (await stage.marked("told ")).strip()
            assert told_anew != told
            await approve(engine, told_anew)
            assert await engine.result(fork) == "yes act"
            assert status(engine, first) is Status.SUSPENDED
            await approve(engine, told)
            assert await engine.result(first) == "yes act"
            assert stage.counts("ran ") == {"think": 1, "act": 2}

    run(main())


def test_an_approval_that_was_given_is_given_to_the_fork(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine(app=app, defaults=QUICK_SUSPENSION) as engine:
            first = await engine.send("Agents", "ask_a_person")
            await approve(engine, await stage.marked("told "))
            assert await engine.result(first) == "yes act"
            fork = new_id(await engine.restart_as_new(first, from_index=3))
            assert await engine.result(fork) == "yes act"
            assert stage.counts("ran ") == {"think": 1, "act": 2}

    run(main())
