"""The id of the process decides which shard is asked."""

import os

import restate

service = restate.Service("Zoo")


@service.handler()
async def go(ctx: restate.Context) -> str:
    await ctx.run_typed(f"Ask shard {os.getpid()}.", lambda: "asked")
    return await ctx.run_typed("Sum up", lambda: "done")
