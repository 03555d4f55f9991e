"""Objects whose questions wait between turns, for a web server: one of each framework that is installed."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import restate
from adapter_kit import mark

from rewake.ext.kernel import Approvals

os.environ.setdefault("OPENAI_API_KEY", "scripted")
CHANGED = Path(os.environ.get("LAB_FOLDER", ".")) / "changed"
PAYS = f"Pay a claim{' in full' if CHANGED.exists() else ''}."
"""The description of the tool, another one in the code of a later day."""

ASKING = Approvals(who="finance")


def openai_desk() -> restate.VirtualObject:
    from agents import Agent, RunState, function_tool, set_tracing_disabled

    from rewake.ext.openai import BetweenTurns, DurableRunner

    set_tracing_disabled(True)

    @function_tool(needs_approval=True, description_override=PAYS)
    async def pay(amount: int) -> str:
        mark(f"pay {amount}")
        return f"paid {amount}"

    claims = Agent[Any](name="Claims", instructions="you are claims", tools=[pay])
    desk = restate.VirtualObject("OpenAIDesk")
    questions = BetweenTurns(desk, claims, ASKING)

    @desk.handler()
    async def message(ctx: restate.ObjectContext, text: str) -> Any:
        return await questions.leave(await DurableRunner.run(claims, text))

    @questions.next_turn
    async def decided(ctx: restate.ObjectContext, state: RunState[Any]) -> None:
        ctx.set("answer", await questions.leave(await DurableRunner.run(claims, state)))

    return desk


def pydantic_desk() -> restate.VirtualObject:
    from pydantic_ai import Agent, Tool
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults

    from rewake.ext.pydantic import BetweenTurns, RewakeDurability

    async def pay(amount: int) -> str:
        mark(f"pay {amount}")
        return f"paid {amount}"

    claims = Agent(
        "openai-chat:gpt-5",
        name="claims",
        instructions="you are claims",
        output_type=[str, DeferredToolRequests],
        tools=[Tool(pay, requires_approval=True, description=PAYS)],
        capabilities=[RewakeDurability()],
    )
    desk = restate.VirtualObject("PydanticDesk")
    questions = BetweenTurns(desk, claims, ASKING)

    @desk.handler()
    async def message(ctx: restate.ObjectContext, text: str) -> Any:
        return await questions.leave(await claims.run(text))

    @questions.next_turn
    async def decided(ctx: restate.ObjectContext, messages: list[ModelMessage], results: DeferredToolResults) -> None:
        done = await claims.run(message_history=messages, deferred_tool_results=results)
        ctx.set("answer", await questions.leave(done))

    return desk


FRAMEWORKS = {"agents": openai_desk, "pydantic_ai": pydantic_desk}
app = restate.app([make() for package, make in FRAMEWORKS.items() if find_spec(package) is not None])
