"""A claim desk of LangChain agents: the intake consults a specialist through a tool. A look-up is a durable step."""

from __future__ import annotations

import restate
from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from restate.ext.langchain import RestateMiddleware, restate_context

# The engine retries.
model = ChatOpenAI(model="gpt-5-mini", max_retries=0)


def look_up_cover() -> str:
    return "Collision with 300 euros excess."


@tool
async def look_up_car_cover(customer: str) -> str:
    """What the customer's car policy pays for."""
    return await restate_context().run_typed("Look up car cover", look_up_cover)


car_specialist = create_agent(
    model,
    tools=[look_up_car_cover],
    system_prompt="You are the car specialist of an insurer.",
    middleware=[RestateMiddleware()],
    name="car_specialist",
)


@tool
async def consult_car_specialist(question: str) -> str:
    """Ask about accidents, theft and damage to vehicles."""
    result = await car_specialist.ainvoke({"messages": [{"role": "user", "content": question}]})
    return str(result["messages"][-1].content)


intake = create_agent(
    model,
    tools=[consult_car_specialist],
    system_prompt="You are the intake agent of an insurer.",
    middleware=[RestateMiddleware()],
    name="intake",
)

claim_chain = restate.Service("ClaimChain")


@claim_chain.handler()
async def answer(ctx: restate.Context, claim: str) -> str:
    result = await intake.ainvoke({"messages": [{"role": "user", "content": claim}]})
    return str(result["messages"][-1].content)


app = restate.app([claim_chain])
