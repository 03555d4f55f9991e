"""A payment is retried without any key."""

import other_side
import restate

service = restate.Service("Zoo")


@service.handler()
async def go(ctx: restate.Context) -> str:
    await ctx.run_typed("Pay", lambda: other_side.post("/payments", {"amount": 7}))
    return await ctx.run_typed("Sum up", lambda: "paid")
