"""A clock decides the way: is it late? A replay may find that it is."""

import time

import restate

service = restate.Service("Zoo")


@service.handler()
async def go(ctx: restate.Context) -> str:
    way = "even" if time.time_ns() // 1000 % 2 else "odd"
    first = await ctx.run_typed(f"Ask the {way} agent", lambda: "asked")
    return await ctx.run_typed("Sum up", lambda: f"{first}, summed up")
