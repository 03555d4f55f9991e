"""The name of a step has the time in it."""

from datetime import datetime

import restate

service = restate.Service("Zoo")


@service.handler()
async def go(ctx: restate.Context) -> str:
    return await ctx.run_typed(f"Report of {datetime.now().isoformat()}", lambda: "reported")  # noqa: DTZ005, TID251
