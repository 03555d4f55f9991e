"""A desk that journals whole replies of two providers as they come: a chat completion, and a message of Anthropic's."""

from __future__ import annotations

from typing import Any

import restate
from anthropic.types import Message, TextBlock, ToolUseBlock, Usage
from openai import AsyncOpenAI

client = AsyncOpenAI(max_retries=0)
chat_desk = restate.VirtualObject("ChatDesk")
TOOL: Any = {
    "type": "function",
    "function": {"name": "transfer_to_billing", "parameters": {"type": "object", "properties": {}}},
}


async def ask_intake(messages: list[Any]) -> dict[str, Any]:
    """One chat completion, whole."""
    completion = await client.chat.completions.create(model="gpt-5-mini", messages=messages, tools=[TOOL])
    return completion.model_dump(mode="json", exclude_none=True)


async def ask_billing() -> dict[str, Any]:
    """Stands for a call of Anthropic's API: its library's own message, said by nobody."""
    said = Message(
        id="msg_1",
        type="message",
        role="assistant",
        model="claude-sonnet-4-5",
        content=[
            TextBlock(type="text", text="I look at the invoice."),
            ToolUseBlock(type="tool_use", id="toolu_1", name="find_invoice", input={"number": "R-17"}),
        ],
        stop_reason="tool_use",
        usage=Usage(input_tokens=212, output_tokens=31),
    )
    return said.model_dump(mode="json", exclude_none=True)


@chat_desk.handler(metadata={"rewake.candidates": "billing, technical"})
async def ask(ctx: restate.ObjectContext, question: str) -> str:
    messages = await ctx.get("messages", type_hint=list) or [{"role": "system", "content": "You are the intake agent."}]
    messages.append({"role": "user", "content": question})
    reply = await ctx.run_typed("Ask intake", ask_intake, messages=messages)
    messages.append(reply["choices"][0]["message"])
    if reply["choices"][0]["message"].get("tool_calls"):
        said = await ctx.run_typed("Ask billing", ask_billing)
        messages.append({"role": "assistant", "content": said["content"]})
    ctx.set("messages", messages)
    return str(messages[-1]["content"])


app = restate.app([chat_desk])
