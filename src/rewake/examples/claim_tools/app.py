"""Claim router with agents as tools: Pydantic AI.

The intake agent stays in charge: it consults the medical or the car specialist through a tool, sees their answer and
writes the reply. A specialist is an agent of its own; the tool looks up the customer's cover in a durable step and runs
it. Model calls and look-ups are journal entries. Without a key, `models.py` plays the model.
"""

from __future__ import annotations

import os

import models
import restate
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, RunContext
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from restate.ext.pydantic import RestateAgent, restate_context

models.use_script_without_key()

# No retries in the client: when the provider fails, the engine retries, so that the attempts are seen and survive a
# crash.
MODEL = OpenAIResponsesModel(
    os.environ.get("OPENAI_MODEL", "gpt-5-mini"),
    provider=OpenAIProvider(openai_client=AsyncOpenAI(max_retries=0)),
)

COVER = {
    "medical": "Hospital and surgery in full, medication up to 500 euros a year.",
    "car": "Collision with 300 euros excess, windscreen in full, no theft cover.",
}


class Claim(BaseModel):
    customer: str
    text: str


medical_specialist = RestateAgent(
    Agent(
        MODEL,
        name="medical_specialist",
        instructions=(
            "You are the medical specialist of an insurer. Say in two sentences what the customer's cover pays for "
            "and which papers are missing."
        ),
    )
)

car_specialist = RestateAgent(
    Agent(
        MODEL,
        name="car_specialist",
        instructions=(
            "You are the car specialist of an insurer. Say in two sentences what the customer's cover pays for and "
            "which papers are missing."
        ),
    )
)

intake_agent = Agent(
    MODEL,
    name="intake",
    deps_type=Claim,
    instructions=(
        "You are the intake agent of an insurer. Consult the specialist, or both, for each claim and answer from what "
        "they say. Answer by yourself only when the message is not about a claim."
    ),
)


# sequential: two consultations asked for in one breath write to the journal one after the other, in an order that
# holds on every attempt.
@intake_agent.tool(sequential=True)
async def consult_medical_specialist(run: RunContext[Claim], question: str) -> str:
    """Ask about injuries, hospital stays, treatment and medication.

    Args:
        question: What the specialist must answer, with all they need to know.
    """
    return await consult(medical_specialist, "medical", run.deps.customer, question)


@intake_agent.tool(sequential=True)
async def consult_car_specialist(run: RunContext[Claim], question: str) -> str:
    """Ask about accidents, theft and damage to vehicles.

    Args:
        question: What the specialist must answer, with all they need to know.
    """
    return await consult(car_specialist, "car", run.deps.customer, question)


async def consult(specialist: RestateAgent[None, str], kind: str, customer: str, question: str) -> str:
    """The specialist's answer.   kind: which cover they need to know."""
    cover = await restate_context().run_typed(f"Look up {kind} cover", look_up_cover, customer=customer, kind=kind)
    result = await specialist.run(f"{question}\n\nThe customer's cover: {cover}")
    return result.output


def look_up_cover(customer: str, kind: str) -> str:
    """The customer's cover, from the policy system: here a table that is the same for everybody."""
    return COVER[kind]


intake = RestateAgent(intake_agent)

claim_advisor = restate.Service("ClaimAdvisor")


@claim_advisor.handler()
async def answer(ctx: restate.Context, claim: Claim) -> str:
    """The reply to one claim."""
    result = await intake.run(claim.text, deps=claim)
    return result.output


app = restate.app([claim_advisor])
