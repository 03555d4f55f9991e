"""Claim router with sub-agents: Google ADK, one virtual object per customer.

`intake` reads the message and transfers it to `medical_specialist` or `car_specialist`; the specialist opens the claim
with a tool whose effect is a durable step, then answers. The conversation is the object's state, so the customer's
next message goes straight to the specialist it was with. Without a key, `models.py` plays the model.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import models
import restate
from google.adk.agents import LlmAgent
from google.adk.agents.callback_context import CallbackContext
from google.adk.apps import App
from google.adk.events import Event
from google.adk.models import Gemini
from google.adk.runners import Runner
from google.genai import types
from pydantic import BaseModel
from restate.ext.adk import RestatePlugin, RestateSessionService, restate_object_context

models.use_script_without_key()

# One attempt: when the provider fails, the engine retries, so that the attempts are seen and survive a crash.
MODEL = Gemini(
    model=os.environ.get("GEMINI_MODEL", "gemini-2.5-flash"), retry_options=types.HttpRetryOptions(attempts=1)
)


class Claim(BaseModel):
    number: str
    kind: str
    summary: str


class Claims(BaseModel):
    opened: list[Claim] = []


class Reply(BaseModel):
    specialist: str
    answer: str


async def open_claim(kind: str, summary: str) -> str:
    """Open a claim and return its number.

    Args:
        kind: "medical" or "car".
        summary: What happened, in one sentence.
    """
    ctx = restate_object_context()
    # Drawn outside the step, so that a step that runs twice, because the process died before the journal knew,
    # tells the claims system the same number twice.
    claim = Claim(number=f"{kind[:1].upper()}-{ctx.uuid().hex[:8]}", kind=kind, summary=summary)
    await ctx.run_typed("Open claim", tell_claims_system, claim=claim)
    known = await ctx.get("claims", type_hint=Claims) or Claims()
    ctx.set("claims", Claims(opened=[*known.opened, claim]))
    return f"Opened claim {claim.number}."


def tell_claims_system(claim: Claim) -> None:
    """Stands for the insurer's claims system, which opens each number once."""


def remember_specialist(callback_context: CallbackContext) -> None:
    """Writes the routing decision to the object's state, and under its own name to the journal."""
    name = callback_context.agent_name
    restate_object_context().set("specialist", name, entry_name=f"Routed to {name}")


medical_specialist = LlmAgent(
    name="medical_specialist",
    model=MODEL,
    description="Handles injuries, hospital stays, treatment and medication.",
    instruction=(
        "You are the medical specialist of an insurer. Open a claim for each new incident, then tell the customer "
        "in two sentences what is covered and what to send in. Transfer anything about vehicles to car_specialist."
    ),
    tools=[open_claim],
    before_agent_callback=remember_specialist,
)

car_specialist = LlmAgent(
    name="car_specialist",
    model=MODEL,
    description="Handles accidents, theft and damage to vehicles.",
    instruction=(
        "You are the car specialist of an insurer. Open a claim for each new incident, then tell the customer in two "
        "sentences what is covered and what to send in. Transfer anything about injuries to medical_specialist."
    ),
    tools=[open_claim],
    before_agent_callback=remember_specialist,
)

intake = LlmAgent(
    name="intake",
    model=MODEL,
    instruction=(
        "You are the intake agent of an insurer. Transfer each claim to the specialist for it. Answer yourself only "
        "when the message is not about a claim."
    ),
    sub_agents=[medical_specialist, car_specialist],
)

runner = Runner(
    app=App(name="claims", root_agent=intake, plugins=[RestatePlugin()]),
    session_service=RestateSessionService(),
)

claim_team = restate.VirtualObject("ClaimTeam")


@claim_team.handler()
async def message(ctx: restate.ObjectContext, text: str) -> Reply:
    """Answers one message of the customer this object is keyed by."""
    content = types.Content(role="user", parts=[types.Part(text=text)])
    events = runner.run_async(user_id=ctx.key(), session_id=ctx.key(), new_message=content)
    author, answer = await final_answer(events)
    return Reply(specialist=author, answer=answer)


@claim_team.handler(kind="shared")
async def claims(ctx: restate.ObjectSharedContext) -> Claims:
    """The customer's claims so far; answers at once, also while a message is being worked on."""
    return await ctx.get("claims", type_hint=Claims) or Claims()


async def final_answer(events: AsyncIterator[Event]) -> tuple[str, str]:
    """Who answered, and the answer.   events: one run of the agents."""
    author, answer = "", ""
    async for event in events:
        if event.is_final_response() and event.content and event.content.parts:
            author, answer = event.author, "".join(part.text or "" for part in event.content.parts)
    return author, answer


app = restate.app([claim_team])
