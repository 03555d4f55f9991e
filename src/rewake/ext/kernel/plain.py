"""The public calls for handlers on the plain SDK, and for tools of any framework."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from restate import RunOptions

from rewake.ext.kernel.context import show_context
from rewake.ext.kernel.ids import within
from rewake.ext.kernel.run import Run, current_run
from rewake.ext.kernel.steps import InPlace, body_here, called

T = TypeVar("T")


async def durable_step(
    name: str,
    function: Callable[..., Awaitable[T]] | Callable[..., T],
    *args: Any,
    options: RunOptions[T] | None = None,
    retry: InPlace | None = None,
) -> T:
    """Run a function once per journal; a replay returns its stored result.

    name: shown in the journal; do not change it while runs are open. function: async, or sync and run in a thread; its
    result must be JSON, a pydantic model, a dataclass or a value for options.serde (options.type_hint names its type).
    A transient failure is retried in place first (retry), so that siblings continue, then by the engine (options).
    Outside a handler, and in the body of another step, it simply calls the function.

    Raises TerminalError for a final failure: a TerminalError of the function, or a provider's 4xx except 408, 409 and
    429.
    """
    run = current_run()
    if run is None:
        called_outside: T = await called(function, *args)
        return called_outside
    found: T = await run.step(name, function, *args, options=options, retry=retry)
    return found


async def parallel(*pieces: Awaitable[Any]) -> list[Any]:
    """Run pieces of a handler side by side; results in the order of the pieces.

    pieces: coroutines that were not awaited yet. Each may make steps, call services and wait, through `durable_step`,
    `restate_context()` or agents; at replay all entries fall in the same places, which asyncio.gather cannot promise.
    All pieces end before this does; then the first failure, in the journal's order, is raised.
    """
    run = current_run()
    if run is None:
        return list(await asyncio.gather(*pieces))
    return await run.gather(*(_shown(run, piece) for piece in pieces))


def idempotency_key(label: str = "") -> str:
    """A key for APIs that take one: the same in each attempt, another one for each step.

    In the body of a step: the key of that step; with a label, one for each label. Elsewhere in a handler: a new key for
    each call, equal at replay. Raises RuntimeError outside of a handler.
    """
    if (body := body_here.get()) is not None:
        return str(within(body.id, label))
    run = current_run()
    if run is None:
        raise RuntimeError("idempotency_key() works in a handler only, or in the body of one of its steps.")
    return str(within(run.draw_id(), label))


def _shown(run: Run, piece: Awaitable[T]) -> Callable[[], Awaitable[T]]:
    async def work() -> T:
        show_context(run)
        return await piece

    return work
