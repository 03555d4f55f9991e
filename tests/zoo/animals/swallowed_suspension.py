"""A bare except takes the end of an attempt for the failure of a tool."""

import restate

service = restate.Service("Zoo")


@service.handler()
async def go(ctx: restate.Context) -> str:
    try:
        found = await ctx.run_typed("Look it up", lambda: "found")
    except BaseException:  # noqa: BLE001
        found = "nothing"
    return await ctx.run_typed(f"Answer with {found}", lambda: found)
