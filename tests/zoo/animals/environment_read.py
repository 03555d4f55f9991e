"""An environment variable names the step, and somebody writes it: here a step before."""

import os

import restate

service = restate.Service("Zoo")


@service.handler()
async def go(ctx: restate.Context) -> str:
    model = os.environ.get("ZOO_MODEL", "small")
    await ctx.run_typed(f"Ask {model}", lambda: os.environ.update(ZOO_MODEL="large"))
    return await ctx.run_typed("Sum up", lambda: "done")
