"""Handlers of both_app.py that wait and are cancelled; services Brief... suspend where their twins keep connected."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import restate
from both_kit import BRIEF_INACTIVITY, HOUR, PATIENT, delta, gate, mark, step, told
from restate import TerminalError

from rewake.ext.kernel import ApprovalRequest, ask

# Awakeables, signals, combinators


async def awakeable(ctx: restate.Context) -> str:
    name, future = ctx.awakeable(type_hint=str)
    mark(ctx, f"awakeable {name}")
    try:
        return f"got {await future}"
    except TerminalError as error:
        return told(error)


async def awakeable_later(ctx: restate.Context, name: str) -> str:
    """Looks at its awakeable only when the gate is open."""
    awakeable_id, future = ctx.awakeable(type_hint=str)
    mark(ctx, f"awakeable {awakeable_id}")
    await ctx.run_typed("gate", gate, name=name)
    try:
        return f"got {await future}"
    except TerminalError as error:
        return told(error)


async def asks_people(ctx: restate.Context, seconds: float | None) -> str:
    """Two people must approve, in time if there is an end."""

    async def notify(request: ApprovalRequest) -> None:
        mark(ctx, f"asked {request.id} {request.link()}")

    deadline = None if seconds is None else timedelta(seconds=seconds)
    found = await ask("Pay it?", {"amount": 7}, quorum=2, deadline=deadline, notify=notify)
    return f"{found.outcome} {[each.who for each in found.answers]}"


async def named(ctx: restate.Context, names: list[str]) -> list[str]:
    """Waits for signals by name, one after the other."""
    mark(ctx, "attempt")
    got = []
    for name in names:
        try:
            got.append(await ctx.signal(name, type_hint=str))
        except TerminalError as error:
            got.append(told(error))
    return got


async def signaller(ctx: restate.Context, request: dict[str, Any]) -> None:
    """Sends a named signal, a rejection, an awakeable's completion or a cancellation to another invocation."""
    match request:
        case {"resolve": name, "to": target, "value": value}:
            ctx.resolve_signal(target, name, value)
        case {"reject": name, "to": target}:
            ctx.reject_signal(target, name, "not today", 418)
        case {"awakeable": awakeable_id, "value": value}:
            ctx.resolve_awakeable(awakeable_id, value)
        case {"reject_awakeable": awakeable_id}:
            ctx.reject_awakeable(awakeable_id, "not today", 418)
        case {"cancel": target}:
            ctx.cancel_invocation(target)


async def gathered(ctx: restate.Context) -> list[Any]:
    futures: list[Any] = [
        ctx.sleep(delta(60)),
        ctx.generic_call("Waits", "late", b'"a"'),
        ctx.signal("go", type_hint=str),
    ]
    mark(ctx, "attempt")
    await restate.gather(*futures)
    return [(await futures[1]).decode(), await futures[2]]


async def selected(ctx: restate.Context) -> list[Any]:
    mark(ctx, "attempt")
    first = await restate.select(signal=ctx.signal("go", type_hint=str), sleep=ctx.sleep(HOUR))
    second = await restate.select(nap=ctx.sleep(delta(30)), sleep=ctx.sleep(HOUR))
    return [first, second[0]]


async def completed_in_turn(ctx: restate.Context) -> list[str]:
    mark(ctx, "attempt")
    futures: dict[Any, str] = {
        ctx.signal("third", type_hint=str): "third",
        ctx.signal("first", type_hint=str): "first",
        ctx.signal("second", type_hint=str): "second",
    }
    found = []
    async for future in restate.as_completed(*futures):
        found.append(futures[future])
        mark(ctx, f"completed {futures[future]}")
    return found


async def waited(ctx: restate.Context) -> list[int]:
    mark(ctx, "attempt")
    done, pending = await restate.wait_completed(ctx.signal("go", type_hint=str), ctx.sleep(HOUR))
    return [len(done), len(pending)]


async def late(ctx: restate.Context, name: str) -> str:
    await ctx.sleep(delta(40))
    return f"late {name}"


async def first_failure(ctx: restate.Context) -> str:
    """A race that a failing call wins."""
    mark(ctx, "attempt")
    call = ctx.generic_call("Steps", "fails", b"418")
    try:
        await restate.select(call=call, signal=ctx.signal("go", type_hint=str))
    except TerminalError as error:
        return told(error)
    return "never"


waits = restate.Service("Waits", invocation_retry_policy=PATIENT)
brief_waits = restate.Service("BriefWaits", invocation_retry_policy=PATIENT, inactivity_timeout=BRIEF_INACTIVITY)
waiting: tuple[Any, ...] = (
    awakeable, awakeable_later, asks_people, named, signaller, gathered, selected, completed_in_turn, waited, late,
    first_failure,
)  # fmt: skip
for each in (waits, brief_waits):
    for handler in waiting:
        each.handler()(handler)


# Cancelling


async def asleep(ctx: restate.Context) -> str:
    mark(ctx, "attempt")
    await ctx.sleep(HOUR)
    return "never"


async def in_step(ctx: restate.Context, name: str) -> str:
    mark(ctx, "attempt")
    return await ctx.run_typed("held", gate, name=name)


async def catches(ctx: restate.Context, times: int) -> str:
    """Goes on waiting after each cancellation, `times` times; then a signal ends it."""
    mark(ctx, "attempt")
    caught = 0
    while caught < times:
        try:
            await ctx.sleep(HOUR)
        except TerminalError as error:
            caught += 1
            await step(ctx, f"compensation {caught}, {error.status_code}")
    return f"caught {caught}, {await ctx.signal('done', type_hint=str)}"


async def tree(ctx: restate.Context, depth: int) -> str:
    """Calls itself down to a leaf that sleeps."""
    mark(ctx, "attempt")
    if depth == 0:
        await ctx.sleep(HOUR)
        return "leaf"
    return (await ctx.generic_call("Cancels", "tree", str(depth - 1).encode())).decode()


async def tree_that_tells(ctx: restate.Context, depth: int) -> str:
    """The same, but what the callee failed with is the answer."""
    try:
        return (await ctx.generic_call("Cancels", "tree", str(depth).encode())).decode()
    except TerminalError as error:
        return told(error)


async def parent(ctx: restate.Context) -> str:
    """One call that ends, one send, one send for later, one call."""
    await ctx.generic_call("Cancels", "leaf", b"0")
    ctx.generic_send("Cancels", "leaf", b"1")
    ctx.generic_send("Cancels", "leaf", b"2", send_delay=HOUR)
    await ctx.generic_call("Cancels", "leaf", b"3")
    return "never"


async def leaf(ctx: restate.Context, number: int) -> str:
    mark(ctx, "attempt")
    if number:
        await ctx.sleep(HOUR)
    return "leaf"


cancels = restate.Service("Cancels", invocation_retry_policy=PATIENT)
brief_cancels = restate.Service("BriefCancels", invocation_retry_policy=PATIENT, inactivity_timeout=BRIEF_INACTIVITY)
cancelling: tuple[Any, ...] = (asleep, in_step, catches, tree, tree_that_tells, parent, leaf)
for each in (cancels, brief_cancels):
    for handler in cancelling:
        each.handler()(handler)
