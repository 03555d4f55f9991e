"""The agent work: router, handoff, tool, answer, three model calls in all, made durable in one of three ways.

`BENCH_FRAMEWORK` says whose agents they are (`openai`, `pydantic`), `BENCH_EXTENSION` what makes them durable: `bare`
for nothing, `restate` for the official extension, `rewake` for ours, `beside` for nothing but an empty step of the
plain SDK before each model call. The agents are the same; only the import differs. `app` is a restate app, or with
`bare` a plain ASGI app with the same path.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Awaitable, Callable
from typing import Any

import restate
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from restate.extensions import current_context

from bench.agent_parts import MODEL, QUESTION, ROUTER, SPECIALIST, answering

EXTENSION = os.environ.get("BENCH_EXTENSION", "rewake")
FRAMEWORK = os.environ.get("BENCH_FRAMEWORK", "pydantic")
STEPS = 4

Run = Callable[[], Awaitable[str]]


def extension(framework: str) -> Any:
    """The module that makes agents durable."""
    home = {"restate": "restate.ext", "rewake": "rewake.ext"}[EXTENSION]
    return importlib.import_module(f"{home}.{framework}")


def look_up_cover(customer: str) -> str:
    """What the customer's contract covers."""
    return f"windscreen in full ({customer})"


def client() -> AsyncOpenAI:
    """The provider's client; with `beside` it makes a step before it sends."""
    http = DefaultAsyncHttpxClient(event_hooks={"request": [step_before]}) if EXTENSION == "beside" else None
    return AsyncOpenAI(max_retries=0, http_client=http)


async def step_before(request: object) -> None:
    """An empty step of the handler."""
    ctx = current_context()
    assert ctx is not None
    await ctx.run_typed("empty", empty)


def pydantic_run() -> Run:
    """Agents of Pydantic AI; the router's output hands over."""
    from pydantic import BaseModel
    from pydantic_ai import Agent, ToolOutput
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    class Transfer(BaseModel):
        """Hand the question over."""

    capabilities: list[Any] = [extension("pydantic").RewakeDurability()] if EXTENSION == "rewake" else []
    model = OpenAIResponsesModel(MODEL, provider=OpenAIProvider(openai_client=client()))
    router: Any = Agent(
        model,
        name="router",
        instructions=ROUTER,
        output_type=ToolOutput(Transfer, name="transfer_to_specialist"),
        capabilities=capabilities,
    )
    specialist: Any = Agent(
        model, name="specialist", instructions=SPECIALIST, tools=[look_up_cover], capabilities=capabilities
    )
    if EXTENSION == "restate":
        durable = extension("pydantic").RestateAgent
        router, specialist = durable(router), durable(specialist, auto_wrap_tools=True)

    async def run() -> str:
        await router.run(QUESTION)
        return str((await specialist.run(QUESTION)).output)

    return run


def openai_run() -> Run:
    """Agents of the OpenAI Agents SDK; the router hands over."""
    from agents import Agent, Runner, function_tool, set_default_openai_client, set_tracing_disabled

    set_tracing_disabled(True)
    set_default_openai_client(client(), use_for_tracing=False)
    runner: Any = Runner if EXTENSION in ("bare", "beside") else extension("openai").DurableRunner
    make_tool: Any = extension("openai").durable_function_tool if EXTENSION == "restate" else function_tool
    specialist = Agent(name="specialist", model=MODEL, instructions=SPECIALIST, tools=[make_tool(look_up_cover)])
    router = Agent(name="router", model=MODEL, instructions=ROUTER, handoffs=[specialist])

    async def run() -> str:
        return str((await runner.run(router, QUESTION)).final_output)

    return run


run_agents = {"pydantic": pydantic_run, "openai": openai_run}[FRAMEWORK]()


def durable_app() -> Any:
    """The agents as a handler."""
    agents = restate.Service("Agents")

    @agents.handler()
    async def answer(ctx: restate.Context, number: int) -> str:
        said = await run_agents()
        if EXTENSION == "beside":
            await ctx.run_typed("empty", empty)  # for the tool
        return said

    @agents.handler()
    async def steps(ctx: restate.Context, number: int) -> str:
        """As many steps as a run of the agents has, with empty bodies: what engine and SDK cost by themselves."""
        for _ in range(STEPS):
            await ctx.run_typed("empty", empty)
        return "done"

    return restate.app([agents])


async def empty() -> None:
    """The body of a step that does nothing."""


app = answering(run_agents) if EXTENSION == "bare" else durable_app()
