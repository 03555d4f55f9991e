"""A connection to the world is opened by the handler itself: a model call that is no step."""

import other_side
import restate

service = restate.Service("Zoo")


@service.handler()
async def go(ctx: restate.Context) -> str:
    said = other_side.post("/chat", {"say": "hello"})
    await ctx.run_typed("Sum up", lambda: "done")
    return "done" if said else "nothing"
