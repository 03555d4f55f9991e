"""The agent work: router, handoff, tool, answer, three model calls in all, made durable in one of three ways.

`BENCH_FRAMEWORK` says whose agents they are (`openai`, `pydantic`), `BENCH_EXTENSION` what makes them durable: `bare`
for nothing, `restate` for the official extension, `rewake` for ours. The agents are the same; only the import differs.
`app` is a restate app, or with `bare` a plain ASGI app with the same path.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import restate
from openai import AsyncOpenAI

EXTENSION = os.environ.get("BENCH_EXTENSION", "rewake")
FRAMEWORK = os.environ.get("BENCH_FRAMEWORK", "pydantic")
QUESTION = "Is my windscreen covered?"
ROUTER, SPECIALIST = "You route questions to the specialist.", "You are the specialist of an insurer."
MODEL = "gpt-bench"
STEPS = 4

Run = Callable[[], Awaitable[str]]


def extension(framework: str) -> Any:
    """The module that makes agents durable."""
    home = {"restate": "restate.ext", "rewake": "rewake.ext"}[EXTENSION]
    return importlib.import_module(f"{home}.{framework}")


def look_up_cover(customer: str) -> str:
    """What the customer's contract covers."""
    return f"windscreen in full ({customer})"


def pydantic_run() -> Run:
    """Agents of Pydantic AI; the router's output hands over."""
    from pydantic import BaseModel
    from pydantic_ai import Agent, ToolOutput
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    class Transfer(BaseModel):
        """Hand the question over."""

    model = OpenAIResponsesModel(MODEL, provider=OpenAIProvider(openai_client=AsyncOpenAI(max_retries=0)))
    router: Any = Agent(
        model,
        name="router",
        instructions=ROUTER,
        output_type=ToolOutput(Transfer, name="transfer_to_specialist"),
    )
    specialist: Any = Agent(model, name="specialist", instructions=SPECIALIST, tools=[look_up_cover])
    if EXTENSION != "bare":
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
    set_default_openai_client(AsyncOpenAI(max_retries=0), use_for_tracing=False)
    runner: Any = Runner if EXTENSION == "bare" else extension("openai").DurableRunner
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
        return await run_agents()

    @agents.handler()
    async def steps(ctx: restate.Context, number: int) -> str:
        """As many steps as a run of the agents has, with empty bodies: what engine and SDK cost by themselves."""
        for _ in range(STEPS):
            await ctx.run_typed("empty", empty)
        return "done"

    return restate.app([agents])


async def empty() -> None:
    """The body of a step that does nothing."""


async def bare_app(scope: Any, receive: Any, send: Any) -> None:
    """The agents without an engine, for any path."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    body = json.dumps(await run_agents()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = bare_app if EXTENSION == "bare" else durable_app()
