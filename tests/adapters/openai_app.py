"""Handlers on OpenAI Agents, one for each habit of agents that must be durable. Tools leave marks in LAB_FOLDER."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import litellm_stand_in
import restate
from adapter_kit import Program, app_of, ask, mark
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrail,
    InputGuardrailTripwireTriggered,
    OpenAIChatCompletionsModel,
    OpenAIProvider,
    OpenAIResponsesModel,
    OutputGuardrail,
    RunConfig,
    RunContextWrapper,
    RunHooks,
    Runner,
    ToolGuardrailFunctionOutput,
    ToolOutputImage,
    function_tool,
    handoff,
    set_default_openai_client,
    set_tracing_disabled,
    tool_input_guardrail,
    tool_output_guardrail,
)
from agents.mcp import MCPServerStdio, MCPServerStreamableHttp
from agents.run_state import RunState
from openai import AsyncAzureOpenAI, AsyncOpenAI
from pydantic import BaseModel

from rewake.ext.kernel import parallel, restate_context
from rewake.ext.openai import ApprovalRequest, DurableRunner, durable_function_tool

set_tracing_disabled(True)
PROGRAMS: dict[str, Program] = {}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def row(program: Program) -> Program:
    """The program of the row with its name."""
    PROGRAMS[program.__name__] = program
    return program


def agent(name: str, **fields: Any) -> Agent[Any]:
    return Agent(name=name, instructions=f"you are {name}", **fields)


@function_tool
async def look_up(number: int) -> str:
    """Look a number up."""
    mark(f"look_up {number}")
    await asyncio.sleep(0.02)
    return f"{number} is fine"


@function_tool
def look_up_in_a_thread(number: int) -> str:
    """Look a number up without async."""
    mark(f"thread {number}")
    return f"{number} is fine"


@durable_function_tool
async def ask_twice(topic: str) -> str:
    """Two steps and a wait."""
    context = restate_context()
    first = await context.run_typed("first", lambda: mark("first", "1"))
    await context.sleep(timedelta(milliseconds=5))
    second = await context.run_typed("second", lambda: mark("second", "2"))
    return f"{topic} {first} {second}"


def _hidden() -> restate.Context:
    return getattr(sys.modules["rewake.ext.kernel"], "restate_" + "context")()  # type: ignore[no-any-return]


@function_tool
async def in_secret(topic: str) -> str:
    """Uses the context where no reader of its code would see it."""
    found = await _hidden().run_typed("secret", lambda: mark("secret", "found"))
    return f"{topic} {found}"


@dataclasses.dataclass
class Hands:
    """A context of the framework that holds the SDK's own."""

    held: restate.Context


@function_tool
async def in_hand(context: RunContextWrapper[Hands], topic: str) -> str:
    """Uses the SDK's own context, which the user gave to the run."""
    return f"{topic} {await context.context.held.run_typed('hand', lambda: mark('hand', 'held'))}"


@function_tool(failure_error_function=lambda _, error: f"failed: {error}")
async def fail(topic: str) -> str:
    """Fails."""
    mark("fail")
    raise ValueError(f"no {topic}")


@row
async def cycle(ctx: restate.Context, text: str) -> Any:
    """A router and a specialist that hand over to each other, one by object and one by list."""
    car, router = agent("car", tools=[look_up]), agent("router", tools=[look_up])
    router.handoffs, car.handoffs = [handoff(car, on_handoff=lambda _: mark("handed over"))], [router]
    result = await DurableRunner.run(router, text)
    return [result.final_output, result.last_agent is car, [item.agent.name for item in result.new_items]]


@row
async def tools(ctx: restate.Context, text: str) -> Any:
    """Tools of all kinds in one answer."""
    desk = agent("desk", tools=[look_up, look_up_in_a_thread, ask_twice, in_secret, in_hand, fail])
    result = await DurableRunner.run(desk, text, context=Hands(ctx))
    outputs = [item.output for item in result.new_items if item.type == "tool_call_output_item"]
    return [result.final_output, sorted(outputs)]


@row
async def both(ctx: restate.Context, text: str) -> Any:
    """A handoff and a tool in one answer."""
    billing = agent("billing")
    result = await DurableRunner.run(agent("triage", handoffs=[billing], tools=[look_up]), text)
    return [result.final_output, result.last_agent is billing]


@row
async def consult(ctx: restate.Context, text: str) -> Any:
    """Two agents as tools at once, one of them with a tool and a run_config of its own."""
    car = agent("car", tools=[look_up, ask_twice])
    med = agent("med")
    nested = RunConfig(model_provider=OpenAIProvider())
    asks = [car.as_tool("ask_car", "about cars", run_config=nested), med.as_tool("ask_med", "about health")]
    return (await DurableRunner.run(agent("boss", tools=asks), text)).final_output


class Verdict(BaseModel):
    is_fine: bool


async def _judge(context: RunContextWrapper[Any], _: Agent[Any], text: Any) -> GuardrailFunctionOutput:
    judged = (await Runner.run(agent("judge", output_type=Verdict), str(text), context=context.context)).final_output
    return GuardrailFunctionOutput(output_info=judged, tripwire_triggered=not judged.is_fine)


def _plain(
    _: RunContextWrapper[Any], __: Agent[Any], text: Any, what: str = "plain guardrail"
) -> GuardrailFunctionOutput:
    mark(what)
    return GuardrailFunctionOutput(output_info={"length": len(str(text))}, tripwire_triggered=False)


@row
async def guarded(ctx: restate.Context, text: str) -> Any:
    """Guardrails beside the model, before it, and after it."""
    desk = agent(
        "desk",
        tools=[look_up],
        input_guardrails=[
            InputGuardrail(_judge, name="judge"),
            InputGuardrail(_plain, name="plain"),
            InputGuardrail(_plain, name="before", run_in_parallel=False),
        ],
        output_guardrails=[OutputGuardrail(_judge, name="judge"), OutputGuardrail(_plain, name="plain")],
    )
    try:
        result = await DurableRunner.run(desk, text)
    except InputGuardrailTripwireTriggered as tripped:
        found = await ctx.run_typed("after", lambda: mark("after", "caught"))
        return [found, tripped.guardrail_result.output.output_info.is_fine]
    verdicts = [each.output.output_info for each in result.input_guardrail_results + result.output_guardrail_results]
    return [result.final_output, sum(isinstance(verdict, Verdict) for verdict in verdicts), len(verdicts)]


@function_tool(needs_approval=True)
async def pay(amount: int) -> str:
    """Pay."""
    mark(f"pay {amount}")
    return f"paid {amount}"


async def _ask(request: ApprovalRequest) -> None:
    mark(f"ask {request.tool} {request.arguments}")
    answer = json.loads(request.arguments).get("amount", 0) < 100
    ask(request.id, answer or {"approved": False, "reason": "too much"})


@row
async def approved(ctx: restate.Context, text: str) -> Any:
    """Two approvals in one answer and one after it; one of them in a consulted agent."""
    cashier = agent("cashier", tools=[pay])
    desk = agent("desk", tools=[look_up, pay, cashier.as_tool("ask_cashier", "pays")])
    result = await DurableRunner.run(desk, text, wait_for_approvals=_ask)
    return result.final_output


@row
async def approved_by_a_loop(ctx: restate.ObjectContext, text: str) -> Any:
    """The framework's own way: interruptions end the run, and one goes on from the state that the object has kept."""
    desk = agent("desk", tools=[look_up, pay])
    result = await DurableRunner.run(desk, text)
    while result.interruptions:
        ctx.set("waiting", result.to_state().to_string())
        answers = []
        for _ in result.interruptions:
            token, answer = ctx.awakeable(type_hint=bool)
            ask(token, True)
            answers.append(await answer)
        state: RunState[Any] = await RunState.from_string(desk, await ctx.get("waiting", type_hint=str) or "")
        for item, is_fine in zip(state.get_interruptions(), answers, strict=True):
            if is_fine:
                state.approve(item)
        result = await DurableRunner.run(desk, state)
    return result.final_output


class Events(RunHooks[Any]):
    """Hooks that see the user's own objects."""

    def __init__(self) -> None:
        self.agents: list[Any] = []

    async def on_agent_start(self, context: Any, agent: Any) -> None:
        self.agents.append(agent)


@row
async def streamed(ctx: restate.Context, text: str) -> Any:
    """A streamed run with a handoff and two tools."""
    car = agent("car", tools=[look_up, look_up_in_a_thread])
    router, hooks = agent("router", handoffs=[car]), Events()
    result = DurableRunner.run_streamed(router, text, hooks=hooks)
    names = [event.name async for event in result.stream_events() if event.type == "run_item_stream_event"]
    after = await ctx.run_typed("after", lambda: mark("after", "after"))
    return [
        result.final_output,
        [each is found for each, found in zip(hooks.agents, (router, car), strict=True)],
        names,
        after,
    ]


@dataclasses.dataclass
class Customer:
    name: str = "nobody"
    visits: int = 0


@function_tool
async def remember(context: RunContextWrapper[Customer], name: str) -> str:
    """Writes into the run's context, as the framework's own examples do."""
    mark("remember")
    context.context.name, context.context.visits = name, context.context.visits + 1
    return "noted"


@row
async def models(ctx: restate.Context, text: str) -> Any:
    """A Model object, a provider of the user's, a model of the run, structured output, a context that tools write."""
    own = OpenAIResponsesModel("own-model", client())
    customer = Customer()
    told = []
    with_own = agent("own", model=own, tools=[remember])
    told.append((await DurableRunner.run(with_own, text, context=customer)).final_output)
    config = RunConfig(model="of-the-run", model_provider=OpenAIProvider())
    told.append(
        (await DurableRunner.run(agent("named", output_type=Verdict), text, run_config=config)).final_output.is_fine
    )
    return [*told, dataclasses.astuple(customer), isinstance(with_own.model, OpenAIResponsesModel)]


@row
async def azure(ctx: restate.Context, text: str) -> Any:
    """Azure's client, with either of its interfaces."""
    url = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
    own = AsyncAzureOpenAI(azure_endpoint=url, api_key="none", api_version="2025-04-01-preview", max_retries=0)
    _clients.append(own)
    chat = agent("chat", model=OpenAIChatCompletionsModel("on-azure", own), tools=[look_up])
    chat.handoffs = [agent("responses", model=OpenAIResponsesModel("on-azure", own))]
    result = await DurableRunner.run(chat, text)
    return [result.final_output, result.last_agent.name]


@row
async def litellm(ctx: restate.Context, text: str) -> Any:
    """A model of another provider through LiteLLM."""
    litellm_stand_in.install()
    from agents.extensions.models.litellm_model import LitellmModel

    model = LitellmModel("openai/any", base_url=os.environ["OPENAI_BASE_URL"], api_key="none")
    desk = agent("desk", model=model, tools=[look_up])
    return [(await DurableRunner.run(desk, text)).final_output, isinstance(desk.model, LitellmModel)]


@row
async def session(ctx: restate.Context, text: str) -> Any:
    """Two turns in the state of an object."""
    first = await DurableRunner.run(agent("desk", tools=[look_up]), text, use_restate_session=True)
    second = await DurableRunner.run(agent("desk"), "and now?", use_restate_session=True)
    return [first.final_output, second.final_output, len(second.to_input_list())]


@row
async def mcp(ctx: restate.Context, text: str) -> Any:
    """A server over stdio that nobody has connected."""
    server = MCPServerStdio(
        {"command": sys.executable, "args": [str(Path(__file__).with_name("mcp_desk.py"))], "env": dict(os.environ)},
        name="desk",
        client_session_timeout_seconds=20,
    )
    return (await DurableRunner.run(agent("clerk", mcp_servers=[server]), text)).final_output


@row
async def mcp_over_http(ctx: restate.Context, text: str) -> Any:
    """A server over HTTP that nobody has connected."""
    server = MCPServerStreamableHttp({"url": os.environ["MCP_DESK_URL"]}, name="desk")
    return (await DurableRunner.run(agent("clerk", mcp_servers=[server]), text)).final_output


@function_tool
async def photo() -> ToolOutputImage:
    """Take a photo."""
    mark("photo")
    return ToolOutputImage(image_url=PIXEL)


@row
async def images(ctx: restate.Context, text: str) -> Any:
    """An image from a tool reaches the model whole."""
    result = await DurableRunner.run(agent("desk", tools=[photo]), text)
    sent = [item for item in result.to_input_list() if item.get("type") == "function_call_output"]
    return [result.final_output, [PIXEL in str(item) for item in sent]]


@function_tool
def check_policy(customer: str) -> str:
    """Look a policy up."""
    mark("check_policy")
    return f"{customer} is insured"


@function_tool
async def estimate_damage(description: str) -> str:
    """Estimate a repair."""
    mark("estimate_damage")
    return f"{description}: 90 EUR"


@function_tool(needs_approval=True)
async def close_case(summary: str) -> str:
    """Close the case."""
    mark("close_case")
    return f"closed: {summary}"


@row
async def story(ctx: restate.Context, text: str) -> Any:
    """Router, specialist, two tools, an approval, back to the router, another approval, answer."""
    router = agent("router", tools=[close_case])
    car = agent("car", tools=[check_policy, estimate_damage, pay], handoffs=[router])
    router.handoffs = [car]
    return (await DurableRunner.run(router, text, wait_for_approvals=_ask)).final_output


@function_tool(timeout=0.15)
async def slow() -> str:
    """Takes longer than it may."""
    mark("slow")
    await asyncio.sleep(5)
    return "too late"


@row
async def timed_out(ctx: restate.Context, text: str) -> Any:
    """A tool that its timer ends, beside another one."""
    result = await DurableRunner.run(agent("desk", tools=[slow, look_up]), text)
    return [item.output for item in result.new_items if item.type == "tool_call_output_item"]


@tool_input_guardrail
async def let_in(data: Any) -> ToolGuardrailFunctionOutput:
    mark("let in")
    return ToolGuardrailFunctionOutput.allow(output_info={"asked": 1})


@tool_input_guardrail
async def keep_out(data: Any) -> ToolGuardrailFunctionOutput:
    mark("keep out")
    return ToolGuardrailFunctionOutput.reject_content("not allowed")


@tool_output_guardrail
async def let_out(data: Any) -> ToolGuardrailFunctionOutput:
    mark("let out")
    return ToolGuardrailFunctionOutput.allow()


@function_tool(tool_input_guardrails=[let_in], tool_output_guardrails=[let_out])
async def checked() -> str:
    """A tool with guardrails."""
    mark("checked")
    return "checked"


@function_tool(tool_input_guardrails=[keep_out])
async def refused() -> str:
    """A tool that is never let in."""
    mark("refused")
    return "refused"


@row
async def tool_guardrails(ctx: restate.Context, text: str) -> Any:
    """Guardrails of tools, one of which drops its call."""
    result = await DurableRunner.run(agent("desk", tools=[checked, refused, look_up]), text)
    return [item.output for item in result.new_items if item.type == "tool_call_output_item"]


@row
async def streamed_and_tripped(ctx: restate.Context, text: str) -> Any:
    """A guardrail trips beside a streamed call."""
    result = DurableRunner.run_streamed(agent("desk", input_guardrails=[InputGuardrail(_judge, name="judge")]), text)
    try:
        async for _ in result.stream_events():
            pass
    except InputGuardrailTripwireTriggered:
        return await ctx.run_typed("after", lambda: "tripped")
    return "not tripped"


@durable_function_tool
async def ask_both(topic: str) -> str:
    """Two runs of agents side by side within a tool."""
    runs = (DurableRunner.run(agent(name), topic) for name in ("car", "med"))
    return " ".join(result.final_output for result in await parallel(*runs))


@function_tool
async def ask_one(topic: str) -> str:
    """A run of an agent within a tool that does not say so."""
    runner = getattr(sys.modules["rewake.ext.openai"], "Durable" + "Runner")
    return str((await runner.run(agent("house"), topic)).final_output)


@row
async def within_a_tool(ctx: restate.Context, text: str) -> Any:
    """Runs that tools start, beside a plain tool."""
    result = await DurableRunner.run(agent("boss", tools=[ask_both, ask_one, look_up]), text)
    return sorted(item.output for item in result.new_items if item.type == "tool_call_output_item")


@row
async def stop_at_the_tool(ctx: restate.Context, text: str) -> Any:
    """The tool's result is the answer, and two guardrails look at it."""
    checks = [OutputGuardrail(functools.partial(_plain, what=f"check {name}"), name=name) for name in ("one", "two")]
    desk = agent("desk", tools=[look_up], tool_use_behavior="stop_on_first_tool", output_guardrails=checks)
    result = await DurableRunner.run(desk, text)
    return [result.final_output, len(result.output_guardrail_results)]


_clients: list[AsyncOpenAI] = []


def client() -> AsyncOpenAI:
    """A client of the provider that the environment names.

    It keeps no connection: one that is kept belongs to the event loop of its test, and is closed in another one.
    """
    _clients.append(AsyncOpenAI(max_retries=0, default_headers={"connection": "close"}))
    return _clients[-1]


def start() -> None:
    """Give the framework a client of this event loop."""
    set_default_openai_client(client(), use_for_tracing=False)


async def close() -> None:
    """Close the clients of this event loop."""
    while _clients:
        await _clients.pop().close()


def make(codec: Any = None) -> Any:
    """The app. codec: of journal values."""
    start()
    return app_of(PROGRAMS, codec)
