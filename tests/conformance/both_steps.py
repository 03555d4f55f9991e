"""Handlers of both_app.py that step, call, send and fail for good."""

from __future__ import annotations

from typing import Any

import restate
from both_kit import PATIENT, delta, gate, mark, step, told
from restate import TerminalError

steps = restate.Service("Steps", invocation_retry_policy=PATIENT)


@steps.handler()
async def route(ctx: restate.Context, name: str) -> str:
    """Step, call, step: the shape of a router agent."""
    mark(ctx, "attempt")
    picked = await step(ctx, "pick")
    answer = await ctx.service_call(ask, name)
    checked = await step(ctx, "check")
    return f"{picked}, {answer}, {checked}"


@steps.handler()
async def ask(ctx: restate.Context, name: str) -> str:
    await ctx.sleep(delta(5), name="think")
    return f"{await step(ctx, 'ask')} {name}"


@steps.handler()
async def same(ctx: restate.Context, value: Any) -> Any:
    return value


@steps.handler()
async def huge(ctx: restate.Context, mib: int) -> str:
    """A step whose result may be larger than one message."""

    def draw() -> str:
        mark(ctx, "drawn")
        return "x" * (mib << 20)

    try:
        return str(len(await ctx.run_typed("Draw image", draw)))
    except TerminalError as error:
        return f"{error.status_code} {error.message}"


@steps.handler()
async def nothing(ctx: restate.Context) -> None:
    """No input and no output."""


@steps.handler()
async def nap(ctx: restate.Context, ms: float) -> str:
    mark(ctx, "attempt")
    await ctx.sleep(delta(ms), name="a nap")
    return "woken"


@steps.handler()
async def who_am_i(ctx: restate.Context) -> dict[str, Any]:
    """What the handler sees of its request and of chance, before and after an attempt that is given up."""
    request = ctx.request()
    drawn = [str(ctx.uuid()), ctx.random().random()]
    mark(ctx, f"drawn {drawn}")
    if mark(ctx, "attempt") == 1:
        raise ValueError("again")
    return {"id": request.id, "headers": dict(request.headers), "drawn": drawn}


@steps.handler()
async def at(ctx: restate.Context) -> list[float]:
    """The recorded time, twice."""
    return [await ctx.time(), await ctx.time()]


@steps.handler()
async def fails(ctx: restate.Context, code: int) -> None:
    raise TerminalError("no such claim", status_code=code)


@steps.handler()
async def fails_with_metadata(ctx: restate.Context) -> None:
    raise TerminalError("no such claim", status_code=404, metadata={"claim": "17", "office": "Wien"})


@steps.handler()
async def fails_in_a_step(ctx: restate.Context) -> str:
    """A step that refuses: recorded, so not run again."""

    async def refuse() -> str:
        mark(ctx, "ran refuse")
        raise TerminalError("not this one", status_code=422)

    try:
        await ctx.run_typed("refuse", refuse)
    except TerminalError as error:
        caught = told(error)
    await ctx.sleep(delta(1))
    return caught


@steps.handler()
async def slow(ctx: restate.Context, name: str) -> str:
    """Runs until the test opens the gate."""
    mark(ctx, "attempt")

    async def action() -> str:
        mark(ctx, "ran slow")
        return await gate(name)

    await ctx.run_typed("slow", action)
    return f"slow {name}"


@steps.handler()
async def pick_then_hold(ctx: restate.Context, name: str) -> str:
    """A step that is done, and one that stands still."""
    picked = await step(ctx, "pick")

    async def held() -> str:
        mark(ctx, "holding")
        return await gate(name)

    return f"{picked} {await ctx.run_typed('held', held)}"


@steps.handler()
async def through(ctx: restate.Context, text: str) -> int:
    """A payload through a step, a call and their answers; its length both ways."""
    mine = await ctx.run_typed("copy", lambda: text)
    theirs = await ctx.service_call(same, mine)
    return len(mine) + len(theirs)


@steps.handler()
async def sender(ctx: restate.Context, request: dict[str, Any]) -> str:
    """Sends to `leave_mark`, maybe later; the callee's id."""
    delay_ms = request.get("delay_ms")
    handle = ctx.service_send(
        leave_mark,
        request["mark"],
        send_delay=delta(delay_ms) if delay_ms else None,
        idempotency_key=request.get("idempotency_key"),
        headers={"x-from": "sender"},
    )
    return await handle.invocation_id()


@steps.handler()
async def leave_mark(ctx: restate.Context, text: str) -> str:
    mark(ctx, f"{text} {ctx.request().headers.get('x-from', '')}".strip())
    return text


@steps.handler()
async def attach_to(ctx: restate.Context, invocation_id: str) -> str:
    try:
        return f"got {await ctx.attach_invocation(invocation_id, type_hint=str)}"
    except TerminalError as error:
        return told(error)


@steps.handler()
async def twice(ctx: restate.Context, name: str) -> list[str]:
    """Two calls with one idempotency key, and a third when they are done; their results, then their ids."""
    first = ctx.service_call(slow, name, idempotency_key=name)
    second = ctx.service_call(slow, name, idempotency_key=name)
    results = [await first, await second]
    third = ctx.service_call(slow, name, idempotency_key=name)
    return [*results, await third, *[await each.invocation_id() for each in (first, second, third)]]


@steps.handler()
async def call_generic(ctx: restate.Context, request: dict[str, Any]) -> str:
    """Calls any handler by name; the text of its answer, or of its failure."""
    mark(ctx, "attempt")
    try:
        answer = await ctx.generic_call(
            request["service"], request["handler"], request["body"].encode(), key=request.get("key")
        )
    except TerminalError as error:
        return f"{told(error)} {error.metadata or ''}".strip()
    return answer.decode()
