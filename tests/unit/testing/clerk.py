"""Services that the test kit is tried on."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import restate

clerk = restate.Service("Clerk")
ledger = restate.VirtualObject("Ledger")
attempts = count(1)


@clerk.handler()
async def file(ctx: restate.Context, what: str) -> str:
    number = await ctx.run_typed("number", lambda: 17)
    await ctx.sleep(timedelta(days=30))
    total = await ctx.object_call(add, key="claims", arg=number)
    return f"{what} {number} {total}"


@clerk.handler()
async def number(ctx: restate.Context) -> int:
    return await ctx.run_typed("number", lambda: 17)


@clerk.handler()
async def ask(ctx: restate.Context, hours: int) -> str:
    """Waits for an answer, or so many hours."""
    _, answer = ctx.awakeable(type_hint=str)
    found = await restate.select(answer=answer, timeout=ctx.sleep(timedelta(hours=hours)))
    return str(found[0])


@clerk.handler()
async def wait(ctx: restate.Context) -> str:
    _, answer = ctx.awakeable(type_hint=str)
    return await answer


@clerk.handler()
async def remind(ctx: restate.Context, minutes: int) -> None:
    """Sends itself again and again."""
    ctx.service_send(remind, arg=minutes, send_delay=timedelta(minutes=minutes))


@clerk.handler()
async def wander(ctx: restate.Context) -> str:
    """Names its step differently in each attempt."""
    await ctx.run_typed(f"step {next(attempts)}", lambda: 1)
    await ctx.run_typed("last", lambda: 2)
    return "done"


@clerk.handler(
    inactivity_timeout=timedelta(),
    invocation_retry_policy=restate.InvocationRetryPolicy(max_attempts=2, on_max_attempts="pause"),
)
async def wander_and_pause(ctx: restate.Context) -> None:
    await ctx.run_typed(f"step {next(attempts)}", lambda: 1)
    await ctx.run_typed("last", lambda: 2)


@ledger.handler()
async def add(ctx: restate.ObjectContext, number: int) -> int:
    total = (await ctx.get("total", type_hint=int) or 0) + number
    ctx.set("total", total)
    return total
