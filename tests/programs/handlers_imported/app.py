"""Calls an imported handler; its service is named under __main__ alone."""

import restate
from fraud import FRAUD, run_fraud_agent

claim_desk = restate.Service("ClaimDesk")


@claim_desk.handler()
async def check(ctx: restate.Context, claim: str) -> str:
    return await ctx.service_call(run_fraud_agent, claim)


if __name__ == "__main__":
    import asyncio

    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    asyncio.run(serve(restate.app([claim_desk, FRAUD]), Config()))
