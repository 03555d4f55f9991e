"""The first of two specialists to answer is the answer: another order of completions, another answer."""

import asyncio
from datetime import timedelta

import restate
from restate import RunOptions

service = restate.Service("Zoo")


@service.handler()
async def go(ctx: restate.Context) -> str:
    quick = ctx.run_typed("quick", asyncio.sleep, RunOptions(), 0)
    slow = ctx.run_typed("slow", asyncio.sleep, RunOptions(), 0)
    which, _ = await restate.select(quick=quick, slow=slow)
    await restate.gather(quick, slow)
    await ctx.sleep(timedelta(milliseconds=1))
    return which
