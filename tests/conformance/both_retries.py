"""Handlers of both_app.py whose attempts fail."""

from __future__ import annotations

import restate
from both_kit import HOUR, PATIENT, delta, folder, gate, mark, policy, step, told
from restate import InvocationRetryPolicy, RunOptions, TerminalError
from restate.exceptions import RetryableError

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
