"""The message is added to a session outside of the journal before the session is read: a replay adds it again."""

import restate

service = restate.Service("Zoo")
SESSION: list[str] = []


@service.handler()
async def go(ctx: restate.Context) -> list[str]:
    SESSION.append("hello")
    history = list(SESSION)
    answer = await ctx.run_typed("Ask the model", lambda: f"answer {len(history)}")
    await ctx.run_typed("Store the turn", lambda: None)
    return [*history, answer]
