import restate

from shop.payments import pay

orders = restate.VirtualObject("Orders")


@orders.handler()
async def check(ctx: restate.ObjectContext, claim: str) -> str:
    return await ctx.service_call(pay, claim)
