import restate

FRAUD = restate.Service("FraudAgent")


@FRAUD.handler()
async def run_fraud_agent(ctx: restate.Context, claim: str) -> str:
    return f"{claim} is no fraud"
