"""What the handlers of both_app.py are made of: marks, gates, steps, retry policies."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Literal

import restate
from restate import InvocationRetryPolicy, TerminalError

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


async def step(ctx: restate.Context, name: str) -> str:
    """A durable step that leaves a mark each time it really runs."""

    async def action() -> str:
        mark(ctx, f"ran {name}")
        return name

    return await ctx.run_typed(name, action)
