"""A counter of the process numbers the steps."""

import restate

service = restate.Service("Zoo")
COUNT = 0


@service.handler()
async def go(ctx: restate.Context) -> str:
    global COUNT  # noqa: PLW0603
    COUNT += 1
    await ctx.run_typed(f"Ask no. {COUNT}", lambda: "asked")
    return await ctx.run_typed("Sum up", lambda: "done")
