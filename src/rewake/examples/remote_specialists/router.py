"""The router: asks a model which specialist a claim needs and calls that service durably.

Two steps of its own: 'Pick specialist' is the routing decision, the call is the hand-over. While the specialist works,
the router may be suspended or dead; the specialist's answer wakes it.
"""

from __future__ import annotations

import json
import os

import models
import restate
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel
from tracing import trace_headers, trace_id

models.use_script_without_key()

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")

# No retries in the client: when the provider fails, the engine retries, so that the attempts are seen and survive a
# crash.
client = AsyncOpenAI(max_retries=0)

SPECIALISTS = {
    "MedicalSpecialist": "Handles injuries, hospital stays, treatment and medication.",
    "CarSpecialist": "Handles accidents, theft and damage to vehicles.",
}

INSTRUCTIONS = (
    "You are the intake agent of an insurer. Pick the specialist for the claim. Answer by yourself only when the "
    "message is not about a claim."
)


class Decision(BaseModel):
    """Either a specialist or the router's own answer."""

    specialist: str | None = None
    answer: str | None = None


class Answer(BaseModel):
    """What a specialist service returns."""

    text: str
    invocation_id: str


class Reply(BaseModel):
    specialist: str | None
    text: str
    trace_id: str
    invocation_ids: list[str]


claim_router = restate.Service("ClaimRouter")


# Between whom the router chooses, for the web UI.
@claim_router.handler(metadata={"rewake.candidates": ", ".join(SPECIALISTS)})
async def answer(ctx: restate.Context, claim: str) -> Reply:
    """The right specialist's answer to a claim."""
    decision = await ctx.run_typed("Pick specialist", pick_specialist, claim=claim, headers=trace_headers(ctx))
    own_id = ctx.request().id
    if decision.specialist is None:
        return Reply(specialist=None, text=decision.answer or "", trace_id=trace_id(ctx), invocation_ids=[own_id])
    said = await ask(ctx, decision.specialist, claim)
    return Reply(
        specialist=decision.specialist,
        text=said.text,
        trace_id=trace_id(ctx),
        invocation_ids=[own_id, said.invocation_id],
    )


async def ask(ctx: restate.Context, specialist: str, claim: str) -> Answer:
    """Calls the specialist by name: the router needs its address, its code or its framework at no time."""
    body = await ctx.generic_call(specialist, "answer", json.dumps(claim).encode(), headers=trace_headers(ctx))
    return Answer.model_validate_json(body)


async def pick_specialist(claim: str, headers: dict[str, str]) -> Decision:
    """One model call: each specialist is offered as a tool, and the tool it asks for is the decision."""
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": claim},
    ]
    completion = await client.chat.completions.create(
        model=MODEL,
        messages=messages,
        tools=[as_tool(name, description) for name, description in SPECIALISTS.items()],
        parallel_tool_calls=False,
        extra_headers=headers,
    )
    message = completion.choices[0].message
    if message.tool_calls:
        call = message.tool_calls[0]
        if call.type == "function" and call.function.name in SPECIALISTS:
            return Decision(specialist=call.function.name)
    return Decision(answer=message.content)


def as_tool(name: str, description: str) -> ChatCompletionToolParam:
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": {"type": "object", "properties": {}}},
    }


app = restate.app([claim_router])
