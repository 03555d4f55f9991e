import restate

from .specialist import answer_for

desk = restate.Service("Desk")


@desk.handler()
async def check(ctx: restate.Context, claim: str) -> str:
    return await ctx.run_typed("Answer", answer_for, claim=claim)
