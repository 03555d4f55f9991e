"""The services of the program."""

import restate

desk = restate.Service("Desk")


@desk.handler()
async def check(ctx: restate.Context, claim: str) -> str:
    return f"{claim} is checked"
