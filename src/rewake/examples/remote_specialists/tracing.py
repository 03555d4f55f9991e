"""One trace over every service that works on a claim, in W3C `traceparent` form.

The engine passes on only what a caller sends, so each service hands the header to those it calls: other services and
the model. Everything here comes from the stored invocation, never from the attempt: a header that changed
between attempts would make the replayed call differ from its journal entry.
"""

from __future__ import annotations

import hashlib

import restate

HEADER = "traceparent"


def trace_headers(ctx: restate.Context) -> dict[str, str]:
    """The headers that put a request into this invocation's trace; the caller's trace, or a new one."""
    return {HEADER: ctx.request().headers.get(HEADER) or new_traceparent(ctx.request().id)}


def trace_id(ctx: restate.Context) -> str:
    """The 32 hex digits shared by all that belongs to the claim."""
    return trace_headers(ctx)[HEADER].split("-")[1]


def new_traceparent(invocation_id: str) -> str:
    """A sampled trace whose ids follow from the invocation: the same on every attempt."""
    digest = hashlib.sha256(invocation_id.encode()).hexdigest()
    return f"00-{digest[:32]}-{digest[32:48]}-01"
