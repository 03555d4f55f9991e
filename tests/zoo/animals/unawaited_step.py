"""A step is made and nobody waits for it: it may never run."""

import restate

service = restate.Service("Zoo")


@service.handler()
async def go(ctx: restate.Context) -> str:
    answer = await ctx.run_typed("Ask", lambda: "asked")
    ctx.run_typed("Write the audit log", lambda: "written")
    return answer
