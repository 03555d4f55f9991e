"""Specialists are asked in the order of a set of strings, which is another in each process."""

import restate

service = restate.Service("Zoo")
SPECIALISTS = {"medical", "car", "house", "travel", "pets", "dental"}


@service.handler()
async def go(ctx: restate.Context) -> int:
    answers = [await ctx.run_typed(f"Ask {name}", lambda: "fine") for name in SPECIALISTS]
    return len(answers)
