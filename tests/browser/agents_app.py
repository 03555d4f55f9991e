"""Agents with long names that fan out and return JSON: what a page of agents must find room for.

The models are played by steps that return what a provider's client returns.
"""

from __future__ import annotations

import json
from typing import Any, Final

import restate

ROUTER: Final = "International Insurance Intake Coordinator of the Claims Department"
SPECIALISTS: Final = (
    "Medical and hospital treatment specialist",
    "Car_and_motorcycle_collision_specialist_for_commercial_fleets",
    "Liability",
    "住宅保険と自然災害の専門家",
)
MODEL: Final = "ft:gpt-5.6-luna-2027-01-15:example-insurance-company:claims-router:9aXbYcZd"
POLICY: Final = {
    "policy": {"number": "P-2830c725", "cover": {"hospital": "in full", "medication": 500}},
    "insured": [{"name": f"person {number}", "born": f"19{60 + number}-04-12"} for number in range(6)],
}

claims = restate.Service("Claims")
desks = [restate.Service(f"Desk{place}") for place in range(len(SPECIALISTS))]


def reply(**message: Any) -> dict[str, Any]:
    """What an OpenAI client returns for a chat completion."""
    return {
        "object": "chat.completion",
        "model": MODEL,
        "choices": [{"message": {"role": "assistant", "content": None, **message}}],
        "usage": {"prompt_tokens": 1_234_567, "completion_tokens": 89_012},
    }


def ask_all() -> dict[str, Any]:
    """The router asks for all specialists in one breath."""
    calls = [
        {"id": f"c{place}", "type": "function", "function": {"name": f"ask_{place}", "arguments": json.dumps(POLICY)}}
        for place in range(len(SPECIALISTS))
    ]
    return reply(tool_calls=calls)


def say(text: str) -> dict[str, Any]:
    return reply(content=text)


def look_up() -> dict[str, Any]:
    return POLICY


def agent(name: str, **facts: Any) -> dict[str, str]:
    """Metadata of a handler whose agent is this one."""
    return {"rewake.agents": json.dumps([{"name": name, "model": MODEL, **facts}])}


def serve(desk: restate.Service, name: str) -> Any:
    """A specialist as a service; the policy is a step that returns JSON."""

    @desk.handler(metadata=agent(name))
    async def answer(ctx: restate.Context, claim: str) -> str:
        await ctx.run_typed("Look up policy", look_up)
        await ctx.run_typed("Model", say, text="It is covered. " * 12)
        return f"{claim} is covered."

    return answer


_answers: Final = [serve(desk, name) for desk, name in zip(desks, SPECIALISTS, strict=True)]


@claims.handler(metadata=agent(ROUTER, asks={f"ask_{place}": name for place, name in enumerate(SPECIALISTS)}))
async def answer(ctx: restate.Context, claim: str) -> str:
    """Each specialist is asked."""
    await ctx.run_typed("Model", ask_all)
    for each in _answers:
        await ctx.service_call(each, claim)
    return "All of it is covered."


app = restate.app([claims, *desks])
