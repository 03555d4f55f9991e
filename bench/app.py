"""The handlers both peers run: small enough that what is measured is the engine.

Steps neither sleep nor call anything, they only have to be durable. Each answer is a function of the request, or of the
key's earlier requests, so that the callers can check every one: see load.py. Run as `rewake run bench/app.py`, or on
hypercorn as `bench.app:app`.
"""

import statistics
import time
from datetime import timedelta

import restate

WAIT_INACTIVITY = timedelta(seconds=1)
"""How long a waiting invocation stays in the handler's process before it is suspended."""

steps = restate.Service("Steps")
counter = restate.VirtualObject("Counter")
waiter = restate.Service("Waiter", inactivity_timeout=WAIT_INACTIVITY)
sizes = restate.Service("Sizes", inactivity_timeout=WAIT_INACTIVITY)
crowd = restate.VirtualObject("Crowd", inactivity_timeout=WAIT_INACTIVITY)
fan = restate.Service("Fan", inactivity_timeout=WAIT_INACTIVITY)


async def pick_specialist(claim: int) -> str:
    """The first step of route2: who answers."""
    return "car" if claim % 2 else "medical"


async def ask_specialist(specialist: str, claim: int) -> str:
    """The second step of route2: the answer."""
    return f"{specialist}:{claim}"


async def plus_one(number: int) -> int:
    """One of the steps of steps10, and the only one of keyed."""
    return number + 1


@steps.handler()
async def route2(ctx: restate.Context, claim: int) -> str:
    """Two durable steps, as a router that picks a specialist and asks it."""
    specialist = await ctx.run_typed("Pick specialist", pick_specialist, claim=claim)
    return await ctx.run_typed("Ask specialist", ask_specialist, specialist=specialist, claim=claim)


@steps.handler()
async def steps10(ctx: restate.Context, number: int) -> int:
    """Ten durable steps, one after another."""
    for step in range(10):
        number = await ctx.run_typed(f"Step {step}", plus_one, number=number)
    return number


@counter.handler()
async def keyed(ctx: restate.ObjectContext, _request: int) -> int:
    """State read, one durable step, state write: the count of calls on this key."""
    count = await ctx.get("count", type_hint=int) or 0
    count = await ctx.run_typed("Count", plus_one, number=count)
    ctx.set("count", count)
    return count


@waiter.handler()
async def wait(ctx: restate.Context, number: int) -> int:
    """Waits for somebody outside to resolve an awakeable, then gives both numbers added up."""
    _id, resolved = ctx.awakeable(type_hint=int)
    return number + await resolved


async def same(text: str) -> str:
    """The step of large."""
    return text


@sizes.handler()
async def large(ctx: restate.Context, text: str) -> str:
    """Gives the request back through one step: it, the step's result and the answer are of the same size."""
    return await ctx.run_typed("Same", same, text=text)


@sizes.handler()
async def many_steps(ctx: restate.Context, count: int) -> int:
    """As many durable steps, one after another: two journal entries each."""
    number = 0
    for step in range(count):
        number = await ctx.run_typed(f"Step {step}", plus_one, number=number)
    return number


@sizes.handler()
async def step_times(ctx: restate.Context, count: int) -> list[float]:
    """The same as many_steps; milliseconds of a step behind 10 journal entries, behind 1,000, and at the end.

    Medians of fifty steps. The clock is read between steps, which only a handler may that is never replayed.
    """
    times = []
    for step in range(count):
        began = time.perf_counter()
        await ctx.run_typed(f"Step {step}", plus_one, number=step)
        times.append((time.perf_counter() - began) * 1000)
    return [statistics.median(times[begin : begin + 50]) for begin in (5, 500, count - 50)]


@sizes.handler()
async def many_steps_then_wait(ctx: restate.Context, count: int) -> int:
    """The same, then a wait that ends the attempt: the next one has all of the journal to replay."""
    _id, resolved = ctx.awakeable(type_hint=int)
    number = await many_steps(ctx, count)
    return number + await resolved


@crowd.handler()
async def hold(ctx: restate.ObjectContext, number: int) -> int:
    """Keeps its key until somebody resolves an awakeable, then gives both numbers added up."""
    _id, resolved = ctx.awakeable(type_hint=int)
    return number + await resolved


@crowd.handler()
async def follow(ctx: restate.ObjectContext, number: int) -> int:
    """Waits for its key, behind hold."""
    return number


@fan.handler()
async def spread(ctx: restate.Context, count: int) -> None:
    """Calls as many others, and waits for all of them."""
    await restate.gather(*(ctx.service_call(leaf, arg=number) for number in range(count)))


@fan.handler()
async def leaf(ctx: restate.Context, number: int) -> None:
    """Sleeps for longer than anybody measures."""
    await ctx.sleep(timedelta(days=1))


app = restate.app([steps, counter, waiter, sizes, crowd, fan])
