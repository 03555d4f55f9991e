"""Handlers that raise what is no Exception, as leaking libraries and careless scripts do."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final

import restate

escapes = restate.Service("Escapes")

RAISES: Final[dict[str, type[BaseException]]] = {
    each.__name__: each for each in (asyncio.CancelledError, SystemExit, KeyboardInterrupt, GeneratorExit)
}


@escapes.handler()
async def handler(ctx: restate.Context, name: str) -> None:
    raise RAISES[name]


@escapes.handler()
async def step(ctx: restate.Context, name: str) -> None:
    async def fails() -> None:
        raise RAISES[name]

    await ctx.run_typed("fails", fails)


@escapes.handler()
async def thread(ctx: restate.Context, name: str) -> None:
    def fails() -> None:
        raise RAISES[name]

    await ctx.run_typed("fails", fails)


@escapes.handler()
async def tries(ctx: restate.Context, name: str) -> str:
    """A step whose attempts are limited: the handler hears of it in the end."""

    async def fails() -> None:
        raise RAISES[name]

    try:
        await ctx.run_typed("fails", fails, restate.RunOptions(max_attempts=1))
    except restate.TerminalError as error:
        return error.message
    return "not reached"


@escapes.handler()
async def own_task(ctx: restate.Context, name: str) -> str:
    """A task of the handler's own that asks the process to end: its loop lets go of everything."""

    async def leaves() -> None:
        sys.exit(7)

    task = asyncio.create_task(leaves())
    await asyncio.sleep(0.01)
    return repr(task.exception())


@escapes.handler()
async def waits(ctx: restate.Context, name: str) -> None:
    """Cancelled in earnest when the attempt is cut off."""

    async def never() -> Any:
        await asyncio.Event().wait()

    await ctx.run_typed("never", never)


app = restate.app([escapes])
