"""The Python half: the medical and the car specialist, plain SDK, called by the TypeScript router.

Each asks the TypeScript cover desk for the customer's terms, then a model. Neither side imports the other: names and
JSON are all that crosses the border.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import restate
from openai import AsyncOpenAI
from pydantic import BaseModel

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")

client = AsyncOpenAI(max_retries=0)  # The engine retries.


class Claim(BaseModel):
    customer: str
    text: str


class Answer(BaseModel):
    """The words, and every invocation that worked on them."""

    text: str
    invocations: list[str]


class Cover(BaseModel):
    """What the cover desk returns."""

    terms: str
    invocation: str


medical_specialist = restate.Service("MedicalSpecialist")
car_specialist = restate.Service("CarSpecialist")


@medical_specialist.handler("answer")
async def medical_answer(ctx: restate.Context, claim: Claim) -> Answer:
    """The answer to a customer with a medical claim."""
    return await consult(ctx, "medical", claim)


@car_specialist.handler("answer")
async def car_answer(ctx: restate.Context, claim: Claim) -> Answer:
    """The answer to a customer with a car claim."""
    return await consult(ctx, "car", claim)


async def consult(ctx: restate.Context, kind: str, claim: Claim) -> Answer:
    """The specialist's answer, after a look at the customer's cover.   kind: 'medical' or 'car'."""
    headers = trace_headers(ctx)
    question = json.dumps({"customer": claim.customer, "kind": kind}).encode()
    cover = Cover.model_validate_json(await ctx.generic_call("CoverDesk", "lookUp", question, headers=headers))
    text = await ctx.run_typed(
        f"Ask {kind} specialist", ask_model, kind=kind, cover=cover, claim=claim, headers=headers
    )
    return Answer(text=text, invocations=[ctx.request().id, cover.invocation])


async def ask_model(kind: str, cover: Cover, claim: Claim, headers: dict[str, str]) -> str:
    instructions = (
        f"You are the {kind} specialist of an insurer. Say in two sentences what is covered and which papers are "
        f"missing. The customer's cover: {cover.terms}"
    )
    messages: Any = [{"role": "system", "content": instructions}, {"role": "user", "content": claim.text}]
    completion = await client.chat.completions.create(model=MODEL, messages=messages, extra_headers=headers)
    return completion.choices[0].message.content or ""


def trace_headers(ctx: restate.Context) -> dict[str, str]:
    """The headers that put a request into this invocation's trace, as tracing.ts does it."""
    digest = hashlib.sha256(ctx.request().id.encode()).hexdigest()
    return {"traceparent": ctx.request().headers.get("traceparent") or f"00-{digest[:32]}-{digest[32:48]}-01"}


app = restate.app([medical_specialist, car_specialist])
