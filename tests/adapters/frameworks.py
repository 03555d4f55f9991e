"""A framework of agents in a few lines, with the habits of real ones: own tasks, drops, delays, cancellations."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from rewake.ext.kernel import Envelope, InPlace, Run


class ToolFailed(Exception):
    """A tool that fails, as frameworks raise it."""


@dataclass(frozen=True)
class Call:
    """One call of a model's answer. steps: 0 for one that raises at once. is_dropped: never started (approval)."""

    key: str
    steps: int = 1
    is_dropped: bool = False


Body = Callable[[str], Awaitable[str]]


async def turn(run: Run, calls: Sequence[Call], body: Body, hook_s: float) -> list[str]:
    """Start the calls of an answer in tasks; the first failure cancels the rest. hook_s: hooks take so long."""

    async def one(call: Call) -> str:
        await asyncio.sleep(random.uniform(0, hook_s))
        return await run.piece(call.key, lambda: steps_of(run, call, body))

    run.expect([call.key for call in calls])
    tasks = [asyncio.ensure_future(one(call)) for call in calls if not call.is_dropped]
    done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION) if tasks else (set(), set())
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    problems = [task.exception() for task in done]
    if problem := next((each for each in problems if each is not None), None):
        raise problem
    return [task.result() for task in tasks]


async def steps_of(run: Run, call: Call, body: Body) -> str:
    """A tool with several entries."""
    if not call.steps:
        raise ToolFailed(call.key)
    return "+".join([await step(run, f"{call.key}.{number}", body) for number in range(call.steps)])


async def step(run: Run, name: str, body: Body) -> str:
    """One step as adapters record it."""

    async def work() -> Envelope:
        return Envelope(kind="tool", framework="test", value=await body(name))

    return str((await run.record(name, work, retry=InPlace(attempts=1))).value)
