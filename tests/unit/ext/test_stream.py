"""A step of the plain SDK that speaks."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import restate

from rewake.engine import Engine
from rewake.ext import stream
from rewake.streams.events import Delta, StepStarted, Void

QUICKLY = restate.InvocationRetryPolicy(timedelta(milliseconds=10), 1.0, timedelta(milliseconds=10), 100, "pause")
desk = restate.Service("Desk", invocation_retry_policy=QUICKLY)
tries: list[int] = []
heard = asyncio.Event()
"""Set when a reader has the first piece: what a try says is shown once the step's command is stored."""


async def ask_billing() -> str:
    tries.append(len(tries))
    async with stream.step("Ask billing", agent="Billing") as out:
        out.write("never mind" if len(tries) == 1 else "Yes")
        if len(tries) == 1:
            await asyncio.wait_for(heard.wait(), 30)
            raise ConnectionError("the model hung up")
    return "Yes"


@desk.handler()
async def ask(ctx: restate.Context) -> str:
    return await ctx.run_typed("Ask billing", ask_billing)


def test_pieces_of_a_step_are_shown_and_those_of_a_failed_try_are_void(tmp_path: Path) -> None:
    async def play() -> list[Any]:
        async with Engine(tmp_path, restate.app([desk])) as engine:
            invocation_id = await engine.send("Desk", "ask", None)
            found = []
            async for event in engine.stream(invocation_id):
                found.append(event)
                if isinstance(event, Delta):
                    heard.set()
            return found

    events = asyncio.run(play())
    kinds = [type(event) for event in events if isinstance(event, Delta | Void)]
    assert [event.data for event in events if isinstance(event, Delta)] == ["never mind", "Yes"]
    assert kinds[0] is Delta and kinds[-1] is Delta and Void in kinds
    assert {event.agent for event in events if isinstance(event, StepStarted)} <= {None, "Billing"}


def test_outside_of_a_handler_it_is_silent() -> None:
    async def play() -> None:
        async with stream.step("Ask billing") as out:
            out.write({"any": "thing"})

    asyncio.run(play())
