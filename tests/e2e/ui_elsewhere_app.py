"""Handlers of every kind the UI shows: steps, a tree of calls, retries, failures, an approval, state, a promise."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import restate

SUSPEND_AFTER = timedelta(milliseconds=100)

router = restate.Service("Router", inactivity_timeout=SUSPEND_AFTER)
specialist = restate.Service("Specialist", inactivity_timeout=SUSPEND_AFTER)
desk = restate.VirtualObject("Desk", inactivity_timeout=SUSPEND_AFTER)
flow = restate.Workflow("Flow", inactivity_timeout=SUSPEND_AFTER)

_attempts: dict[str, int] = {}


def pick() -> dict[str, Any]:
    return {"specialist": "Specialist", "reason": "it is about a car"}


def look_up() -> str:
    return "cover in full"


def sum_up() -> int:
    return 42


def refuse_to() -> str:
    raise restate.TerminalError("no such account", 404)


@router.handler(metadata={"rewake.candidates": "Specialist, Billing"})
async def ask(ctx: restate.Context, question: str) -> str:
    """Pick a specialist and ask it."""
    await ctx.run_typed("Pick specialist", pick)
    await ctx.sleep(timedelta(milliseconds=5))
    answer = await ctx.service_call(answer_it, question)
    ctx.service_send(note, answer)
    return answer


@router.handler()
async def refuse(ctx: restate.Context, text: str) -> str:
    """Fails for good, in a step."""
    return await ctx.run_typed("Pay", refuse_to)


@router.handler()
async def flaky(ctx: restate.Context, text: str) -> str:
    """Fails in its first attempt only."""
    _attempts[text] = _attempts.get(text, 0) + 1
    if _attempts[text] == 1:
        raise ValueError("the provider is overloaded")
    return await ctx.run_typed("Look up", look_up)


@router.handler()
async def broken(ctx: restate.Context, text: str) -> str:
    """Never succeeds."""
    raise ValueError("the provider is gone")


@specialist.handler()
async def answer_it(ctx: restate.Context, question: str) -> str:
    return await ctx.run_typed("Look up", look_up)


@specialist.handler()
async def note(ctx: restate.Context, text: str) -> None:
    return None


@desk.handler()
async def approve(ctx: restate.ObjectContext, amount: int) -> str:
    """Wait until somebody approves."""
    name, approved = ctx.awakeable(type_hint=bool)
    ctx.set("asked", {"awakeable": name, "amount": amount})
    ctx.set("agent", "Approver")
    return "paid" if await approved else "refused"


@desk.handler()
async def nap(ctx: restate.ObjectContext, seconds: float) -> str:
    """Holds the key for a while."""
    await ctx.sleep(timedelta(seconds=seconds))
    return "rested"


@desk.handler()
async def count(ctx: restate.ObjectContext, until: int) -> int:
    """A journal as long as one likes."""
    for number in range(until):
        ctx.set("count", number)
    return await ctx.run_typed("Sum up", sum_up)


@desk.handler("note")
async def note_down(ctx: restate.ObjectContext, text: str) -> str:
    last = await ctx.get("note", type_hint=str)
    ctx.set("note", text)
    return last or ""


@flow.main()
async def run(ctx: restate.WorkflowContext, name: str) -> str:
    ctx.set("name", name)
    return await ctx.promise("go", type_hint=str).value()


@flow.handler()
async def go(ctx: restate.WorkflowSharedContext, word: str) -> None:
    await ctx.promise("go", type_hint=str).resolve(word)


app = restate.app([router, specialist, desk, flow])
