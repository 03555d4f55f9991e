"""The handlers of the tests that run on both engines (subject.py), written with the official SDK; served over HTTP.

A handler leaves marks in a file named for its invocation, and stands still at gates the test opens. All tests share
the process, so no handler keeps anything in it. Services named Brief... suspend where their twins keep the connection.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import restate
from restate import InvocationRetryPolicy, RunOptions, TerminalError
from restate.exceptions import RetryableError

POLL_S = 0.005
HOUR = timedelta(hours=1)
BRIEF_INACTIVITY = timedelta(milliseconds=100)


def folder() -> Path:
    return Path(os.environ["REWAKE_TEST_STAGE"])


def mark(ctx: restate.Context, text: str) -> int:
    """Leaves a line; how many such lines there are now."""
    file = folder() / "marks" / str(ctx.request().id)
    with file.open("a") as lines:
        lines.write(text + "\n")
    return file.read_text().splitlines().count(text)


async def gate(name: str) -> str:
    """Stands still until the test opens the gate."""
    while not (folder() / f"open.{name}").exists():
        await asyncio.sleep(POLL_S)
    return name


def delta(ms: float) -> timedelta:
    return timedelta(milliseconds=ms)


def policy(attempts_max: int, then: Literal["pause", "kill"] = "pause") -> InvocationRetryPolicy:
    return InvocationRetryPolicy(delta(20), 1.0, delta(20), attempts_max, then)


PATIENT = policy(1_000)


def told(error: TerminalError) -> str:
    return f"{error.status_code} {error.message}"


# Steps, calls and sends

steps = restate.Service("Steps", invocation_retry_policy=PATIENT)


async def step(ctx: restate.Context, name: str) -> str:
    """A durable step that leaves a mark each time it really runs."""

    async def action() -> str:
        mark(ctx, f"ran {name}")
        return name

    return await ctx.run_typed(name, action)


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
async def nothing(ctx: restate.Context) -> None:
    """No input and no output."""


@steps.handler()
async def nap(ctx: restate.Context, ms: float) -> str:
    mark(ctx, "attempt")
    await ctx.sleep(delta(ms), name="a nap")
    return "woken"


@steps.handler()
async def who_am_i(ctx: restate.Context) -> dict[str, Any]:
    """What the handler is told of its request, and of chance, before and after an attempt that is given up."""
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


# Retries

retries = restate.Service("Retries", invocation_retry_policy=PATIENT)


@retries.handler()
async def flaky(ctx: restate.Context, failures: int) -> str:
    """Fails some times after a step, which runs once."""
    await step(ctx, "first")
    attempt = mark(ctx, "attempt")
    if attempt <= failures:
        raise ValueError(f"failure {attempt}")
    return f"attempt {attempt}"


@retries.handler()
async def flaky_step(ctx: restate.Context, failures: int) -> str:
    """A step that fails some times."""

    async def action() -> int:
        attempt = mark(ctx, "ran")
        if attempt <= failures:
            raise ValueError(f"failure {attempt}")
        return attempt

    return f"ran {await ctx.run_typed('action', action)}"


@retries.handler()
async def bounded_step(ctx: restate.Context, attempts_max: int) -> str:
    """A step that always fails, with an end."""

    async def action() -> None:
        raise ValueError(f"failure {mark(ctx, 'ran')}")

    options: RunOptions[None] = RunOptions(
        max_attempts=attempts_max, initial_retry_interval=delta(10), max_retry_interval=delta(10)
    )
    try:
        await ctx.run_typed("action", action, options)
    except TerminalError as error:
        return told(error)
    return "never"


@retries.handler(invocation_retry_policy=policy(3))
async def pauses(ctx: restate.Context, name: str) -> str:
    """Fails until the gate is open; three attempts, then it is paused."""
    attempt = mark(ctx, "attempt")
    if not (folder() / f"open.{name}").exists():
        raise ValueError(f"failure {attempt}")
    return f"attempt {attempt}"


@retries.handler(invocation_retry_policy=policy(3, "kill"))
async def gives_up(ctx: restate.Context) -> str:
    """Three attempts, then it fails."""
    await step(ctx, "first")
    raise ValueError(f"failure {mark(ctx, 'attempt')}")


@retries.handler(invocation_retry_policy=policy(3))
async def progresses(ctx: restate.Context, attempts: int) -> str:
    """Each attempt gets one step further, and fails then; the last one ends."""
    attempt = mark(ctx, "attempt")
    for number in range(1, attempt + 1):
        await step(ctx, f"step {number}")
    if attempt < attempts:
        raise ValueError(f"failure {attempt}")
    return f"attempt {attempt}"


@retries.handler(invocation_retry_policy=policy(3))
async def fails_around_a_crash(ctx: restate.Context, name: str) -> None:
    """The second attempt stands still, for the test to kill the engine meanwhile; all others fail."""
    attempt = mark(ctx, "attempt")
    if attempt == 2:
        await gate(name)
    raise ValueError(f"failure {attempt}")


@retries.handler(invocation_retry_policy=policy(1, "kill"))
async def no_second_attempt(ctx: restate.Context) -> str:
    raise ValueError(f"failure {mark(ctx, 'attempt')}")


@retries.handler(invocation_retry_policy=InvocationRetryPolicy(HOUR, 1.0, HOUR, 10, "pause"))
async def asks_for_a_delay(ctx: restate.Context, failures: int) -> str:
    """The policy says an hour, the handler 10 ms."""
    attempt = mark(ctx, "attempt")
    if attempt <= failures:
        raise RetryableError(f"failure {attempt}", retry_after=delta(10))
    return f"attempt {attempt}"


@retries.handler(invocation_retry_policy=InvocationRetryPolicy(HOUR, 1.0, HOUR, 10, "pause"))
async def waits_long(ctx: restate.Context) -> str:
    """Fails once, and is due again in an hour."""
    attempt = mark(ctx, "attempt")
    if attempt == 1:
        raise ValueError("failure 1")
    return f"attempt {attempt}"


@retries.handler(invocation_retry_policy=policy(5))
async def changes_its_mind(ctx: restate.Context) -> str:
    """Does something else than its journal says, in its second attempt."""
    if mark(ctx, "attempt") == 1:
        await step(ctx, "one")
        raise ValueError("again")
    await ctx.sleep(delta(1))
    return "never"


@retries.handler(invocation_retry_policy=policy(1), abort_timeout=delta(200), inactivity_timeout=delta(100))
async def silent(ctx: restate.Context, name: str) -> str:
    """Says nothing for longer than the abort timeout allows, until the gate opens."""
    mark(ctx, "attempt")
    return await ctx.run_typed("silent", gate, name=name)


@retries.handler(invocation_retry_policy=policy(1_000))
async def calls_nobody(ctx: restate.Context, service: str) -> str:
    """Calls a service that is not there."""
    mark(ctx, "attempt")
    return (await ctx.generic_call(service, "hello", b'""')).decode()


@retries.handler()
async def says_nonsense(ctx: restate.Context, what: str) -> None:
    """Names an awakeable or an invocation that cannot be one."""
    mark(ctx, "attempt")
    if what == "awakeable":
        ctx.resolve_awakeable("nonsense", "x")
    elif what == "invocation":
        await ctx.attach_invocation("nonsense", type_hint=str)
    else:
        ctx.cancel_invocation("nonsense")
    await ctx.sleep(delta(1))


# Waiting: awakeables, signals, combinators


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
    awakeable, awakeable_later, named, signaller, gathered, selected, completed_in_turn, waited, late, first_failure,
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


app: Any = restate.app(
    [
        steps,
        retries,
        waits,
        brief_waits,
        cancels,
        brief_cancels,
        counter,
        lazy_counter,
        brief_counter,
        flow,
        kept,
        short_flow,
    ]  # fmt: skip
)
