"""Handlers of every kind for the official ingress clients, which call them from tests."""

from __future__ import annotations

from datetime import timedelta

import restate
from restate.serde import BytesSerde

greeter = restate.Service("ClientGreeter")
counter = restate.VirtualObject("ClientCounter")
signup = restate.Workflow("ClientSignup")


@greeter.handler()
async def greet(ctx: restate.Context, name: str) -> str:
    return f"Hello {name}"


@greeter.handler()
async def nothing(ctx: restate.Context) -> None:
    return None


@greeter.handler()
async def refuse(ctx: restate.Context, name: str) -> str:
    raise restate.TerminalError(f"not {name}", status_code=418)


@greeter.handler()
async def header(ctx: restate.Context, name: str) -> str:
    return ctx.request().headers.get(name, "")


@greeter.handler(
    accept="application/octet-stream",
    content_type="application/octet-stream",
    input_serde=BytesSerde(),
    output_serde=BytesSerde(),
)
async def reverse(ctx: restate.Context, data: bytes) -> bytes:
    return data[::-1]


@counter.handler()
async def add(ctx: restate.ObjectContext, number: int) -> int:
    count = (await ctx.get("count", type_hint=int) or 0) + number
    ctx.set("count", count)
    return count


@counter.handler(kind="shared")
async def value(ctx: restate.ObjectSharedContext) -> int:
    return await ctx.get("count", type_hint=int) or 0


@counter.handler()
async def approval(ctx: restate.ObjectContext, question: str) -> str:
    """Waits for whoever has the awakeable's id, which is left in the state."""
    name, answered = ctx.awakeable(type_hint=str)
    ctx.set("awakeable", name)
    return f"{question}: {await answered}"


@counter.handler(kind="shared")
async def awakeable(ctx: restate.ObjectSharedContext) -> str:
    return await ctx.get("awakeable", type_hint=str) or ""


@signup.main()
async def run(ctx: restate.WorkflowContext, name: str) -> str:
    clicked = await ctx.promise("clicked", type_hint=str).value()
    await ctx.sleep(timedelta(milliseconds=1))
    return f"{name} {clicked}"


@signup.handler()
async def click(ctx: restate.WorkflowSharedContext, link: str) -> None:
    await ctx.promise("clicked", type_hint=str).resolve(link)


app = restate.app([greeter, counter, signup])
