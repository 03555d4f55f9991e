"""Objects and workflows of both_app.py, and handlers whose results are kept for a while."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import restate
from both_kit import BRIEF_INACTIVITY, HOUR, PATIENT, delta, gate, mark, step, told
from restate import TerminalError

# State

counter = restate.VirtualObject("Counter", invocation_retry_policy=PATIENT)
lazy_counter = restate.VirtualObject("LazyCounter", invocation_retry_policy=PATIENT, enable_lazy_state=True)
brief_counter = restate.VirtualObject(
    "BriefCounter", invocation_retry_policy=PATIENT, inactivity_timeout=BRIEF_INACTIVITY
)


async def add(ctx: restate.ObjectContext, amount: int) -> int:
    value = (await ctx.get("value", type_hint=int) or 0) + amount
    ctx.set("value", value)
    return value


async def hold(ctx: restate.ObjectContext, name: str) -> str:
    """Occupies its key until the gate opens."""
    mark(ctx, "holds")
    return await ctx.run_typed("held", gate, name=name)


async def hold_suspended(ctx: restate.ObjectContext) -> str:
    """Occupies its key until a signal comes."""
    mark(ctx, "holds")
    return await ctx.signal("go", type_hint=str)


async def read(ctx: restate.ObjectSharedContext) -> int | None:
    return await ctx.get("value", type_hint=int)


async def key(ctx: restate.ObjectSharedContext) -> str:
    return ctx.key()


async def call_other_key(ctx: restate.ObjectContext, other: str) -> list[int]:
    """From a key to another one, and to a shared handler of its own."""
    mine = await add(ctx, 1)
    theirs = await ctx.generic_call("Counter", "add", b"10", key=other)
    shared = await ctx.generic_call("Counter", "read", b"", key=ctx.key())
    return [mine, int(theirs), int(shared)]


async def set_and_fail(ctx: restate.ObjectContext, how: str) -> None:
    """Writes, then ends badly: what was written stays."""
    ctx.set("value", 7)
    await ctx.sleep(delta(1))
    if how == "terminal":
        raise TerminalError("after the write", status_code=409)
    await ctx.sleep(HOUR)


async def use(ctx: restate.ObjectContext) -> list[Any]:
    """Reads and writes of every kind, with a wait in the middle after which a later attempt may go on."""
    seen: list[Any] = [sorted(await ctx.state_keys()), await ctx.get("a", type_hint=int)]
    ctx.set("a", 1)
    ctx.set("b", 2)
    ctx.set("empty", b"", serde=restate.serde.BytesSerde())
    seen += [await ctx.get("a", type_hint=int), sorted(await ctx.state_keys())]
    await ctx.sleep(delta(150))
    ctx.clear("b")
    seen.append(await ctx.get("b", type_hint=int))
    ctx.clear_all()
    seen += [await ctx.get("a", type_hint=int), await ctx.state_keys()]
    ctx.set("c", 3)
    ctx.set("a", 4)
    return seen


async def see(ctx: restate.ObjectSharedContext) -> list[Any]:
    return [sorted(await ctx.state_keys()), await ctx.get("a", type_hint=int), await ctx.get("z", type_hint=int)]


async def writes_shared(ctx: Any) -> None:
    """A shared handler that writes, which it may not."""
    mark(ctx, "attempt")
    ctx.set("value", 1)
    await ctx.sleep(delta(1))


for each_object in (counter, lazy_counter, brief_counter):
    for exclusive in (add, hold, hold_suspended, call_other_key, set_and_fail, use):
        each_object.handler()(exclusive)
    for shared in (read, key, see, writes_shared):
        each_object.handler(kind="shared")(shared)


# Workflows

flow = restate.Workflow("Flow", invocation_retry_policy=PATIENT)


@flow.main()
async def run(ctx: restate.WorkflowContext, text: str) -> str:
    mark(ctx, "run")
    ctx.set("status", "waiting")
    try:
        approval = await ctx.promise("approval", type_hint=str).value()
    except TerminalError as error:
        approval = told(error)
    ctx.set("status", "approved")
    return f"{text} {approval}"


@flow.handler()
async def approve(ctx: restate.WorkflowSharedContext, text: str) -> str:
    try:
        await ctx.promise("approval", type_hint=str).resolve(text)
    except TerminalError as error:
        return told(error)
    return "done"


@flow.handler()
async def reject(ctx: restate.WorkflowSharedContext, text: str) -> str:
    try:
        await ctx.promise("approval", type_hint=str).reject(text, 418)
    except TerminalError as error:
        return told(error)
    return "done"


@flow.handler()
async def peek(ctx: restate.WorkflowSharedContext) -> list[Any]:
    return [await ctx.promise("approval", type_hint=str).peek(), await ctx.get("status", type_hint=str)]


@flow.handler()
async def wait(ctx: restate.WorkflowSharedContext, name: str) -> str:
    mark(ctx, "waits")
    return await ctx.promise(name, type_hint=str).value()


@flow.handler()
async def fulfil(ctx: restate.WorkflowSharedContext, name: str) -> None:
    await ctx.promise(name, type_hint=str).resolve(f"{name} fulfilled")


# Retention

kept = restate.Service("Kept", invocation_retry_policy=PATIENT)


@kept.handler(journal_retention=timedelta(0), idempotency_retention=HOUR)
async def no_journal(ctx: restate.Context, name: str) -> str:
    return await step(ctx, name)


@kept.handler(journal_retention=HOUR, idempotency_retention=timedelta(seconds=1))
async def short(ctx: restate.Context, name: str) -> str:
    return await step(ctx, name)


@kept.handler(journal_retention=timedelta(seconds=1), idempotency_retention=HOUR)
async def short_journal(ctx: restate.Context, name: str) -> str:
    return await step(ctx, name)


@kept.handler()
async def calls_no_journal(ctx: restate.Context, name: str) -> str:
    return await ctx.service_call(no_journal, name)


short_flow = restate.Workflow("ShortFlow", invocation_retry_policy=PATIENT)


@short_flow.main("run", workflow_retention=timedelta(seconds=1))
async def run_short(ctx: restate.WorkflowContext) -> str:
    ctx.set("state", 1)
    await ctx.promise("done", type_hint=str).resolve("yes")
    return "short"
