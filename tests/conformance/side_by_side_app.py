"""Handlers whose tasks wait for the context side by side, which the SDK does not forbid: see test_side_by_side.py.

A request is a plan: for each task, the milliseconds each of its steps takes.
"""

from __future__ import annotations

import asyncio

import restate

Plan = list[list[float]]

side_by_side = restate.Service("SideBySide")


async def work(milliseconds: float) -> float:
    await asyncio.sleep(milliseconds / 1000)
    return milliseconds


async def steps(ctx: restate.Context, task: int, lengths: list[float]) -> list[float]:
    """The steps of one task, one after another."""
    return [
        await ctx.run_typed(f"task {task}, step {number}", work, milliseconds=milliseconds)
        for number, milliseconds in enumerate(lengths)
    ]


@side_by_side.handler()
async def gather(ctx: restate.Context, plan: Plan) -> Plan:
    return await asyncio.gather(*(steps(ctx, task, lengths) for task, lengths in enumerate(plan)))


@side_by_side.handler()
async def task_group(ctx: restate.Context, plan: Plan) -> Plan:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(steps(ctx, task, lengths)) for task, lengths in enumerate(plan)]
    return [task.result() for task in tasks]


@side_by_side.handler()
async def beside_an_awakeable(ctx: restate.Context, plan: Plan) -> Plan:
    """One task waits for what the engine sees no command of, until the other one has done all of its steps."""
    name, event = ctx.awakeable(type_hint=str)

    async def wait() -> None:
        await event

    async def do_all() -> Plan:
        done = [await steps(ctx, task, lengths) for task, lengths in enumerate(plan)]
        ctx.resolve_awakeable(name, "done")
        await ctx.run_typed("last", work, milliseconds=0)
        return done

    return (await asyncio.gather(wait(), do_all()))[1]


app = restate.app([side_by_side])
