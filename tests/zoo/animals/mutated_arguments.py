"""A tool changes what it was given. At replay its step does not run, and nothing is changed."""

import restate

service = restate.Service("Zoo")


async def add_discount(cart: dict[str, int]) -> str:
    cart["discount"] = 5
    return "added"


@service.handler()
async def go(ctx: restate.Context) -> int:
    cart = {"price": 20}
    await ctx.run_typed("Add discount", add_discount, restate.RunOptions(), cart)
    await ctx.run_typed("Check", lambda: "checked")
    return cart["price"] - cart.get("discount", 0)
