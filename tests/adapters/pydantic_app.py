"""Programs on Pydantic AI, one for each habit of agents that must be durable. Tools leave marks in LAB_FOLDER."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import restate
from adapter_kit import Program, app_of, ask, mark
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, ModelRetry, NativeOutput, RunContext, Tool, ToolOutput, ToolReturn
from pydantic_ai import capabilities as theirs
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter
from pydantic_ai.models.concurrency import ConcurrencyLimitedModel
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults
from pydantic_ai.toolsets import FunctionToolset

from rewake.ext.kernel import parallel
from rewake.ext.pydantic import RestateAgent, RewakeDurability, restate_context

PROGRAMS: dict[str, Program] = {}
PIXEL = BinaryContent(b"\x89PNG\r\n\x1a\n" + bytes(range(256)), media_type="image/png")


def row(program: Program) -> Program:
    """The program of the row with its name."""
    PROGRAMS[program.__name__] = program
    return program


def model(name: str = "gpt-test") -> OpenAIResponsesModel:
    return OpenAIResponsesModel(name, provider=OpenAIProvider(openai_client=_client()))


def agent(name: str, **fields: Any) -> Agent[Any, Any]:
    """A durable agent. fields: as of Agent."""
    capabilities = [RewakeDurability(), *fields.pop("capabilities", ())]
    return Agent(
        fields.pop("model", None) or model(),
        name=name,
        capabilities=capabilities,
        instructions=f"you are {name}",
        **fields,
    )


def told(messages: Sequence[ModelMessage]) -> list[Any]:
    """What the model read of its tools: results, and what they ask it to do again."""
    parts = [part for message in messages for part in message.parts]
    return [part.content for part in parts if part.part_kind in ("tool-return", "retry-prompt")]


async def look_up(number: int) -> str:
    """Look a number up."""
    mark(f"look_up {number}")
    await asyncio.sleep(0.02)
    return f"{number} is fine"


def look_up_in_a_thread(number: int) -> str:
    """Look a number up without async."""
    mark(f"thread {number}")
    return f"{number} is fine"


async def ask_twice(topic: str) -> str:
    """Two steps and a wait."""
    context = restate_context()
    first = await context.run_typed("first", lambda: mark("first", "1"))
    await context.sleep(timedelta(milliseconds=5))
    second = await context.run_typed("second", lambda: mark("second", "2"))
    return f"{topic} {first} {second}"


def _hidden() -> restate.Context:
    return getattr(sys.modules["rewake.ext.kernel"], "restate_" + "context")()  # type: ignore[no-any-return]


async def in_secret(topic: str) -> str:
    """Uses the context where no reader of its code would see it."""
    found = await _hidden().run_typed("secret", lambda: mark("secret", "found"))
    return f"{topic} {found}"


async def in_hand(context: RunContext[restate.Context], topic: str) -> str:
    """Uses the SDK's own context, which the user gave to the run."""
    return f"{topic} {await context.deps.run_typed('hand', lambda: mark('hand', 'held'))}"


async def fail(topic: str) -> str:
    """Asks the model to do it again."""
    mark("fail")
    raise ModelRetry(f"failed: no {topic}")


class ToCar(BaseModel):
    """Hand over to the car specialist."""


class ToRouter(BaseModel):
    """Hand back to the router."""


class ToBilling(BaseModel):
    """Hand over to billing."""


@row
async def cycle(ctx: restate.Context, text: str) -> Any:
    """A router and a specialist that hand over to each other by what they give out."""
    router = agent("router", tools=[look_up], output_type=ToolOutput(ToCar, name="transfer_to_car"))
    car = agent("car", tools=[look_up], output_type=[ToolOutput(ToRouter, name="transfer_to_router"), str])
    asked, names = router, list[Any]()
    while True:
        output = (await asked.run(f"{text} {len(names)}")).output
        names.append(asked.name)
        if isinstance(output, str):
            return [output, names]
        await ctx.run_typed("hand over", lambda: mark("handed over"))
        asked = car if isinstance(output, ToCar) else router


async def fallback(ctx: restate.Context, text: str) -> Any:
    """Models that fail: a capability goes on to the next one, for a whole run and a streamed one; a model of models."""
    well = ConcurrencyLimitedModel(model("well"), limiter=1)
    several = agent(
        "several",
        model=model("busy"),
        capabilities=[theirs.ModelFallback(model("refuses"), well)],
        tools=[look_up],
    )
    inside = agent("inside", model=FallbackModel(model("busy"), well), tools=[look_up])
    first = await several.run(text)
    async with inside.run_stream(text) as second:
        said = await second.get_output()
    return [[first.output, _models(first.all_messages())], [said, _models(second.all_messages())]]


def _models(messages: Sequence[ModelMessage]) -> list[Any]:
    return [message.model_name for message in messages if message.kind == "response"]


if hasattr(theirs, "ModelFallback"):
    row(fallback)


@row
async def tools(ctx: restate.Context, text: str) -> Any:
    """Tools of all kinds in one answer; one of them asks for another try."""
    tools: list[Any] = [look_up, look_up_in_a_thread, ask_twice, in_secret, in_hand, fail]
    desk = RestateAgent(Agent(model(), name="desk", deps_type=restate.Context, tools=tools))
    result = await desk.run(text, deps=ctx)
    return [result.output, sorted(told(result.all_messages()))]


@row
async def both(ctx: restate.Context, text: str) -> Any:
    """A handover and a tool in one answer."""
    handover = ToolOutput(ToBilling, name="transfer_to_billing")
    triage = agent("triage", tools=[look_up], output_type=handover, end_strategy="exhaustive")
    output = (await triage.run(text)).output
    return [(await agent("billing").run(text)).output, isinstance(output, ToBilling)]


@row
async def consult(ctx: restate.Context, text: str) -> Any:
    """Two agents as tools at once, one of them with tools of its own."""
    car, med = agent("car", tools=[look_up, ask_twice]), agent("med")

    async def ask_car(input: str) -> str:
        return str((await car.run(input)).output)

    async def ask_med(input: str) -> str:
        return str((await med.run(input)).output)

    return (await agent("boss", tools=[ask_car, ask_med]).run(text)).output


class Verdict(BaseModel):
    is_fine: bool


@row
async def guarded(ctx: restate.Context, text: str) -> Any:
    """An output validator that asks a model: it lets the answer out, or asks for another one."""
    judge, desk = agent("judge", output_type=NativeOutput(Verdict)), agent("desk", tools=[look_up])
    judged = []

    @desk.output_validator
    async def check(output: str) -> str:
        judged.append((await judge.run(output)).output.is_fine)
        if not judged[-1]:
            raise ModelRetry("not like this")
        return output

    return [(await desk.run(text)).output, judged]


@row
async def tool_guardrails(ctx: restate.Context, text: str) -> Any:
    """A validator of arguments, which drops one call of three."""

    def check(ctx: RunContext[Any], number: int) -> None:
        mark(f"check {number}")
        if number > 100:
            raise ModelRetry("not allowed")

    desk = agent("desk", tools=[Tool(look_up, args_validator=check)])
    result = await desk.run(text)
    return [result.output, sorted(told(result.all_messages()))]


async def pay(amount: int) -> str:
    """Pay."""
    mark(f"pay {amount}")
    return f"paid {amount}"


def approvals() -> Any:
    """Asks for each answer's approvals with one question; small sums are approved."""

    def asking(ctx: RunContext[Any], requests: DeferredToolRequests, token: str) -> None:
        answers: dict[str, Any] = {}
        for call in requests.approvals:
            mark(f"ask {call.tool_name} {json.dumps(call.args_as_dict())}")
            refused = call.args_as_dict().get("amount", 0) >= 100
            answers[call.tool_call_id] = {"kind": "tool-denied", "message": "too much"} if refused else True
        ask(token, {"approvals": answers})

    return theirs.RequestInput(ask=asking)


@row
async def approved(ctx: restate.Context, text: str) -> Any:
    """Two approvals in one answer and one after it; one of them in a consulted agent."""
    paying = Tool(pay, requires_approval=True)
    cashier = agent("cashier", tools=[paying], capabilities=[approvals()])

    async def ask_cashier(input: str) -> str:
        return str((await cashier.run(input)).output)

    desk = agent("desk", tools=[look_up, paying, ask_cashier], capabilities=[approvals()])
    return (await desk.run(text)).output


@row
async def approved_by_a_loop(ctx: restate.ObjectContext, text: str) -> Any:
    """The framework's own way: deferred calls end the run, and one goes on from what the object has kept of it."""
    desk = agent("desk", tools=[look_up, Tool(pay, requires_approval=True)], output_type=[str, DeferredToolRequests])
    result = await desk.run(text)
    while isinstance(result.output, DeferredToolRequests):
        ctx.set("waiting", result.all_messages_json().decode())
        answers = {}
        for call in result.output.approvals:
            token, answer = ctx.awakeable(type_hint=bool)
            ask(token, True)
            answers[call.tool_call_id] = await answer
        kept = ModelMessagesTypeAdapter.validate_json(await ctx.get("waiting", type_hint=str) or "[]")
        given = DeferredToolResults(approvals={**answers})
        result = await desk.run(message_history=kept, deferred_tool_results=given)
    return result.output


def check_policy(customer: str) -> str:
    """Look a policy up."""
    mark("check_policy")
    return f"{customer} is insured"


async def estimate_damage(description: str) -> str:
    """Estimate a repair."""
    mark("estimate_damage")
    return f"{description}: 90 EUR"


async def close_case(summary: str) -> str:
    """Close the case."""
    mark("close_case")
    return f"closed: {summary}"


@row
async def story(ctx: restate.Context, text: str) -> Any:
    """Router, specialist, two tools, an approval, back to the router, another approval, answer."""
    asking = [approvals()]
    car = agent(
        "car",
        tools=[check_policy, estimate_damage, Tool(pay, requires_approval=True)],
        output_type=ToolOutput(ToRouter, name="transfer_to_router"),
        capabilities=asking,
    )
    router = agent(
        "router",
        tools=[Tool(close_case, requires_approval=True)],
        output_type=[ToolOutput(ToCar, name="transfer_to_car"), str],
        capabilities=asking,
    )
    history: list[ModelMessage] | None = None
    asked = router
    while True:
        result = await asked.run(text if history is None else None, message_history=history)
        history = result.all_messages()
        if isinstance(result.output, str):
            return result.output
        asked = car if isinstance(result.output, ToCar) else router


@row
async def streamed(ctx: restate.Context, text: str) -> Any:
    """A stream that ends in a handover, then one of events with two tools, then a step."""
    router = agent("router", output_type=ToolOutput(ToCar, name="transfer_to_car"))
    async with router.run_stream(text) as stream:
        handover = await stream.get_output()
    kinds, output = [], None
    async with agent("car", tools=[look_up, look_up_in_a_thread]).run_stream_events(text) as events:
        async for event in events:
            if event.event_kind.startswith("function_tool"):
                kinds.append(event.event_kind)
            elif event.event_kind == "agent_run_result":
                output = event.result.output
    after = await ctx.run_typed("after", lambda: mark("after", "after"))
    return [output, isinstance(handover, ToCar), kinds, after]


@row
async def heard(ctx: restate.Context, text: str) -> Any:
    """A handler of events beside tools that run side by side, then a stream of text."""

    async def hear(ctx: RunContext[Any], events: Any) -> None:
        async for event in events:
            if event.event_kind == "function_tool_call":
                mark(f"heard {event.part.tool_name}")

    inner = Agent(model(), name="desk", instructions="you are desk", tools=[look_up, look_up_in_a_thread])
    desk = RestateAgent(inner, event_stream_handler=hear)
    first = await desk.run(text)
    async with desk.run_stream("more", message_history=first.all_messages()) as stream:
        pieces = [piece async for piece in stream.stream_text(delta=True)]
    return [first.output, "".join(pieces)]


def remember(ctx: RunContext[Any], name: str) -> str:
    """Uses what is in the process and never stored."""
    with ctx.deps:
        mark("remember")
    return "noted"


@row
async def models(ctx: restate.Context, text: str) -> Any:
    """The agent's own model, one for the run, one by id; structured output; dependencies that cannot be stored."""
    own = agent("own", model=model("own-model"), tools=[remember], deps_type=object)
    said = [(await own.run(text, deps=threading.Lock())).output]
    durability = RewakeDurability[Any](models={"registered": model("by-id")})
    named = Agent(model(), name="named", capabilities=[durability], output_type=NativeOutput(Verdict))
    of_the_run = await named.run(text, model=model("of-the-run"))
    by_id = await named.run(text, model="registered")
    return [*said, of_the_run.output.is_fine, by_id.output.is_fine]


@row
async def session(ctx: restate.ObjectContext, text: str) -> Any:
    """Two turns, the conversation in the state of an object."""
    desk = agent("desk", tools=[look_up])
    first = await desk.run(text)
    ctx.set("conversation", first.all_messages_json().decode())
    stored = await ctx.get("conversation", type_hint=str)
    history = ModelMessagesTypeAdapter.validate_json(stored or "[]")
    second = await desk.run("and now?", message_history=history)
    return [first.output, second.output, len(second.all_messages())]


@row
async def mcp(ctx: restate.Context, text: str) -> Any:
    """A server over stdio."""
    from fastmcp.client.transports import StdioTransport

    script = str(Path(__file__).with_name("mcp_desk.py"))
    transport = StdioTransport(sys.executable, [script], env=dict(os.environ))
    return (await agent("clerk", toolsets=[MCPToolset(transport, id="desk")]).run(text)).output


@row
async def mcp_over_http(ctx: restate.Context, text: str) -> Any:
    """A server over HTTP."""
    toolset = MCPToolset(os.environ["MCP_DESK_URL"], id="desk")
    return (await agent("clerk", toolsets=[toolset]).run(text)).output


@row
async def dynamic_tools(ctx: restate.Context, text: str) -> Any:
    """A toolset that is made for each run, and one that is given to this run."""
    inner = Agent(model(), name="desk")

    @inner.toolset(id="made-for-the-run")
    def toolset(ctx: RunContext[Any]) -> FunctionToolset[Any]:
        return FunctionToolset([look_up])

    given: FunctionToolset[Any] = FunctionToolset([look_up_in_a_thread])
    return (await RestateAgent(inner).run(text, toolsets=[given])).output


@row
async def images(ctx: restate.Context, text: str) -> Any:
    """An image from a tool reaches the model whole."""

    async def photo() -> ToolReturn[str]:
        mark("photo")
        return ToolReturn("a photo", content=["look:", PIXEL], metadata={"taken": 1})

    result = await agent("desk", tools=[photo]).run(text)
    contents = [getattr(part, "content", None) for message in result.all_messages() for part in message.parts]
    found = [each for content in contents if isinstance(content, list) for each in content]
    return [result.output, [each.data == PIXEL.data for each in found if isinstance(each, BinaryContent)]]


async def slow() -> str:
    """Takes longer than it may."""
    mark("slow")
    await asyncio.sleep(5)
    return "too late"


@row
async def timed_out(ctx: restate.Context, text: str) -> Any:
    """A tool that its timer ends, beside another one."""
    result = await agent("desk", tools=[Tool(slow, timeout=0.15), look_up]).run(text)
    return told(result.all_messages())


@row
async def within_a_tool(ctx: restate.Context, text: str) -> Any:
    """Runs that tools start, some side by side, beside a plain tool."""
    helpers, hidden = [agent("car"), agent("med")], {"house": agent("house")}

    async def ask_both(topic: str) -> str:
        return " ".join(result.output for result in await parallel(*(each.run(topic) for each in helpers)))

    async def ask_one(topic: str) -> str:
        return str((await hidden["house"].run(topic)).output)

    result = await agent("boss", tools=[ask_both, ask_one, look_up]).run(text)
    return sorted(told(result.all_messages()))


_clients: list[AsyncOpenAI] = []


def _client() -> AsyncOpenAI:
    if not _clients:
        _clients.append(AsyncOpenAI(max_retries=0, default_headers={"connection": "close"}))
    return _clients[0]


def start() -> None:
    """Nothing: the client is made when it is needed."""


async def close() -> None:
    """Close the client of this event loop."""
    while _clients:
        await _clients.pop().close()


def make(codec: Any = None) -> Any:
    """The app. codec: of journal values."""
    return app_of(PROGRAMS, codec)
