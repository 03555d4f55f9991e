"""A desk of Pydantic AI on rewake.ext: an agent with a tool behind which another one works, with a tool of its own."""

from __future__ import annotations

import restate
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from rewake.ext.pydantic import RestateAgent

model = OpenAIResponsesModel("gpt-5-mini", provider=OpenAIProvider(openai_client=AsyncOpenAI(max_retries=0)))
desk = restate.Service("ExtChat")
car_agent = Agent(model, name="car", instructions="You are the car specialist.")
intake_agent = Agent(model, name="intake", instructions="You are the intake agent.")


@car_agent.tool_plain
async def look_up_car_cover(customer: str) -> str:
    """Look up what a customer's car cover pays."""
    return f"{customer}: collisions, with 300 euros excess"


car = RestateAgent(car_agent)


@intake_agent.tool_plain
async def ask_car(question: str) -> str:
    """Ask the car specialist."""
    return str((await car.run(question)).output)


intake = RestateAgent(intake_agent)


@desk.handler()
async def answer(ctx: restate.Context, question: str) -> str:
    return str((await intake.run(question)).output)


app = restate.app([desk])
