"""Whatever a tool raises becomes text, and so does the cancellation of the run."""

import restate

service = restate.Service("Zoo")


@service.handler()
async def go(ctx: restate.Context) -> str:
    try:
        found = await ctx.run_typed("Look it up", lambda: "found")
    except Exception as problem:  # noqa: BLE001
        found = f"the tool failed: {problem}"
    return f"Answer: {found}"
