"""Handlers of every kind the HTTP surfaces tell apart, written with the official SDK."""

from __future__ import annotations

import queue
from datetime import timedelta
from typing import Any

import restate
from restate import TerminalError
from restate.serde import BytesSerde

greeter = restate.Service("Greeter", metadata={"team": "x"})
hidden = restate.Service("Hidden", ingress_private=True)
counter = restate.VirtualObject("Counter")
flow = restate.Workflow("Flow")

awakeables: queue.SimpleQueue[str] = queue.SimpleQueue()
"""Names of the awakeables that `wait` made, for the tests to complete."""


@greeter.handler()
async def greet(ctx: restate.Context, name: str) -> str:
    return f"hi {name}"


@greeter.handler()
async def nothing(ctx: restate.Context) -> None:
    return None


@greeter.handler(accept="text/*", content_type="text/plain", input_serde=BytesSerde(), output_serde=BytesSerde())
async def text(ctx: restate.Context, body: bytes) -> bytes:
    return body


@greeter.handler(accept="*/*", content_type="application/x", input_serde=BytesSerde(), output_serde=BytesSerde())
async def raw(ctx: restate.Context, body: bytes) -> bytes:
    return body


@greeter.handler()
async def fail(ctx: restate.Context, code: int) -> str:
    raise TerminalError("nope", status_code=code)


@greeter.handler()
async def fail_with_metadata(ctx: restate.Context) -> str:
    raise TerminalError("nope", status_code=418, metadata={"a": "1"})


@greeter.handler()
async def headers(ctx: restate.Context) -> dict[str, str]:
    return dict(ctx.request().headers)


@greeter.handler(journal_retention=timedelta(hours=2))
async def wait(ctx: restate.Context) -> str:
    """Waits for an awakeable, whose id the test takes from the queue."""
    name, value = ctx.awakeable(type_hint=str)

    def tell() -> str:
        awakeables.put(name)
        return name

    await ctx.run_typed("tell", tell)
    return await value


@greeter.handler(idempotency_retention=timedelta(milliseconds=50))
async def brief(ctx: restate.Context, name: str) -> str:
    """A result that is kept for a moment."""
    return f"hi {name}"


@greeter.handler(ingress_private=True)
async def secret(ctx: restate.Context) -> str:
    return "x"


@hidden.handler()
async def peek(ctx: restate.Context) -> str:
    return "x"


@counter.handler()
async def add(ctx: restate.ObjectContext, amount: int) -> int:
    total: int = (await ctx.get("n", type_hint=int) or 0) + amount
    ctx.set("n", total)
    return total


@counter.handler(kind="shared")
async def get(ctx: restate.ObjectSharedContext) -> int:
    return await ctx.get("n", type_hint=int) or 0


@counter.handler(kind="shared")
async def key(ctx: restate.ObjectSharedContext) -> str:
    return ctx.key()


@flow.main()
async def run(ctx: restate.WorkflowContext, what: str) -> str:
    return await ctx.promise("go", type_hint=str).value()


@flow.handler()
async def go(ctx: restate.WorkflowSharedContext, what: str) -> None:
    await ctx.promise("go", type_hint=str).resolve(what)


app: Any = restate.app([greeter, hidden, counter, flow])
