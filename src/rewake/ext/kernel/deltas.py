"""Where live pieces of an answer go while a step's body runs: a seam for streams.

A model's body calls `put_delta` for each event. Deltas are for people who watch; nothing durable depends on them, and
without a sink they go nowhere. An engine that takes them says where in a header of the attempt (`x-rewake-stream`).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol

from rewake.ext.kernel.steps import body_here


class DeltaSink(Protocol):
    """Takes the deltas of steps. Must neither wait nor raise: a step never depends on who watches."""

    def put(self, step: str, delta: Any) -> None:
        """step: name of the step whose body runs. delta: JSON, in the framework's form."""


delta_sink: ContextVar[DeltaSink | None] = ContextVar("rewake_delta_sink", default=None)


def put_delta(delta: Any) -> None:
    """Pass a live event on, from within the body of a step."""
    sink, body = delta_sink.get(), body_here.get()
    if sink is not None and body is not None:
        sink.put(body.name, delta)
