"""The car specialist: a service whose handler runs an OpenAI Agents agent with a durable tool.

The same contract as medical.py, another framework: a caller cannot tell the difference.
"""

from __future__ import annotations

import os

import models
import restate
from agents import Agent, ModelSettings, set_default_openai_client, set_tracing_disabled
from openai import AsyncOpenAI
from pydantic import BaseModel
from restate.ext.openai import DurableRunner, durable_function_tool, restate_context
from tracing import trace_headers

models.use_script_without_key()

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")

set_default_openai_client(AsyncOpenAI(max_retries=0))  # The engine retries.
set_tracing_disabled(True)  # The library would send its own traces to the provider.


class Answer(BaseModel):
    text: str
    invocation_id: str


@durable_function_tool
async def find_garage(town: str) -> str:
    """Name the partner garage in a town.

    Args:
        town: Where the car is.
    """
    return await restate_context().run_typed("Find garage", look_up_garage, town=town)


def look_up_garage(town: str) -> str:
    """The garage, from the partner directory: here one rule for all towns."""
    return f"Garage {town} Central"


agent = Agent(
    name="car_specialist",
    model=MODEL,
    instructions=(
        "You are the car specialist of an insurer. Find a partner garage, then say in two sentences what is covered "
        "and where to bring the car."
    ),
    tools=[find_garage],
)

car_specialist = restate.Service("CarSpecialist")


@car_specialist.handler()
async def answer(ctx: restate.Context, claim: str) -> Answer:
    """The answer to a customer with a car claim."""
    traced = agent.clone(model_settings=ModelSettings(extra_headers=trace_headers(ctx)))
    result = await DurableRunner.run(traced, claim)
    return Answer(text=result.final_output, invocation_id=ctx.request().id)


app = restate.app([car_specialist])
