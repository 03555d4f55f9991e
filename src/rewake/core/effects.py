"""Effects: messages to handlers, callers and observers, sent once the batch that caused them is committed.

The engine carries them out in order (engine/runtime.py). None of them changes durable state.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from rewake.core.ids import DeploymentId, EntryIndex, Epoch, InvocationId
from rewake.core.model import HandlerOptions, Invocation, Target
from rewake.protocol.messages import Failure, Success


class StartAttempt(msgspec.Struct, kw_only=True, frozen=True):
    """Begin an attempt: Start, then the journal as committed at that moment.

    entries: the whole journal when it is known to be just the input, else None (read it).
    state: eager state in key order; partial_state as the Start message has it.
    loss_count: workers that died under it in a row; its deployment keeps it from others then.
    """

    invocation_id: InvocationId
    epoch: Epoch
    target: Target
    key: str
    deployment_id: DeploymentId
    version: int
    state: tuple[tuple[bytes, bytes], ...]
    partial_state: bool
    retry_count: int
    loss_count: int
    stored_at_ms: int
    random_seed: int
    options: HandlerOptions
    idempotency_key: str | None
    traceparent: str | None
    entries: tuple[tuple[int, bytes], ...] | None


class Forward(msgspec.Struct, frozen=True):
    """Write a notification to the live attempt's stream, unless it was replayed to it already.

    index: its place in the journal; once it is written, everything below is delivered.
    is_ack: write it in any case; it acknowledges the entry at `index` (a command, or a run's completion).
    """

    invocation_id: InvocationId
    epoch: Epoch
    index: EntryIndex
    type_id: int
    payload: bytes
    is_ack: bool = False


class CloseMode(Enum):
    """How an attempt's stream is ended by the engine."""

    HALF_CLOSE = "half_close"
    ABORT = "abort"
    FINISHED = "finished"


class CloseAttempt(msgspec.Struct, frozen=True):
    """End the stream of an attempt: it finished by itself, is asked to suspend, or is fenced off."""

    invocation_id: InvocationId
    epoch: Epoch
    mode: CloseMode


class Completed(msgspec.Struct, frozen=True):
    """An invocation has its result; tell everyone outside who waits.

    invocation: as it is in memory, for observers; it may be forgotten already.
    """

    invocation_id: InvocationId
    result: Success | Failure
    invocation: Invocation | None = None


class ArmTimer(msgspec.Struct, frozen=True):
    """Something is due at `fire_at_ms`; the engine only needs the earliest."""

    fire_at_ms: int


class ReplyStatus(Enum):
    """Outcome of a command for its asker. The surfaces turn these into their statuses and texts."""

    ACCEPTED = "accepted"
    PREVIOUSLY_ACCEPTED = "previously_accepted"
    COMPLETED = "completed"
    PENDING = "pending"
    DONE = "done"
    NOT_FOUND = "not_found"
    ALREADY_COMPLETED = "already_completed"
    NOT_COMPLETED = "not_completed"
    NOT_RUNNING = "not_running"
    NOT_STARTED = "not_started"
    NOT_PINNED = "not_pinned"
    INPUT_GONE = "input_gone"
    UNSUPPORTED = "unsupported"
    INCOMPLETE_PREFIX = "incomplete_prefix"
    NO_STEP = "no_step"
    OPEN_AWAKEABLE = "open_awakeable"
    DEPLOYMENT_NOT_FOUND = "deployment_not_found"
    IN_PROGRESS = "in_progress"


class Reply(msgspec.Struct, frozen=True):
    """Answer to the command with `token`.

    result: set for COMPLETED.   expires_at_ms: when a result served from storage is forgotten.
    """

    token: int
    status: ReplyStatus
    invocation_id: InvocationId | None = None
    result: Success | Failure | None = None
    expires_at_ms: int | None = None
    wait: bool = False


class Note(msgspec.Struct, frozen=True):
    """A fact for the log: `event` in the past tense, with ids and values."""

    event: str
    invocation_id: InvocationId | None
    facts: dict[str, object]
    is_warning: bool = False


Effect = StartAttempt | Forward | CloseAttempt | Completed | ArmTimer | Reply | Note
