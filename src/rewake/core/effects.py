"""Effects: messages to handlers, callers and observers, sent after their batch is committed.

engine/runtime.py executes them in order. They do not change durable state.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from rewake.core.ids import DeploymentId, EntryIndex, Epoch, InvocationId
from rewake.core.model import HandlerOptions, Invocation, Target
from rewake.protocol.messages import Failure, Success


class StartAttempt(msgspec.Struct, kw_only=True, frozen=True):
    """Begin an attempt: Start, then the journal as committed at that moment.

    entries: the whole journal, if it is only the input; None: read it from the store.
    state: eager state in key order.   partial_state: for the Start message.
    loss_count: workers that died under it in a row; its deployment isolates it if there are many.
    is_resumed: the attempt before ended with a stored suspension that cut off no step.
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
    is_resumed: bool


class Forward(msgspec.Struct, frozen=True):
    """Write a notification to the live attempt's stream, unless it was replayed to it already.

    index: in the journal; after the write all entries below it are delivered.
    is_ack: write it even if it was replayed: it acknowledges the entry at `index` (a command or a run's completion).
    """

    invocation_id: InvocationId
    epoch: Epoch
    index: EntryIndex
    type_id: int
    payload: bytes
    is_ack: bool = False


class CloseMode(Enum):
    """How the engine ends an attempt's stream."""

    HALF_CLOSE = auto()
    ABORT = auto()
    FINISHED = auto()


class CloseAttempt(msgspec.Struct, frozen=True):
    """End the stream of an attempt: it has finished, must suspend, or is fenced off."""

    invocation_id: InvocationId
    epoch: Epoch
    mode: CloseMode


class Completed(msgspec.Struct, frozen=True):
    """An invocation has its result; answer the callers that wait for it.

    invocation: from memory, for observers; it may be deleted already.
    """

    invocation_id: InvocationId
    result: Success | Failure
    invocation: Invocation | None = None


class ArmTimer(msgspec.Struct, frozen=True):
    """A timer is due at `fire_at_ms`; the engine only needs the earliest."""

    fire_at_ms: int


class ReplyStatus(Enum):
    """Outcome of a command for its caller. Ingress, admin API, CLI and UI turn these into statuses and texts."""

    ACCEPTED = auto()
    PREVIOUSLY_ACCEPTED = auto()
    COMPLETED = auto()
    PENDING = auto()
    DONE = auto()
    NOT_FOUND = auto()
    ALREADY_COMPLETED = auto()
    NOT_COMPLETED = auto()
    NOT_RUNNING = auto()
    NOT_STARTED = auto()
    NOT_PINNED = auto()
    INPUT_GONE = auto()
    UNSUPPORTED = auto()
    INCOMPLETE_PREFIX = auto()
    NO_STEP = auto()
    OPEN_AWAKEABLE = auto()
    DEPLOYMENT_NOT_FOUND = auto()
    IN_PROGRESS = auto()


class Reply(msgspec.Struct, frozen=True):
    """Answer to the command with `token`.

    result: set for COMPLETED.   expires_at_ms: when a stored result will be deleted.
    """

    token: int
    status: ReplyStatus
    invocation_id: InvocationId | None = None
    result: Success | Failure | None = None
    expires_at_ms: int | None = None
    wait: bool = False


class Note(msgspec.Struct, frozen=True):
    """An event for the log: `event` in the past tense, with ids and values."""

    event: str
    invocation_id: InvocationId | None
    facts: dict[str, object]
    is_warning: bool = False


Effect = StartAttempt | Forward | CloseAttempt | Completed | ArmTimer | Reply | Note
