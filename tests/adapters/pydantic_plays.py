"""Agents of Pydantic AI in handlers, one play for each row that a crash must not change."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import restate
from mcp.server import MCPServer
from pydantic_ai import Agent, BinaryContent, ModelRetry, RunContext, ToolReturn
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage
from pydantic_ai.toolsets import FunctionToolset
from pydantic_kit import Log, call, returned, script, text

from rewake.ext.pydantic import RestateAgent, RewakeDurability, restate_context

Handler = Callable[[restate.Context], Awaitable[Any]]
PIXEL = BinaryContent(b"\x89PNG\r\n\x1a\n" + bytes(range(256)), media_type="image/png")


@dataclass
class Play:
    """One handler with its agents. expected: its answer.   ran: how often each body ends in a run without a crash."""

    handler: Handler
    expected: Any
    ran: dict[str, int]


def tools_side_by_side(log: Log) -> Play:
    """Two tools of one answer; one asks the model to try again beside the other."""
    model = script(
        log,
        "desk",
        [call("look_up", "a", number=1), call("file", "b", number=2)],
        call("look_up", "c", number=3),
        text("done"),
    )
    agent = Agent(model, name="desk", capabilities=[RewakeDurability()])

    @agent.tool_plain
    async def look_up(number: int) -> str:
        with log.body(f"look_up {number}"):
            await asyncio.sleep(0.005)
        if number == 1:
            raise ModelRetry("another number")
        return f"found {number}"

    @agent.tool_plain
    def file(number: int) -> str:
        with log.body(f"file {number}"):
            return f"filed {number}"

    async def handler(ctx: restate.Context) -> Any:
        result = await agent.run("go")
        found = returned(result.all_messages())
        return [result.output, found["b"], found["c"], await ctx.run_typed("after", lambda: "after")]

    ran = {"desk 0": 1, "desk 1": 1, "desk 2": 1, "look_up 1": 1, "look_up 3": 1, "file 2": 1}
    return Play(handler, ["done", "filed 2", "found 3", "after"], ran)


def agents_as_tools(log: Log) -> Play:
    """Two specialists asked in one answer, each with a tool of its own."""
    specialists = {}
    for name in ("medical", "car"):
        model = script(log, name, call("cover", f"{name}-1"), text(f"{name} says yes"))
        specialists[name] = Agent(model, name=name, capabilities=[RewakeDurability()])

        @specialists[name].tool_plain
        async def cover(name: str = name) -> str:
            with log.body(f"cover {name}"):
                return "all"

    asked = [call("ask", "a", who="medical"), call("ask", "b", who="car")]
    intake = Agent(script(log, "intake", asked, text("both")), name="intake", capabilities=[RewakeDurability()])

    @intake.tool_plain
    async def ask(who: str) -> str:
        return (await specialists[who].run("well?")).output

    async def handler(ctx: restate.Context) -> Any:
        result = await intake.run("go")
        return [result.output, returned(result.all_messages())]

    ran = {f"{name} {number}": 1 for name in ("intake", "medical", "car") for number in (0, 1)}
    ran |= {"cover medical": 1, "cover car": 1}
    return Play(handler, ["both", {"a": "medical says yes", "b": "car says yes"}], ran)


def durable_tools(log: Log) -> Play:
    """A tool that uses the context, one that hides that it does, and a plain one, in one answer."""
    asked = [call("wait", "a"), call("hidden", "b"), call("plain", "c")]
    inner = Agent(script(log, "desk", asked, text("done")), name="desk")
    agent = RestateAgent(inner)
    hidden_context = {"get": restate_context}

    @inner.tool_plain
    async def wait() -> str:
        await restate_context().sleep(timedelta(milliseconds=5))
        return str(await restate_context().run_typed("charge", charge))

    @inner.tool_plain
    async def hidden() -> str:
        return str(await hidden_context["get"]().run_typed("refund", charge))

    @inner.tool_plain
    async def plain() -> str:
        with log.body("plain"):
            return "plain"

    async def charge() -> str:
        with log.body("charge"):
            return "charged"

    async def handler(ctx: restate.Context) -> Any:
        return returned((await agent.run("go")).all_messages())

    expected = {"a": "charged", "b": "charged", "c": "plain"}
    return Play(handler, expected, {"desk 0": 1, "desk 1": 1, "charge": 2, "plain": 1})


def images_and_deps(log: Log) -> Play:
    """An image from a tool reaches the model whole, and what cannot be stored stays in the process."""
    seen: list[list[ModelMessage]] = []
    agent = Agent(
        script(log, "desk", call("photo", "a"), text("seen"), seen=seen),
        name="desk",
        deps_type=object,
        capabilities=[RewakeDurability()],
    )

    @agent.tool
    async def photo(ctx: RunContext[Any]) -> ToolReturn:
        with log.body("photo"), ctx.deps:
            return ToolReturn("a photo", content=["look:", PIXEL], metadata={"taken": 1})

    async def handler(ctx: restate.Context) -> Any:
        result = await agent.run("go", deps=threading.Lock())
        images = [
            item.data == PIXEL.data and item.media_type == PIXEL.media_type
            for message in result.all_messages()
            for part in message.parts
            for item in (part.content if part.part_kind == "user-prompt" and not isinstance(part.content, str) else ())
            if isinstance(item, BinaryContent)
        ]
        return [result.output, images]

    return Play(handler, ["seen", [True]], {"desk 0": 1, "desk 1": 1, "photo": 1})


def a_dynamic_toolset(log: Log) -> Play:
    agent = Agent(script(log, "desk", call("lookup", "a"), text("done")), name="desk", capabilities=[])

    def toolset(ctx: RunContext[Any]) -> FunctionToolset[Any]:
        async def lookup() -> str:
            with log.body("lookup"):
                return "found"

        return FunctionToolset([lookup])

    agent.toolset(id="dynamic")(toolset)
    durable = RestateAgent(agent)

    async def handler(ctx: restate.Context) -> Any:
        return returned((await durable.run("go")).all_messages())

    return Play(handler, {"a": "found"}, {"desk 0": 1, "desk 1": 1, "lookup": 1})


def an_mcp_server(log: Log) -> Play:
    """Its list of tools and each call are steps; a new attempt connects anew only for what is left."""
    server = MCPServer("files")

    @server.tool()
    async def read_file(name: str) -> str:
        with log.body("read_file"):
            return f"content of {name}"

    model = script(log, "desk", call("read_file", "a", name="x"), text("done"))
    agent = RestateAgent(Agent(model, name="desk", toolsets=[MCPToolset(server)]))

    async def handler(ctx: restate.Context) -> Any:
        return returned((await agent.run("go")).all_messages())

    return Play(handler, {"a": "content of x"}, {"desk 0": 1, "desk 1": 1, "read_file": 1})


def events_and_streams(log: Log) -> Play:
    """A handler of events beside tools that run side by side, then a stream, then a step."""
    heard: list[str] = []

    async def hear(ctx: RunContext[Any], events: Any) -> None:
        heard.extend([event.event_kind async for event in events])

    asked = [call("one", "a"), call("two", "b")]
    inner = Agent(script(log, "desk", asked, text("a b c"), text("d e f")), name="desk")
    agent = RestateAgent(inner, event_stream_handler=hear)
    for name in ("one", "two"):

        async def tool(name: str = name) -> str:
            with log.body(name):
                await asyncio.sleep(0.002)
            return name

        inner.tool_plain(name=name)(tool)

    async def handler(ctx: restate.Context) -> Any:
        first = await agent.run("go")
        async with agent.run_stream("more", message_history=first.all_messages()) as stream:
            pieces = [piece async for piece in stream.stream_text(delta=True)]
        assert "function_tool_call" in heard
        return [first.output, "".join(pieces), await ctx.run_typed("after", lambda: "after")]

    return Play(handler, ["a b c ", "d e f ", "after"], {"desk 0": 1, "desk 1": 1, "desk 2": 1, "one": 1, "two": 1})


PLAYS = [
    tools_side_by_side, agents_as_tools, durable_tools, images_and_deps,
    a_dynamic_toolset, an_mcp_server, events_and_streams,
]  # fmt: skip
