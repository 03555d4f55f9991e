"""Handlers that speak, for streams.py, and a chat; beside them the service that others call meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

import restate

from bench.app import steps
from rewake.ext.chat import Chat
from rewake.ext.kernel import durable_step, put_delta

WINDOW_MS = 500
THINKS_S = 0.05
How = Literal["aloud", "silent", "in turns"]

speaker = restate.Service("Speaker")


def is_spoken_at(now_ms: int) -> bool:
    """Whether those who speak in turns do so now: all together, in every other window."""
    return now_ms // WINDOW_MS % 2 == 1


async def speak(seconds: float, per_second: float, how: How) -> int:
    """Says what time it is, in nanoseconds."""
    count = max(round(seconds * per_second), 1)
    began = time.perf_counter()
    for number in range(count):
        now_ns = time.time_ns()
        if how == "aloud" or (how == "in turns" and is_spoken_at(now_ns // 1_000_000)):
            put_delta(str(now_ns))
        await asyncio.sleep(max(began + (number + 1) / per_second - time.perf_counter(), 0))
    return count


async def pour(size: int) -> int:
    """Says as much as a run may, in pieces of 1 KiB."""
    for number in range(size // 1024):
        put_delta("x" * 1024)
        if number % 16 == 0:
            await asyncio.sleep(0.001)
    return size


@speaker.handler()
async def say(ctx: restate.Context, given: tuple[float, float, How]) -> int:
    result: int = await durable_step("Desk: model", speak, *given)
    return result


@speaker.handler()
async def flood(ctx: restate.Context, size: int) -> int:
    result: int = await durable_step("Desk: model", pour, size)
    return result


crowd = restate.Workflow("Crowd")


@crowd.main()
async def run(ctx: restate.WorkflowContext, given: tuple[float, float, How]) -> int:
    """Says nothing before all readers are there."""
    await ctx.promise("all are there", type_hint=bool).value()
    result: int = await durable_step("Desk: model", speak, *given)
    return result


@crowd.handler()
async def begin(ctx: restate.WorkflowSharedContext) -> None:
    await ctx.promise("all are there", type_hint=bool).resolve(True)


async def think() -> str:
    """A model: says when it was asked and, after a moment, what time it is."""
    asked_ns = time.time_ns()
    await asyncio.sleep(THINKS_S)
    put_delta(f"{asked_ns} {time.time_ns()}")
    await asyncio.sleep(THINKS_S)
    return "said"


async def answer(message: str) -> str:
    """One model call."""
    result: str = await durable_step("Desk: model", think)
    return result


chat = Chat("ChatDesk", answer)
web = chat.web()
app = restate.app([speaker, crowd, steps, *chat.services])
