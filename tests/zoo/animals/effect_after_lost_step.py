"""The result of an effect is kept in a variable of the process, and the effect is done again where it is not there."""

import other_side
import restate

service = restate.Service("Zoo")
BOOKED: dict[str, str] = {}


@service.handler()
async def go(ctx: restate.Context) -> str:
    if "seat" not in BOOKED:
        BOOKED["seat"] = await ctx.run_typed("Book", lambda: other_side.post("/seats", {"row": 3}, key="seat"))
    return await ctx.run_typed("Sum up", lambda: "booked")
