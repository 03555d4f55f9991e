"""A dict made from a set has the set's order, and the first key chooses the agent."""

import restate

service = restate.Service("Zoo")


@service.handler()
async def go(ctx: restate.Context) -> str:
    scores = dict.fromkeys({"medical", "car", "house", "travel", "pets", "dental"}, 1)
    best = max(scores, key=scores.__getitem__)
    await ctx.run_typed(f"Route to {best}", lambda: "routed")
    return await ctx.run_typed("Answer", lambda: "answered")
