"""Handlers that fail until a test heals them, for test_engine_retries.py; with policies of their own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import restate
from durable_app import delta, mark, step
from durable_app import stage as stage_path
from restate import InvocationRetryPolicy, RunOptions, TerminalError
from restate.exceptions import RetryableError


def broken(name: str) -> Callable[[], Coroutine[Any, Any, str]]:
    """A step that fails until the test heals it."""

    async def body() -> str:
        mark(f"ran {name}")
        if not (stage_path() / f"healed.{name}").exists():
            raise RuntimeError(f"{name} is broken")
        return name

    return body


tries = restate.Service("Tries")


@tries.handler()
async def bounded(ctx: restate.Context, _: Any = None) -> str:
    options: RunOptions[str] = RunOptions(max_attempts=3, initial_retry_interval=delta(2), type_hint=str)
    try:
        return await ctx.run_typed("bounded", broken("bounded"), options)
    except TerminalError as error:
        return f"gave up: {error.message}"


@tries.handler()
async def slow_to_retry(ctx: restate.Context, _: Any = None) -> str:
    """Long enough between its attempts for a new engine."""
    options: RunOptions[str] = RunOptions(max_attempts=3, initial_retry_interval=delta(500), type_hint=str)
    try:
        return await ctx.run_typed("bounded", broken("bounded"), options)
    except TerminalError as error:
        return f"gave up: {error.message}"


@tries.handler()
async def endless(ctx: restate.Context, _: Any = None) -> str:
    return await ctx.run_typed("endless", broken("endless"))


@tries.handler()
async def raises(ctx: restate.Context, _: Any = None) -> str:
    before = await ctx.run_typed("before", step, RunOptions(), "before")
    after = await broken("handler")()
    return f"{before} {after}"


@tries.handler()
async def asks_for_a_delay(ctx: restate.Context, _: Any = None) -> None:
    mark("asked")
    raise RetryableError("busy", retry_after=delta(1))


@tries.handler(
    invocation_retry_policy=InvocationRetryPolicy(initial_interval=delta(1), max_attempts=2, on_max_attempts="kill")
)
async def killed(ctx: restate.Context, _: Any = None) -> str:
    mark("killed tried")
    raise RuntimeError("no luck")


strict = restate.Service(
    "Strict",
    invocation_retry_policy=InvocationRetryPolicy(
        initial_interval=delta(1),
        exponentiation_factor=1.0,
        max_interval=delta(1),
        max_attempts=3,
        on_max_attempts="pause",
    ),
)


@strict.handler()
async def paused(ctx: restate.Context, _: Any = None) -> str:
    return await broken("strict")()


app = restate.app([tries, strict])
