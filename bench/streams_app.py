"""Handlers that speak, for streams.py; beside them the service that others call meanwhile."""

from __future__ import annotations

import asyncio
import time

import restate

from bench.app import steps
from rewake.ext.kernel import durable_step, put_delta

speaker = restate.Service("Speaker")


async def speak(seconds: float, per_second: float, is_silent: bool) -> int:
    """Says what time it is, in nanoseconds."""
    count = max(round(seconds * per_second), 1)
    began = time.perf_counter()
    for number in range(count):
        if not is_silent:
            put_delta(str(time.time_ns()))
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
async def say(ctx: restate.Context, given: tuple[float, float, bool]) -> int:
    result: int = await durable_step("Desk: model", speak, *given)
    return result


@speaker.handler()
async def flood(ctx: restate.Context, size: int) -> int:
    result: int = await durable_step("Desk: model", pour, size)
    return result


crowd = restate.Workflow("Crowd")


@crowd.main()
async def run(ctx: restate.WorkflowContext, given: tuple[float, float, bool]) -> int:
    """Says nothing before all readers are there."""
    await ctx.promise("all are there", type_hint=bool).value()
    result: int = await durable_step("Desk: model", speak, *given)
    return result


@crowd.handler()
async def begin(ctx: restate.WorkflowSharedContext) -> None:
    await ctx.promise("all are there", type_hint=bool).resolve(True)


app = restate.app([speaker, crowd, steps])
