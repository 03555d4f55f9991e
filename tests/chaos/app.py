"""What runs in the chaos: plain steps, keyed objects, calls between services, waits, and agents of rewake.ext.

Every body that acts writes a line to the ledger (CHAOS_LEDGER): the run, the number of the act, and a token that the
step's result carries. Served twice: by a worker under these names, and over HTTP with `Far` before them.
"""

from __future__ import annotations

import os
import secrets
from datetime import timedelta
from typing import Any

import restate
from agents import Agent, function_tool, set_default_openai_client, set_tracing_disabled
from openai import AsyncOpenAI

from rewake.ext.openai import DurableRunner

STEP_COUNT = 4
ROUTER, SPECIALIST = "You route questions to the specialist.", "You are the specialist of an insurer."

_ledger = os.open(os.environ["CHAOS_LEDGER"], os.O_WRONLY | os.O_APPEND)


async def act(run: str, number: int) -> str:
    """Act on the world once: a line of the ledger, written whole or not at all."""
    token = secrets.token_hex(4)
    os.write(_ledger, f"{run} {number} {token}\n".encode())
    return token


@function_tool
async def look_up_cover(run: str) -> str:
    """What the contract covers."""
    return f"windscreen in full, {await act(run, 2)}"


def agents() -> Any:
    """A router that hands over to a specialist with a tool."""
    set_tracing_disabled(True)
    set_default_openai_client(AsyncOpenAI(max_retries=0), use_for_tracing=False)
    specialist = Agent(name="specialist", model="chaos", instructions=SPECIALIST, tools=[look_up_cover])
    return Agent(name="router", model="chaos", instructions=ROUTER, handoffs=[specialist])


def services(prefix: str) -> list[Any]:
    """All of them, with a prefix to their names."""
    desk = restate.Service(f"{prefix}Desk")
    account = restate.VirtualObject(f"{prefix}Account")
    router = agents()

    @desk.handler()
    async def steps(ctx: restate.Context, run: str) -> list[str]:
        """One step after the other."""
        return [await ctx.run_typed(f"step {number}", act, run=run, number=number) for number in range(STEP_COUNT)]

    @desk.handler()
    async def nap(ctx: restate.Context, run: str) -> list[str]:
        """A step, a sleep, a step."""
        first = await ctx.run_typed("before", act, run=run, number=0)
        await ctx.sleep(timedelta(milliseconds=300))
        return [first, await ctx.run_typed("after", act, run=run, number=1)]

    @desk.handler()
    async def transfer(ctx: restate.Context, run: str) -> list[str]:
        """Call two accounts, one after the other."""
        one, two = run[-1], run[-2]
        first = await ctx.object_call(book, f"{prefix}-{one}", f"{run}.0")
        return [first, await ctx.object_call(book, f"{prefix}-{two}", f"{run}.1")]

    @desk.handler()
    async def answer(ctx: restate.Context, run: str) -> list[str]:
        """Ask the agents."""
        result = await DurableRunner.run(router, f"[{run}] Is my windscreen covered?")
        return [str(result.final_output)]

    @account.handler()
    async def book(ctx: restate.ObjectContext, run: str) -> str:
        """One more booking of this account, with a step in the middle."""
        count = await ctx.get("count", type_hint=int) or 0
        token = await ctx.run_typed("book", act, run=run, number=0)
        ctx.set("count", count + 1)
        return token

    @account.handler(kind="shared")
    async def count(ctx: restate.ObjectSharedContext, _: dict[str, str]) -> int:
        """How many bookings there were."""
        return await ctx.get("count", type_hint=int) or 0

    return [desk, account]


app = restate.app(services(os.environ.get("CHAOS_PREFIX", "")))
