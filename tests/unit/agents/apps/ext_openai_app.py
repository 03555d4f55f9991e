"""The desk of agent_tools_app.py on rewake.ext: two agents asked side by side, one with a tool, then a handoff."""

from __future__ import annotations

import restate
from agents import Agent, function_tool

from rewake.ext.openai import DurableRunner

desk = restate.Service("ExtDesk")


@function_tool
async def look_up_car_cover(customer: str) -> str:
    """Look up what a customer's car cover pays."""
    return f"{customer}: collisions, with 300 euros excess"


car = Agent(name="Car specialist", instructions="You are the car specialist.", tools=[look_up_car_cover])
medical = Agent(name="Medical specialist", instructions="You are the medical specialist.")
payer = Agent(name="Payer", instructions="You are the payer.")
intake = Agent(
    name="Intake",
    instructions="You are the intake agent.",
    tools=[car.as_tool("ask_car", "Ask about cars."), medical.as_tool("ask_medical", "Ask about health.")],
    handoffs=[payer],
)


@desk.handler()
async def answer(ctx: restate.Context, question: str) -> str:
    return str((await DurableRunner.run(intake, question)).final_output)


app = restate.app([desk])
