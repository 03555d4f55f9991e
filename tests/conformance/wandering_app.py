"""A handler that asks for another step in each attempt, and one that ends earlier."""

from __future__ import annotations

import itertools
import os
from datetime import timedelta
from pathlib import Path

import restate

wanderer = restate.Service("Wanderer")
_attempts = itertools.count(1)


async def nothing() -> None: ...


@wanderer.handler(inactivity_timeout=timedelta())
async def wander(ctx: restate.Context) -> None:
    await ctx.run_typed(f"step {next(_attempts)}", nothing)
    await ctx.sleep(timedelta(hours=1))


@wanderer.handler(inactivity_timeout=timedelta())
async def turn(ctx: restate.Context) -> None:
    """Takes another way once there is a file `turned` on the stage, in whichever process."""
    if (Path(os.environ["REWAKE_TEST_STAGE"]) / "turned").exists():
        await ctx.run_typed("other way", nothing)
    await ctx.run_typed("one way", nothing)
    await ctx.sleep(timedelta(hours=1))


app = restate.app([wanderer])
