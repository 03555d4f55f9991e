import restate

payments = restate.Service("Payments")


@payments.handler()
async def pay(ctx: restate.Context, claim: str) -> str:
    return f"{claim} is paid"
