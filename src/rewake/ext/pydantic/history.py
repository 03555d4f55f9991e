"""Times in a conversation that are the same in each attempt, so that it may be stored in the state of an object.

The framework stamps what it asks with the clock, also at replay; then a `ctx.set` of the conversation would be another
one than in the journal, which ends the invocation in a mismatch. Answers come from the journal with their times. So a
request gets the time of its answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse


def settle_times(messages: Iterable[ModelMessage]) -> None:
    """Give requests, in place, the time of the answer that follows, or else of the last one."""
    waiting: list[ModelRequest] = []
    last: datetime | None = None
    for message in messages:
        if isinstance(message, ModelRequest):
            waiting.append(message)
            continue
        if isinstance(message, ModelResponse):
            last = message.timestamp
        while waiting and last is not None:
            _settle(waiting.pop(), last)
    while waiting and last is not None:
        _settle(waiting.pop(), last)


def _settle(request: ModelRequest, time: datetime) -> None:
    if request.timestamp is not None:
        request.timestamp = time
    for part in request.parts:
        if hasattr(part, "timestamp"):
            part.timestamp = time
