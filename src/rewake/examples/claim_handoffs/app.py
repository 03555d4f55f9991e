"""A claim router whose agents hand a customer over to each other: OpenAI Agents SDK on a virtual object.

The intake agent passes a claim to the medical or the car specialist, who files it with a durable tool. There is one
`ClaimDesk` per customer: it remembers the conversation and who spoke last, and the next message goes straight there.
"""

from __future__ import annotations

from typing import Any

import restate
from agents import Agent, Handoff, RunContextWrapper, handoff, set_default_openai_client, set_tracing_disabled
from openai import AsyncOpenAI
from pydantic import BaseModel
from restate.ext.openai import DurableRunner, durable_function_tool, restate_object_context

# Retries belong to the engine, which remembers them across crashes; the journal is the trace.
set_default_openai_client(AsyncOpenAI(max_retries=0), use_for_tracing=False)
set_tracing_disabled(True)


class Reply(BaseModel):
    """What the customer gets back, and who said it."""

    agent: str
    text: str


class Handover(BaseModel):
    """What an agent says when it passes a customer on."""

    reason: str


def file_claim(number: str, kind: str, description: str) -> str:
    """Stands for the insurer's claim system, which files each number once."""
    return f"{number}: {kind} claim for {description}"


async def file_durably(kind: str, description: str) -> str:
    """File a claim in one journaled step.

    A process can die after the claim system said yes and before the journal knows; the step then runs again. The
    number is drawn outside the step and is the same in every attempt, so the claim system sees the same claim.
    """
    context = restate_object_context()
    number = f"{kind[0].upper()}-{context.uuid().hex[:8]}"
    return await context.run_typed(f"File {kind} claim", file_claim, number=number, kind=kind, description=description)


@durable_function_tool
async def file_medical_claim(treatment: str) -> str:
    """File a medical claim and get its number."""
    return await file_durably("medical", treatment)


@durable_function_tool
async def file_car_claim(damage: str) -> str:
    """File a claim for damage to a car and get its number."""
    return await file_durably("car", damage)


def decision(specialist: str, reason: str) -> str:
    """The routing decision as the journal shows it."""
    return f"{specialist}: {reason}"


def hand_over_to(specialist: Agent[Any], tool_name: str) -> Handoff[Any, Agent[Any]]:
    """A handoff that also writes its decision into the journal, under a name people can read."""

    async def on_handoff(_: RunContextWrapper[Any], handover: Handover) -> None:
        await restate_object_context().run_typed(
            "Pick specialist", decision, specialist=specialist.name, reason=handover.reason
        )

    return handoff(specialist, tool_name_override=tool_name, on_handoff=on_handoff, input_type=Handover)


medical = Agent[Any](
    name="Medical specialist",
    instructions="You are the medical specialist of an insurer. File the claim of the customer, then say what happens "
    "next. Hand over claims that are not about health.",
    tools=[file_medical_claim],
)
car = Agent[Any](
    name="Car specialist",
    instructions="You are the car specialist of an insurer. File the claim of the customer, then say what happens "
    "next. Hand over claims that are not about cars.",
    tools=[file_car_claim],
)
to_medical = hand_over_to(medical, "transfer_to_medical_specialist")
to_car = hand_over_to(car, "transfer_to_car_specialist")
medical.handoffs = [to_car]
car.handoffs = [to_medical]
intake = Agent[Any](
    name="Intake",
    instructions="You are the intake of an insurer. Hand claims over to the right specialist; answer general questions "
    "yourself.",
    handoffs=[to_medical, to_car],
)
agents = {agent.name: agent for agent in (intake, medical, car)}

claim_desk = restate.VirtualObject("ClaimDesk")


@claim_desk.handler()
async def message(context: restate.ObjectContext, text: str) -> Reply:
    """Answer one message of the customer whose name is the key."""
    last_agent = await context.get("agent", type_hint=str) or intake.name
    result = await DurableRunner.run(agents[last_agent], text, use_restate_session=True)
    context.set("agent", result.last_agent.name)
    return Reply(agent=result.last_agent.name, text=result.final_output)


@claim_desk.handler(kind="shared")
async def agent(context: restate.ObjectSharedContext) -> str:
    """Who the customer's next message goes to."""
    return await context.get("agent", type_hint=str) or intake.name


app = restate.app([claim_desk])
