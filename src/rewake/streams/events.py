"""What a reader of a stream gets, as structs and in their JSON form: `{"type": "delta", "step": 3, ...}`.

`offset` grows with every event and is the id of the server-sent event. Offsets are unique over all runs of a data
folder, and have gaps. `step` is the number of a step in its stream: the offset of the event that announced it first.

A reader that follows four rules ends up with what the journal has:
1. `step_started` with a known `step` adds to what is known of it.
2. `delta` belongs to the step it names.
3. `void`: forget all deltas of the steps it names; they are sent again. With `from_offset` 0 forget the whole stream:
   it follows anew.
4. `step_committed` ends a step; where `value` is there, it is what the journal has, whatever the deltas were.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

Outcome = Literal["result", "failure", "cancelled", "killed"]


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """offset: the event's place, see above.   at_ms: when it happened, in milliseconds since the epoch."""

    offset: int


class Started(_Event, tag="started", frozen=True):
    """The handler was started for the first time. target: `service[/key]/handler`."""

    at_ms: int
    invocation_id: str
    target: str


class StepStarted(_Event, tag="step_started", frozen=True):
    """A step is at work. name: as in the journal.   entry: index of its command there.

    kind, agent: as the writer says (see ext/kernel/envelope.py), `call` for a call of a handler; None: not known yet.
    """

    at_ms: int
    step: int
    name: str
    entry: int
    kind: str | None = None
    agent: str | None = None


class Delta(_Event, tag="delta", frozen=True):
    """A piece of what the step says. data: text, or an event in the framework's own JSON form."""

    step: int
    data: Any


class StepCommitted(_Event, tag="step_committed", frozen=True):
    """A step is in the journal, for good. entry: index of its result there.

    value: its result, JSON where it is JSON, else text; absent when it has no text, or is too long for the side log.
    failure: it failed for good.
    """

    at_ms: int
    step: int
    name: str
    entry: int
    kind: str | None = None
    agent: str | None = None
    value: Any = None
    failure: Failed | None = None


class Void(_Event, tag="void", frozen=True):
    """The tries of these steps failed, or their attempt is over: their deltas so far are void.

    from_offset: no delta before it is void; 0: the reader's whole stream is.   error: why, where it is known.
    retry_at_ms: when the next attempt begins, if it has to wait.
    """

    at_ms: int
    from_offset: int
    steps: tuple[int, ...] = ()
    error: str | None = None
    retry_at_ms: int | None = None


class Waiting(_Event, tag="waiting", frozen=True):
    """The run waits for a person. id: of the question, for good.   awakeable: that an answer goes to, now.

    question, args, digest, deadline_at_ms: as asked with `ask()`, absent for a plain awakeable. digest: what an answer
    names.   step, entry: that asked.   The same id once more: asked again, as an answer could not be taken.
    """

    at_ms: int
    id: str
    awakeable: str
    question: str | None = None
    args: Any = None
    digest: str | None = None
    deadline_at_ms: int | None = None
    agent: str | None = None
    step: int | None = None
    entry: int | None = None


class Answered(_Event, tag="answered", frozen=True):
    """A question is decided, or a plain awakeable has its answer. id: as in `waiting`.   failure: it was rejected.

    value: of a question of `ask()` the outcome, such as `{"outcome": "approved", ...}`; else what came.
    """

    at_ms: int
    id: str
    value: Any = None
    failure: Failed | None = None


class Suspended(_Event, tag="suspended", frozen=True):
    """The handler rests until what it waits for is there: a person, a call, a time."""

    at_ms: int


class Paused(_Event, tag="paused", frozen=True):
    """The engine no longer drives the run: retries are used up, or on request. It goes on when it is resumed."""

    at_ms: int
    error: str | None = None


class Resumed(_Event, tag="resumed", frozen=True):
    """The handler is at work again: another attempt began."""

    at_ms: int


class Failed(msgspec.Struct, frozen=True):
    """A terminal error."""

    code: int
    message: str


class Ended(_Event, tag="ended", frozen=True):
    """The run has its result; nothing follows.

    result: JSON where it is JSON, else text; absent when it is empty.   failure: of every outcome but `result`.
    """

    at_ms: int
    outcome: Outcome
    result: Any = None
    failure: Failed | None = None


Event = Started | StepStarted | Delta | StepCommitted | Void | Waiting | Answered | Suspended | Paused | Resumed | Ended

encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(Event)


def decode(data: bytes | str) -> Event:
    """The event of its JSON form. Raises msgspec.DecodeError."""
    event: Event = _decoder.decode(data)
    return event
