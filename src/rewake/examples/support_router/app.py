"""A support router with the plain SDK: one durable step picks a specialist, another one asks it.

Each model call is a `run_typed` step with a name and a typed result. What a step returned is in the journal, and a
retry after a crash reads it there instead of asking the model again.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Literal

import restate
from openai import AsyncOpenAI
from pydantic import BaseModel

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")
SPECIALISTS = {
    "billing": "You are the billing specialist of a web shop. You know invoices, refunds and payment methods.",
    "technical": "You are the technical specialist of a web shop. You know logins, browsers and error messages.",
}
ROUTER = (
    "You are the support router of a web shop. Pick the specialist for the question: billing or technical. "
    "When it needs none, leave the specialist empty and answer it yourself."
)
# The engine retries, and counts across crashes; the client's own retries would hide failures from the journal.
client = AsyncOpenAI(max_retries=0)


class Decision(BaseModel):
    """What the router decided: a specialist, or an answer."""

    specialist: Literal["billing", "technical"] | None
    answer: str | None


class Reply(BaseModel):
    """The answer and who gave it."""

    specialist: str
    text: str


async def pick_specialist(question: str) -> Decision:
    """Ask the router model for its decision, in the shape of `Decision`."""
    response = await client.responses.parse(model=MODEL, instructions=ROUTER, input=question, text_format=Decision)
    if response.output_parsed is None:
        raise ValueError(f"The router gave no decision: {response.output_text!r}")
    return response.output_parsed


async def ask_specialist(specialist: str, question: str) -> str:
    """Ask one specialist."""
    response = await client.responses.create(model=MODEL, instructions=SPECIALISTS[specialist], input=question)
    return response.output_text


support_router = restate.Service("SupportRouter")


# Between whom the router chooses, for the web UI.
@support_router.handler(metadata={"rewake.candidates": ", ".join(SPECIALISTS)})
async def ask(context: restate.Context, question: str) -> Reply:
    """Answer a question, with the help of a specialist where it needs one."""
    patient = restate.RunOptions[Decision](max_attempts=10, initial_retry_interval=timedelta(seconds=1))
    decision = await context.run_typed("Pick specialist", pick_specialist, patient, question=question)
    if decision.specialist is None:
        return Reply(specialist="router", text=decision.answer or "")
    answer = await context.run_typed(
        f"Ask {decision.specialist}", ask_specialist, specialist=decision.specialist, question=question
    )
    return Reply(specialist=decision.specialist, text=answer)


app = restate.app([support_router])
