"""The events that a reader of a stream gets, as structs and as JSON: `{"type": "delta", "step": 3, ...}`.

`offset` grows with every event and is the id of the server-sent event. Offsets are unique over all runs of a data
folder, and have gaps. `step` is a step's number in its stream: the offset of the event that first announced it.

A reader that follows four rules ends up with what the journal has:
1. `step_started` with a known `step` adds facts about that step.
2. `delta` belongs to the step it names.
3. `void`: forget all deltas of the steps it names; they are sent again. With `from_offset` 0 forget the whole stream,
   which is then sent from its beginning.
4. `step_committed` ends a step. Its `value`, if present, is the journal's and replaces the deltas.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

Outcome = Literal["result", "failure", "cancelled", "killed"]


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """offset: the event's id, see above.   at_ms: when it happened, in milliseconds since the epoch."""

    offset: int


class Started(_Event, tag="started", frozen=True):
    """The handler was started for the first time. target: `service[/key]/handler`."""

    at_ms: int
    invocation_id: str
    target: str


class StepStarted(_Event, tag="step_started", frozen=True):
    """A step runs. name: as in the journal.   entry: index of its command there.

    kind, agent: from the writer (see ext/kernel/envelope.py), None until known; kind is `call` for a call of a handler.
    """

    at_ms: int
    step: int
    name: str
    entry: int
    kind: str | None = None
    agent: str | None = None


class Delta(_Event, tag="delta", frozen=True):
    """A piece of the step's output. data: text, or an event in the framework's own JSON form."""

    step: int
    data: Any


class StepCommitted(_Event, tag="step_committed", frozen=True):
    """A step's result is in the journal. entry: index of the result there.

    value: the result as JSON if it is JSON, else as text; absent if it is empty or too long for the side log.
    failure: set if the step failed for good.
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

    from_offset: only deltas from here on are void; 0: all that the reader has.   error: the reason, if it is known.
    retry_at_ms: when the next attempt begins, if it has to wait.
    """

    at_ms: int
    from_offset: int
    steps: tuple[int, ...] = ()
    error: str | None = None
    retry_at_ms: int | None = None


class Waiting(_Event, tag="waiting", frozen=True):
    """The run waits for a person. id: the question's lasting id.   awakeable: takes the answer; may change.

    question, args, digest, deadline_at_ms: as given to `ask()`, absent for a plain awakeable. An answer names the
    digest.   step, entry: where the question was asked.   A second event with the same id means that an answer could
    not be accepted and the question is asked again.
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
    """A question is decided, or a plain awakeable is answered. id: as in `waiting`.   failure: set if it was rejected.

    value: the outcome of `ask()`, such as `{"outcome": "approved", ...}`, or the value sent to a plain awakeable.
    """

    at_ms: int
    id: str
    value: Any = None
    failure: Failed | None = None


class Suspended(_Event, tag="suspended", frozen=True):
    """The handler waits for a person, a call or a time, and holds no process meanwhile."""

    at_ms: int


class Paused(_Event, tag="paused", frozen=True):
    """The engine no longer drives the run: its retries are used up, or somebody paused it. It goes on when resumed."""

    at_ms: int
    error: str | None = None


class Resumed(_Event, tag="resumed", frozen=True):
    """Another attempt began, so the handler runs again."""

    at_ms: int


class Failed(msgspec.Struct, frozen=True):
    """A terminal error."""

    code: int
    message: str


class Ended(_Event, tag="ended", frozen=True):
    """The run has its result; no event follows.

    result: as JSON if it is JSON, else as text; absent if it is empty.   failure: set for every outcome but `result`.
    """

    at_ms: int
    outcome: Outcome
    result: Any = None
    failure: Failed | None = None


Event = Started | StepStarted | Delta | StepCommitted | Void | Waiting | Answered | Suspended | Paused | Resumed | Ended

encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(Event)


def decode(data: bytes | str) -> Event:
    """The event in this JSON text. Raises msgspec.DecodeError."""
    event: Event = _decoder.decode(data)
    return event
