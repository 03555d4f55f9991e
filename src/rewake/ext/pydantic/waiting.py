"""Durable questions and approvals: Pydantic AI waits for an answer from outside, and the handler is suspended.

`RequestInput`, `AskUser` and `wait_for_external_event` find the waiter in a durable run. The token they hand out is the
id of an awakeable: whoever answers resolves it (`rewake awakeables resolve`, the ingress, a page of the UI).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import restate

from rewake.ext.kernel import Envelope, cancelled, current_run, restate_context
from rewake.ext.pydantic.envelopes import FRAMEWORK
from rewake.ext.pydantic.flow import flow_here
from rewake.ext.pydantic.newer import ExternalEventError, ExternalEventWaiter


class AwakeableWaiter(ExternalEventWaiter):
    """A wait is an awakeable, the question a step before it, the timeout a timer beside it."""

    async def wait(
        self,
        name: str,
        *,
        ask: Callable[[str], Awaitable[Any]],
        timeout: timedelta | None,  # noqa: ASYNC109 - the framework's name
    ) -> Any:
        """The answer that `ask` has at once, else the value that resolves the awakeable.

        Raises ExternalEventError when the time is up or the awakeable is rejected, TerminalError 409 when the
        invocation is cancelled.
        """
        ctx, run, flow = restate_context(), current_run(), flow_here.get()
        assert run is not None, "the framework refuses waits inside of a step"
        token, event = ctx.awakeable(type_hint=Any)
        path, calls = ((), ()) if flow is None else (flow.path, flow.calls)
        begun = f"{path[-1] if path else 'agent'}__external_event.{name}"  # as the framework's own engines name it
        asked = Envelope(kind="approval", framework=FRAMEWORK, agent=path[-1] if path else None, path=path, calls=calls)

        async def body() -> Envelope:
            return asked.with_value({"token": token, "answer": await ask(token)})

        if (answer := (await run.record(f"{begun}.ask", body)).value["answer"]) is not None:
            return answer
        try:
            return await _within(ctx, event, timeout)
        except restate.TerminalError as rejected:
            if cancelled(rejected):
                raise
            raise ExternalEventError(rejected.message) from rejected


async def _within(ctx: restate.Context, event: Any, limit: timedelta | None) -> Any:
    if limit is None:
        return await event
    which, answer = await restate.select(event=event, timer=ctx.sleep(limit))
    if which == "timer":
        raise ExternalEventError(f"Nobody answered within {limit}.")
    return answer
