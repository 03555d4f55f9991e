"""A desk that speaks word by word.

SPEAKING_FOLDER: holds `words`, how many a step may say, and `more` for the second one; without it it says all.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import restate

from rewake.ext.kernel import InPlace, current_run, durable_step, put_delta

QUICKLY = restate.InvocationRetryPolicy(timedelta(milliseconds=20), 1.0, timedelta(milliseconds=20), 100, "pause")
ANSWER = [f"word{number} " for number in range(12)]

desk = restate.Service("Desk", invocation_retry_policy=QUICKLY)


async def speak(limit: str = "words") -> str:
    for number, word in enumerate(ANSWER):
        await allowed(number, limit)
        put_delta(word)
        await asyncio.sleep(0.002)  # as a model: slower than a connection on this machine
    return "".join(ANSWER)


async def allowed(number: int, limit: str) -> None:
    path = Path(os.environ["SPEAKING_FOLDER"], limit)
    while path.exists() and int(path.read_text() or 0) <= number:
        await asyncio.sleep(0.005)


tries: dict[str, int] = {}


async def stutter() -> str:
    run_id = os.environ["SPEAKING_FOLDER"]
    tries[run_id] = tries.get(run_id, 0) + 1
    put_delta("never mind ")
    await asyncio.sleep(0.02)
    if tries[run_id] == 1:
        raise ConnectionError("the model hung up")
    put_delta("at last")
    await asyncio.sleep(0.02)
    return "at last"


@desk.handler()
async def ask(ctx: restate.Context) -> str:
    said: str = await durable_step("Desk: model", speak)
    return f"{said}{os.getpid() * 0}"


@desk.handler()
async def twice(ctx: restate.Context) -> list[str]:
    return [await durable_step(f"Desk: {limit}", speak, limit) for limit in ("words", "more")]


@desk.handler()
async def again(ctx: restate.Context) -> str:
    run = current_run()
    assert run is not None
    result: str = await run.step("Desk: model", stutter, retry=InPlace(attempts=2, first_delay_s=0.01))
    return result


@desk.handler()
async def wait(ctx: restate.Context) -> str:
    _, answer = ctx.awakeable(type_hint=str)
    return await answer


signup = restate.Workflow("Signup")


@signup.main()
async def run(ctx: restate.WorkflowContext) -> str:
    return await durable_step("Signup: model", speak)


app = restate.app([desk, signup])
