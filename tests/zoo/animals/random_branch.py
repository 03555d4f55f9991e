"""A random number decides who is asked."""

import random

import restate

service = restate.Service("Zoo")


@service.handler()
async def go(ctx: restate.Context) -> str:
    agent = random.choice(["a", "b", "c", "d", "e", "f"])  # noqa: S311
    await ctx.run_typed(f"Ask {agent}", lambda: "asked")
    return await ctx.run_typed("Sum up", lambda: "done")
