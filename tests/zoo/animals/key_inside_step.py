"""The idempotency key is drawn inside the step: a step that runs again has another key, and books again."""

import uuid

import other_side
import restate

service = restate.Service("Zoo")


def pay() -> str:
    return other_side.post("/payments", {"amount": 7}, key=str(uuid.uuid4()))


@service.handler()
async def go(ctx: restate.Context) -> str:
    await ctx.run_typed("Pay", pay)
    return await ctx.run_typed("Sum up", lambda: "paid")
