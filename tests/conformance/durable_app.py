"""The handlers the engine's conformance tests run, written with the official SDK; loaded in process and by workers.

They leave marks in the stage's directory, a line per event, so that a test can count what ran whichever process it
ran in and however often that died. A handler that must stand still waits for a gate the test opens.
"""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import restate
from both_waits import signaller
from restate import RunOptions, TerminalError

POLL_S = 0.003


def stage() -> Path:
    return Path(os.environ["REWAKE_TEST_STAGE"])


def mark(text: str) -> None:
    with (stage() / "marks").open("a") as file:
        file.write(text + "\n")


async def gate(name: str) -> None:
    """Wait until the test opens the gate."""
    while not (stage() / f"open.{name}").exists():
        await asyncio.sleep(POLL_S)


async def through(name: str) -> None:
    """The same as a step that leaves a mark when it ends."""
    await gate(name)
    mark(f"through {name}")


async def step(name: str) -> str:
    """A durable step: leaves a mark each time it really runs, and stands still while the test holds it."""
    mark(f"ran {name}")
    while (stage() / f"hold.{name}").exists():
        await asyncio.sleep(POLL_S)
    return name


def delta(ms: float) -> timedelta:
    return timedelta(milliseconds=ms)


# A plain service

steps = restate.Service("Steps")


@steps.handler()
async def route(ctx: restate.Context, name: str) -> str:
    """Step, call, step: the shape of a router agent."""
    picked = await ctx.run_typed("pick", step, name="pick")
    answer = await ctx.service_call(ask, name)
    checked = await ctx.run_typed("check", step, name="check")
    return f"{picked}, {answer}, {checked}"


@steps.handler()
async def ask(ctx: restate.Context, name: str) -> str:
    await ctx.sleep(delta(5))
    return await ctx.run_typed("ask", step, name="ask") + " " + name


@steps.handler()
async def nap(ctx: restate.Context, ms: float) -> str:
    mark("attempt nap")
    await ctx.sleep(delta(ms), name="a nap")
    return "woken"


@steps.handler()
async def echo(ctx: restate.Context, data: bytes) -> bytes:
    return data


@steps.handler()
async def double(ctx: restate.Context, text: str) -> str:
    """A payload through a step, a call and an answer."""
    mine = await ctx.run_typed("copy", lambda: text)
    theirs = await ctx.service_call(same, mine)
    return mine + theirs


@steps.handler()
async def same(ctx: restate.Context, text: str) -> str:
    return text


@steps.handler()
async def many(ctx: restate.Context, count: int) -> int:
    total = 0
    for index in range(count):
        total += await ctx.run_typed(f"step {index}", lambda: 1)
    mark(f"attempt many {total}")
    await ctx.signal("go", type_hint=str)
    return total


@steps.handler()
async def who_am_i(ctx: restate.Context, _: Any = None) -> dict[str, Any]:
    request = ctx.request()
    return {"id": request.id, "headers": dict(request.headers), "uuid": str(ctx.uuid())}


@steps.handler()
async def fails(ctx: restate.Context, _: Any = None) -> None:
    raise TerminalError("no such claim", status_code=404)


@steps.handler()
async def fails_with_metadata(ctx: restate.Context, _: Any = None) -> None:
    raise TerminalError("no such claim", status_code=404, metadata={"claim": "17"})


@steps.handler()
async def sender(ctx: restate.Context, request: dict[str, Any]) -> str:
    """Send to `same`, maybe later; returns the callee's id."""
    delay = request.get("delay_ms")
    handle = ctx.service_send(
        leave_mark,
        request["mark"],
        send_delay=delta(delay) if delay else None,
        idempotency_key=request.get("idempotency_key"),
    )
    return await handle.invocation_id()


@steps.handler()
async def leave_mark(ctx: restate.Context, text: str) -> str:
    mark(text)
    return text


@steps.handler()
async def slow(ctx: restate.Context, name: str) -> str:
    """Runs until the test opens the gate."""
    mark(f"attempt slow {name}")
    await ctx.run_typed("slow", through, RunOptions(), name)
    return f"slow {name}"


@steps.handler()
async def second_time(ctx: restate.Context, name: str) -> str:
    """Fails in its first attempt."""
    mark(f"tried {name}")
    if (stage() / "marks").read_text().splitlines().count(f"tried {name}") == 1:
        raise RuntimeError("once more")
    return name


@steps.handler()
async def attach_to(ctx: restate.Context, request: dict[str, str]) -> str:
    """Attach to an invocation by id; 404 for what is unknown."""
    try:
        return "got " + await ctx.attach_invocation(request["id"], type_hint=str)
    except TerminalError as error:
        return f"{error.status_code} {error.message}"


@steps.handler()
async def twice(ctx: restate.Context, name: str) -> list[str]:
    """Two calls with one idempotency key, and a third after they are done."""
    first = ctx.service_call(slow, name, idempotency_key="once")
    second = ctx.service_call(slow, name, idempotency_key="once")
    results = [await first, await second]
    third = ctx.service_call(slow, name, idempotency_key="once")
    return [
        *results,
        await third,
        await first.invocation_id(),
        await second.invocation_id(),
        await third.invocation_id(),
    ]


@steps.handler()
async def call_generic(ctx: restate.Context, request: dict[str, Any]) -> str:
    """Call any handler by name; the text of its answer, or of its failure."""
    try:
        answer = await ctx.generic_call(
            request["service"], request["handler"], request["body"].encode(), key=request.get("key")
        )
    except TerminalError as error:
        return f"{error.status_code} {error.message}"
    return answer.decode()


@steps.handler()
async def block(ctx: restate.Context, name: str) -> str:
    """Blocks its whole process until the gate opens."""
    mark(f"blocking {name}")
    while not (stage() / f"open.{name}").exists():
        time.sleep(POLL_S)  # noqa: ASYNC251  that is the point
    return "blocked"


# Waiting: awakeables, signals, combinators

waits = restate.Service("Waits")


@waits.handler()
async def awakeable(ctx: restate.Context, _: Any = None) -> str:
    name, future = ctx.awakeable(type_hint=str)
    mark(f"awakeable {name}")
    return "got " + await future


@waits.handler()
async def awakeables(ctx: restate.Context, count: int) -> list[int]:
    futures = [ctx.awakeable(type_hint=int)[1] for _ in range(count)]
    mark("attempt awakeables")
    return [await future for future in futures]


@waits.handler()
async def awakeable_later(ctx: restate.Context, _: Any = None) -> str:
    """Looks at its awakeable only after the gate opened."""
    name, future = ctx.awakeable(type_hint=str)
    mark(f"awakeable {name}")
    await ctx.run_typed("gate", gate, RunOptions(), "later")
    try:
        return "got " + await future
    except TerminalError as error:
        return f"{error.status_code} {error.message}"


@waits.handler()
async def named(ctx: restate.Context, names: list[str]) -> list[str]:
    """Wait for signals by name, one after the other."""
    mark("attempt named")
    got = []
    for name in names:
        try:
            got.append(await ctx.signal(name, type_hint=str))
        except TerminalError as error:
            got.append(f"{error.status_code} {error.message}")
    return got


waits.handler()(signaller)


@waits.handler()
async def gathered(ctx: restate.Context, _: Any = None) -> list[Any]:
    mark("attempt")
    futures: list[Any] = [ctx.sleep(delta(60)), ctx.service_call(late, "a"), ctx.signal("go", type_hint=str)]
    await restate.gather(*futures)
    return [await future for future in futures[1:]]


@waits.handler()
async def selected(ctx: restate.Context, _: Any = None) -> list[Any]:
    mark("attempt")
    first = await restate.select(signal=ctx.signal("go", type_hint=str), sleep=ctx.sleep(timedelta(hours=1)))
    second = await restate.select(call=ctx.service_call(late, "b"), sleep=ctx.sleep(timedelta(hours=1)))
    return [first, second]


@waits.handler()
async def completed_in_turn(ctx: restate.Context, _: Any = None) -> list[str]:
    mark("attempt")
    futures: dict[Any, str] = {
        ctx.sleep(delta(90)): "sleep",
        ctx.signal("go", type_hint=str): "signal",
        ctx.service_call(late, "c"): "call",
    }
    return [futures[future] async for future in restate.as_completed(*futures)]


@waits.handler()
async def waited(ctx: restate.Context, _: Any = None) -> list[int]:
    mark("attempt")
    done, open_ = await restate.wait_completed(ctx.signal("go", type_hint=str), ctx.sleep(timedelta(hours=1)))
    return [len(done), len(open_)]


@waits.handler()
async def late(ctx: restate.Context, name: str) -> str:
    await ctx.sleep(delta(40))
    return f"late {name}"


@waits.handler()
async def pending_run(ctx: restate.Context, name: str) -> str:
    """A step that lasts beyond the inactivity timeout, then one more."""
    mark("attempt")
    first = await ctx.run_typed("long", step, name=name)
    second = await ctx.run_typed("short", step, name="short")
    return f"{first} {second}"


# Cancelling

cancels = restate.Service("Cancels")


@cancels.handler()
async def asleep(ctx: restate.Context, _: Any = None) -> str:
    mark("attempt")
    await ctx.sleep(timedelta(hours=1))
    return "never"


@cancels.handler()
async def in_run(ctx: restate.Context, _: Any = None) -> str:
    mark("attempt")
    await ctx.run_typed("held", gate, RunOptions(), "never")
    return "never"


@cancels.handler()
async def catches(ctx: restate.Context, times: int) -> str:
    """Goes on waiting after each cancel, `times` times; then a signal ends it."""
    mark("attempt")
    caught = 0
    while caught < times:
        try:
            await ctx.sleep(timedelta(hours=1))
        except TerminalError as error:
            caught += 1
            await ctx.run_typed("compensate", step, name=f"compensation {caught}, {error.status_code}")
    return f"caught {caught}, {await ctx.signal('done', type_hint=str)}"


@cancels.handler()
async def tree(ctx: restate.Context, depth: int) -> str:
    """Calls itself down to a leaf that sleeps."""
    mark(f"tree {depth} {ctx.request().id}")
    if depth == 0:
        await ctx.sleep(timedelta(hours=1))
        return "leaf"
    return await ctx.service_call(tree, depth - 1)


@cancels.handler()
async def parent(ctx: restate.Context, _: Any = None) -> str:
    """One call, one send, one send for later, one call that is done."""
    await ctx.service_call(leaf, 0)
    ctx.service_send(leaf, 2)
    ctx.service_send(leaf, 3, send_delay=timedelta(hours=1))
    return await ctx.service_call(leaf, 1)


@cancels.handler()
async def leaf(ctx: restate.Context, number: int) -> str:
    mark(f"leaf {number} {ctx.request().id}")
    if number:
        await ctx.sleep(timedelta(hours=1))
    return "leaf"


# State

counter = restate.VirtualObject("Counter")
lazy_counter = restate.VirtualObject("LazyCounter", enable_lazy_state=True)
preloading = restate.VirtualObject("Preloading", state_preload=["a"])


@counter.handler()
async def add(ctx: restate.ObjectContext, amount: int) -> int:
    value = (await ctx.get("value", type_hint=int) or 0) + amount
    ctx.set("value", value)
    return value


@counter.handler("hold")
async def hold_key(ctx: restate.ObjectContext, name: str) -> str:
    """Occupies its key until the gate opens."""
    mark(f"holds {ctx.key()} {name}")
    await ctx.run_typed("held", gate, RunOptions(), name)
    return name


@counter.handler(kind="shared")
async def read(ctx: restate.ObjectSharedContext, _: Any = None) -> int | None:
    return await ctx.get("value", type_hint=int)


@counter.handler()
async def call_other_key(ctx: restate.ObjectContext, other: str) -> list[int]:
    """From a key to another one and to a shared handler of its own."""
    mine = await add_to(ctx, 1)
    theirs = await ctx.object_call(add, other, 10)
    shared = await ctx.generic_call("Counter", "read", b"", key=ctx.key())
    return [mine, theirs, int(shared)]


async def add_to(ctx: restate.ObjectContext, amount: int) -> int:
    value = (await ctx.get("value", type_hint=int) or 0) + amount
    ctx.set("value", value)
    return value


async def use_state(ctx: restate.ObjectContext, _: Any = None) -> list[Any]:
    """Reads and writes of every kind, with a stop in the middle from which the handler goes on by replay."""
    seen: list[Any] = [await ctx.state_keys(), await ctx.get("a", type_hint=int)]
    ctx.set("a", 1)
    ctx.set("b", 2)
    ctx.set("empty", b"", serde=restate.serde.BytesSerde())
    seen += [await ctx.get("a", type_hint=int), await ctx.state_keys()]
    await ctx.sleep(delta(30))
    ctx.clear("b")
    seen.append(await ctx.get("b", type_hint=int))  # its keys are another matter: the SDK lists a cleared key
    ctx.clear_all()
    seen += [await ctx.get("a", type_hint=int), await ctx.state_keys()]
    ctx.set("c", 3)
    ctx.set("a", 4)
    return seen


async def see_state(ctx: restate.ObjectSharedContext, _: Any = None) -> list[Any]:
    return [await ctx.state_keys(), await ctx.get("a", type_hint=int), await ctx.get("z", type_hint=int)]


for each in (counter, lazy_counter, preloading):
    each.handler("use")(use_state)
    each.handler("see", kind="shared")(see_state)


# Workflows

flow = restate.Workflow("Flow")


@flow.main()
async def run(ctx: restate.WorkflowContext, text: str) -> str:
    mark(f"run {ctx.key()}")
    ctx.set("status", "waiting")
    approval = await ctx.promise("approval", type_hint=str).value()
    ctx.set("status", "approved")
    return f"{text} {approval}"


@flow.handler()
async def approve(ctx: restate.WorkflowSharedContext, text: str) -> str:
    try:
        await ctx.promise("approval", type_hint=str).resolve(text)
    except TerminalError as error:
        return f"{error.status_code} {error.message}"
    return "done"


@flow.handler()
async def reject(ctx: restate.WorkflowSharedContext, text: str) -> None:
    await ctx.promise("approval", type_hint=str).reject(text, 418)


@flow.handler()
async def peek(ctx: restate.WorkflowSharedContext, _: Any = None) -> list[Any]:
    return [await ctx.promise("approval", type_hint=str).peek(), await ctx.get("status", type_hint=str)]


@flow.handler()
async def wait(ctx: restate.WorkflowSharedContext, name: str) -> str:
    mark(f"waits {name}")
    return await ctx.promise(name, type_hint=str).value()


app = restate.app([steps, waits, cancels, counter, lazy_counter, preloading, flow])
