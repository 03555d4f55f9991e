"""Live pieces of a step for handlers on the plain SDK, shown to the watchers of the run.

    async def ask_billing(question: str) -> str:
        answer = ""
        async with stream.step("Ask billing") as out:
            async for piece in model.stream(question):
                out.write(piece)
                answer += piece
        return answer

    answer = await ctx.run_typed("Ask billing", ask_billing, question=question)

Nothing durable depends on it: if nobody takes the deltas, they go nowhere. Where a step is one of the kernel
(`durable_step`, agents), `rewake.ext.kernel.put_delta` does the same without a name.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from types import TracebackType
from typing import Any, Self

from rewake.ext.kernel.deltas import put_delta
from rewake.ext.kernel.offers import STREAM, offer
from rewake.ext.kernel.run import raw_context
from rewake.ext.kernel.steps import Body, body_here


class step:  # noqa: N801 - read as a word: `stream.step("Ask billing")`
    """The body of a step that speaks, for `async with`. name: of the step, as in `ctx.run_typed`.

    kind, agent: as in the envelope of agents' steps, if readers should know them. If the body raises, its words are
    void: the next try of the step sends them again.
    """

    def __init__(self, name: str, *, kind: str | None = None, agent: str | None = None) -> None:
        ctx = raw_context()
        url = None if ctx is None else offer(ctx, STREAM)
        self._body = Body(name, uuid.UUID(int=0), stream=url, kind=kind, agent=agent)

    def write(self, delta: Any) -> None:
        """Show a piece: text, or JSON. Neither waits nor raises."""
        token = body_here.set(self._body)
        try:
            put_delta(delta)
        finally:
            body_here.reset(token)

    async def __aenter__(self) -> Self:
        self._body.loop, self._body.thread = asyncio.get_running_loop(), threading.get_ident()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._body.end_try(is_done=problem is None)
