"""Chats of each policy for a message that comes in mid-turn; the agents look something up before they answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import restate
from agents import Agent, function_tool, set_tracing_disabled
from pydantic_ai import Agent as PydanticAgent
from starlette.applications import Starlette

from rewake.ext.chat import Chat, later_messages
from rewake.ext.kernel import durable_step

set_tracing_disabled(True)


@function_tool
async def look_up(what: str) -> str:
    """Look something up."""
    return f"{what} found"


guide = Agent[Any](name="Guide", instructions="you are guide", tools=[look_up])
reader = PydanticAgent("openai-chat:gpt-5", name="reader", instructions="you are reader")


@reader.tool_plain(name="look_up")
async def look_up_too(what: str) -> str:
    """Look something up."""
    return f"{what} found"


async def counts(text: str) -> str:
    """An agent of one's own, which asks itself."""
    await durable_step("think", lambda: "...")
    return "You said: " + "; ".join([text, *await later_messages()])


chats = {
    "steer": Chat("SteerDesk", guide, double_text="steer"),
    "reader": Chat("ReaderDesk", reader, double_text="steer"),
    "own": Chat("OwnDesk", counts, double_text="steer"),
    "queue": Chat("QueueDesk", guide),
    "interrupt": Chat("InterruptDesk", guide, double_text="interrupt"),
    "reject": Chat("RejectDesk", guide, double_text="reject"),
}
app = restate.app([service for chat in chats.values() for service in chat.services])


class Web:
    """All of them as one web app."""

    @staticmethod
    def web(ingress_url: str) -> Starlette:
        """Each below its name."""
        routes = [each for name, chat in chats.items() for each in chat.routes(f"/{name}", ingress_url=ingress_url)]
        return Starlette(routes=routes, lifespan=lifespan)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """That of each chat."""
    async with AsyncExitStack() as stack:
        for chat in chats.values():
            await stack.enter_async_context(chat.lifespan(app))
        yield
