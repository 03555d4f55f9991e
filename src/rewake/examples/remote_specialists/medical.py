"""The medical specialist: a service with one durable model call, plain SDK.

Knows nothing of its callers. It fails and is retried by itself, whatever happens to the router meanwhile.
"""

from __future__ import annotations

import os

import models
import restate
from openai import AsyncOpenAI
from pydantic import BaseModel
from tracing import trace_headers

models.use_script_without_key()

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")

client = AsyncOpenAI(max_retries=0)  # The engine retries.

INSTRUCTIONS = (
    "You are the medical specialist of an insurer. Say in two sentences what is covered and which papers are missing."
)


class Answer(BaseModel):
    text: str
    invocation_id: str


medical_specialist = restate.Service("MedicalSpecialist")


@medical_specialist.handler()
async def answer(ctx: restate.Context, claim: str) -> Answer:
    """The answer to a customer with a medical claim."""
    said = await ctx.run_typed("Ask medical specialist", ask_model, claim=claim, headers=trace_headers(ctx))
    return Answer(text=said, invocation_id=ctx.request().id)


async def ask_model(claim: str, headers: dict[str, str]) -> str:
    completion = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": claim}],
        extra_headers=headers,
    )
    return completion.choices[0].message.content or ""


app = restate.app([medical_specialist])
