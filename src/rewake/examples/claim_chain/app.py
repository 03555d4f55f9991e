"""Claim router with agents as tools: LangChain.

The intake agent consults a specialist through a tool and writes the reply itself. A specialist is an agent of its own,
with a tool that looks up the customer's cover. `RestateMiddleware` makes each model call a journal entry; a look-up is
a step of its own. Without a key, `models.py` plays the model.
"""

from __future__ import annotations

import os
from typing import Any

import models
import restate
from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from restate.ext.langchain import RestateMiddleware, restate_context

models.use_script_without_key()

# No retries in the client: when the provider fails, the engine retries, so that the attempts are seen and survive a
# crash.
MODEL = ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-5-mini"), max_retries=0)

COVER = {
    "medical": "Hospital and surgery in full, medication up to 500 euros a year.",
    "car": "Collision with 300 euros excess, windscreen in full, no theft cover.",
}


class Claim(BaseModel):
    customer: str
    text: str


def look_up_cover(customer: str, kind: str) -> str:
    """The customer's cover, from the policy system: here a table that is the same for everybody."""
    return COVER[kind]


@tool
async def look_up_medical_cover(customer: str) -> str:
    """What the customer's medical policy pays for."""
    return await restate_context().run_typed("Look up medical cover", look_up_cover, customer=customer, kind="medical")


@tool
async def look_up_car_cover(customer: str) -> str:
    """What the customer's car policy pays for."""
    return await restate_context().run_typed("Look up car cover", look_up_cover, customer=customer, kind="car")


medical_specialist = create_agent(
    MODEL,
    tools=[look_up_medical_cover],
    system_prompt=(
        "You are the medical specialist of an insurer. Say in two sentences what the customer's cover pays for and "
        "which papers are missing."
    ),
    middleware=[RestateMiddleware()],
    name="medical_specialist",
)

car_specialist = create_agent(
    MODEL,
    tools=[look_up_car_cover],
    system_prompt=(
        "You are the car specialist of an insurer. Say in two sentences what the customer's cover pays for and which "
        "papers are missing."
    ),
    middleware=[RestateMiddleware()],
    name="car_specialist",
)


@tool
async def consult_medical_specialist(question: str) -> str:
    """Ask about injuries, hospital stays, treatment and medication."""
    return await consult(medical_specialist, question)


@tool
async def consult_car_specialist(question: str) -> str:
    """Ask about accidents, theft and damage to vehicles."""
    return await consult(car_specialist, question)


async def consult(agent: Any, question: str) -> str:
    """What an agent answers."""
    result = await agent.ainvoke({"messages": [{"role": "user", "content": question}]})
    return str(result["messages"][-1].text)


intake = create_agent(
    MODEL,
    tools=[consult_medical_specialist, consult_car_specialist],
    system_prompt=(
        "You are the intake agent of an insurer. Consult one specialist for each claim and answer from what they say. "
        "Answer by yourself only when the message is not about a claim."
    ),
    middleware=[RestateMiddleware()],
    name="intake",
)

claim_chain = restate.Service("ClaimChain")


@claim_chain.handler()
async def answer(ctx: restate.Context, claim: Claim) -> str:
    """The reply to one claim."""
    return await consult(intake, f"Customer {claim.customer}: {claim.text}")


app = restate.app([claim_chain])
