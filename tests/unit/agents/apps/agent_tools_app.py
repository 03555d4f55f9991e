"""A desk of OpenAI Agents that asks two others as tools and then answers itself; one of them has a tool of its own."""

from __future__ import annotations

import restate
from agents import Agent
from restate.ext.openai import DurableRunner, durable_function_tool

desk = restate.Service("ToolDesk")


@durable_function_tool
async def look_up_car_cover(customer: str) -> str:
    """Look up what a customer's car cover pays."""
    return f"{customer}: collisions, with 300 euros excess"


car = Agent(name="Car specialist", instructions="You are the car specialist.", tools=[look_up_car_cover])
medical = Agent(name="Medical specialist", instructions="You are the medical specialist.")
intake = Agent(
    name="Intake",
    instructions="You are the intake agent.",
    tools=[car.as_tool("ask_car", "Ask about cars."), medical.as_tool("ask_medical", "Ask about health.")],
)


@desk.handler()
async def answer(ctx: restate.Context, question: str) -> str:
    return str((await DurableRunner.run(intake, question)).final_output)


app = restate.app([desk])
