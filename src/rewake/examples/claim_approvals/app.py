"""A claim with two people in it: OpenAI Agents on a virtual object, with approvals that wait for days if they must.

The intake hands a claim over to the car specialist, who looks at the policy and the damage side by side and wants to
pay: a person approves. Then the case goes back to the intake, which closes it: a second person approves. Every model
call and every tool is a step, so neither a crash nor a new version of this file asks a model again.
"""

from __future__ import annotations

from typing import Any

import restate
from agents import Agent, function_tool, set_default_openai_client, set_tracing_disabled
from openai import AsyncOpenAI

from rewake.ext.kernel import idempotency_key
from rewake.ext.openai import DurableRunner

# Retries belong to the steps, which remember them across crashes; the journal is the trace.
set_default_openai_client(AsyncOpenAI(max_retries=0), use_for_tracing=False)
set_tracing_disabled(True)


@function_tool
async def check_policy(customer: str) -> str:
    """Look up what a customer is insured for."""
    return f"{customer} is fully insured, with 150 EUR of her own"


@function_tool
async def estimate_damage(description: str) -> str:
    """Estimate what a repair costs."""
    return f"{description}: 900 EUR"


@function_tool(needs_approval=True)
async def pay_claim(amount: int) -> str:
    """Pay a claim. The key is the same in each attempt, so the bank sees one order."""
    return f"paid {amount} EUR, order {idempotency_key()[:8]}"


@function_tool(needs_approval=True)
async def close_case(summary: str) -> str:
    """Close the case."""
    return f"closed: {summary}"


intake = Agent[Any](
    name="Intake",
    instructions="You are the intake of an insurer. Hand claims over to the specialist. Close paid cases.",
    tools=[close_case],
)
car = Agent[Any](
    name="Car specialist",
    instructions="You are the car specialist of an insurer. Check the policy and the damage, pay, then hand the case "
    "back to the intake.",
    tools=[check_policy, estimate_damage, pay_claim],
    handoffs=[intake],
)
intake.handoffs = [car]

claim_desk = restate.VirtualObject("ClaimDesk")


@claim_desk.handler()
async def message(context: restate.ObjectContext, text: str) -> str:
    """Answer one message of the customer whose name is the key; waits for the people it needs."""
    result = await DurableRunner.run(intake, text, use_restate_session=True, wait_for_approvals=True)
    return str(result.final_output)


app = restate.app([claim_desk])
