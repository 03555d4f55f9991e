"""The engine's nouns: invocations, targets, retry policies, keyed instances, promises, deployments.

Plain data that every transition reads and changes. The store turns these structs into rows and back; `state.py` holds
the live ones; the transitions (one file per concern) change them. Times are milliseconds since the epoch and end in
`_at_ms`; durations end in `_ms`.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any, Final

import msgspec

from rewake.core.ids import CompletionId, DeploymentId, EntryIndex, Epoch, InvocationId
from rewake.protocol.discovery import HandlerKind, ServiceType
from rewake.protocol.messages import Failure, Future, MessageType, Success

Timer = tuple[int, InvocationId, CompletionId]
"""(fire_at_ms, invocation, completion); completion id 0 wakes the invocation itself."""


class Status(IntEnum):
    """The stage of an invocation's life; stored as this number."""

    SCHEDULED = 0
    INBOXED = 1
    INVOKED = 2
    SUSPENDED = 3
    PAUSED = 4
    COMPLETED = 5


HOLDS_KEY = frozenset({Status.INVOKED, Status.SUSPENDED, Status.PAUSED})


class InvokedBy(StrEnum):
    """The kind of caller of an invocation (`sys_invocation.invoked_by`)."""

    INGRESS = "ingress"
    SERVICE = "service"
    RESTART_AS_NEW = "restart_as_new"


class OnMaxAttempts(StrEnum):
    """The action when a retry policy is used up."""

    PAUSE = "PAUSE"
    KILL = "KILL"


class Blame(IntEnum):
    """The cause of an attempt's end. It decides whether the end counts as a failed attempt.

    OWN: the handler failed.   NOBODY: there was no place to run in, or the place was taken away.
    SHARED: its worker died, and others ran there too.   ALONE: its worker died while only this attempt ran there.
    LOST: its connection broke. OWN and ALONE use up attempts, LOST only after many in a row. retries.py counts SHARED,
    ALONE and LOST.
    """

    OWN = 0
    NOBODY = 1
    SHARED = 2
    ALONE = 3
    LOST = 4


class RetryPolicy(msgspec.Struct, frozen=True):
    """Exponential back-off between attempts. Defaults are the real server's (service-protocol.md 5.6)."""

    initial_interval_ms: int = 500
    exponentiation_factor: float = 2.0
    max_interval_ms: int = 60_000
    max_attempts: int | None = 70
    on_max_attempts: OnMaxAttempts = OnMaxAttempts.PAUSE


class HandlerOptions(msgspec.Struct, frozen=True):
    """Effective settings of one handler: its own, else its service's, else the engine's (http-api.md 6.3)."""

    inactivity_timeout_ms: int = 60_000
    abort_timeout_ms: int = 600_000
    journal_retention_ms: int = 86_400_000
    idempotency_retention_ms: int = 86_400_000
    workflow_retention_ms: int = 86_400_000
    enable_lazy_state: bool = False
    public: bool = True
    retry: RetryPolicy = RetryPolicy()

    def retention_ms(self, target: Target, idempotency_key: str | None) -> tuple[int, int]:
        """Retention of the result and of the journal of a new invocation (service-protocol.md 1.3)."""
        if target.is_workflow_run:
            result_ms = self.workflow_retention_ms
        elif idempotency_key is not None:
            result_ms = self.idempotency_retention_ms
        else:
            result_ms = self.journal_retention_ms
        return result_ms, min(self.journal_retention_ms, result_ms)


class HandlerSchema(msgspec.Struct, frozen=True):
    """One handler of the latest revision, with facts of its manifest for the ingress and the admin API."""

    name: str
    kind: HandlerKind
    options: HandlerOptions
    manifest: dict[str, Any]


class ServiceSchema(msgspec.Struct, frozen=True):
    """One revision of a service. overrides: settings that an operator changed through the admin API."""

    name: str
    type: ServiceType
    revision: int
    deployment_id: DeploymentId
    handlers: dict[str, HandlerSchema]
    options: HandlerOptions
    manifest: dict[str, Any]
    overrides: dict[str, Any] = {}

    @property
    def is_keyed(self) -> bool:
        return self.type is not ServiceType.SERVICE


BY_URL = "http"
"""Kind of a deployment reached by URL."""


class Deployment(msgspec.Struct, frozen=True):
    """A place where handlers run: our worker process, this process, or (by URL) another one."""

    id: DeploymentId
    kind: str
    uri: str
    protocol_type: str
    min_protocol_version: int
    max_protocol_version: int
    sdk_version: str
    created_at_ms: int
    manifest: bytes
    services: dict[str, int]
    http_version: str = "HTTP/2.0"
    additional_headers: dict[str, str] = {}
    metadata: dict[str, str] = {}


class Target(msgspec.Struct, frozen=True):
    """The target of a call. `key` is None for plain services; a key may be the empty string."""

    service: str
    handler: str
    key: str | None
    service_type: ServiceType
    kind: HandlerKind

    @property
    def is_exclusive(self) -> bool:
        return self.kind is HandlerKind.EXCLUSIVE

    @property
    def is_workflow_run(self) -> bool:
        return self.kind is HandlerKind.WORKFLOW

    @property
    def can_write_state(self) -> bool:
        return self.kind is HandlerKind.EXCLUSIVE or self.kind is HandlerKind.WORKFLOW

    def __str__(self) -> str:
        if self.key is None:
            return f"{self.service}/{self.handler}"
        return f"{self.service}/{self.key}/{self.handler}"


class Listener(msgspec.Struct, frozen=True):
    """An invocation that waits for another one's result; it gets a notification `type` with `completion_id`."""

    caller_id: InvocationId
    completion_id: CompletionId
    type: MessageType


ALIKE_MIN: Final = 3
"""After so many attempts in a row that end alike, without progress, retries are considered useless."""


class AttemptError(msgspec.Struct, frozen=True):
    """Why an attempt failed, for operators (service-protocol.md 5.6) and for the policy.

    alike: attempts in a row, with this one, that ended alike and stored nothing new (core/failures.py).
    """

    code: int
    message: str
    restate_code: str
    stacktrace: str = ""
    related_command_index: int | None = None
    related_command_name: str | None = None
    related_command_type: str | None = None
    alike: int = 1

    @property
    def text(self) -> str:
        """The message; if retries are considered useless, behind a warning."""
        if self.alike < ALIKE_MIN:
            return self.message
        return f"{self.alike} attempts in a row ended like this, it will not heal by retrying: {self.message}"


class Notified(msgspec.Struct, frozen=True):
    """One notification in a journal: its index, the id it completes, and whether it is a failure."""

    index: EntryIndex
    id: int | str
    is_signal: bool
    is_failure: bool


class Attempt(msgspec.Struct):
    """The one live attempt of an invocation; in memory only. `epoch` fences messages of older attempts.

    replayed: it began with all journal entries below this index.
    """

    epoch: Epoch
    deployment_id: DeploymentId
    version: int
    started_at_ms: int
    replayed: EntryIndex
    pause_requested: bool = False


class JournalSummary(msgspec.Struct):
    """Facts of a journal's content, so that the core need not hold the journal.

    pending: completion id -> type of the awaited notification.   children: ids of invocations it called.
    signals: indexes of completed awakeables (>= 17); the first completion wins.
    cancelled_at: index of the last cancel, if the handler has made no command since.
    last_id: the highest completion id so far.   taken: all of them, once an id came that was not higher; before, None.
    """

    pending: dict[CompletionId, MessageType] = {}
    signals: set[int] = set()
    children: list[InvocationId] = []
    output: Success | Failure | None = None
    cancelled_at: EntryIndex | None = None
    last_id: CompletionId = CompletionId(0)
    taken: set[CompletionId | None] | None = None


class Invocation(msgspec.Struct):
    """One invocation. From `epoch` on the fields live in memory only; all others are its row.

    status: changed by lifecycle.move alone.
    awaiting: the await of a suspended handler, evaluated over journal entries from `awaiting_from` on.
    notified: notifications of this attempt or, if suspended, from `awaiting_from` on; None: not loaded.
    stored_at_ms: time of the last entry.   command_retry_count: failures since the last stored command.
    branch_of: the key that the handler sees, if its own is a branch of that (branches.py).
    loss_count: workers that died under it, or connections that broke, since an attempt last ended by itself.
    kill_count: workers that died while it ran there alone, since the last stored command.
    """

    id: InvocationId
    target: Target
    created_at_ms: int
    modified_at_ms: int
    status: Status = Status.SCHEDULED
    invoked_by: InvokedBy = InvokedBy.INGRESS
    invoked_by_id: InvocationId | None = None
    invoked_by_target: str | None = None
    restarted_from: InvocationId | None = None
    branch_of: str | None = None
    idempotency_key: str | None = None
    traceparent: str | None = None
    completion_retention_ms: int = 0
    journal_retention_ms: int = 0
    random_seed: int = 0

    inbox_sequence: int = 0
    inboxed_at_ms: int | None = None
    scheduled_at_ms: int | None = None
    start_at_ms: int | None = None
    running_at_ms: int | None = None
    completed_at_ms: int | None = None
    purge_at_ms: int | None = None
    journal_purge_at_ms: int | None = None

    pinned_deployment_id: DeploymentId | None = None
    pinned_version: int | None = None
    journal_length: int = 0
    command_count: int = 0
    stored_at_ms: int = 0

    awaiting: Future | None = None
    awaiting_from: EntryIndex = EntryIndex(0)
    retry_count: int = 0
    command_retry_count: int = 0
    loss_count: int = 0
    kill_count: int = 0
    last_start_at_ms: int | None = None
    next_retry_at_ms: int | None = None
    last_deployment_id: DeploymentId | None = None
    last_error: AttemptError | None = None
    result: Success | Failure | None = None

    epoch: Epoch = Epoch(0)
    is_stored: bool = False
    attempt: Attempt | None = None
    journal: JournalSummary | None = None
    listeners: list[Listener] | None = None
    notified: list[Notified] | None = None

    @property
    def is_open(self) -> bool:
        return self.status is not Status.COMPLETED

    @property
    def is_backing_off(self) -> bool:
        return self.status is Status.INVOKED and self.next_retry_at_ms is not None


class StateMutation(msgspec.Struct, frozen=True):
    """A change of state by the admin API that waits for the key."""

    service: str
    key: str
    sequence: int
    new_state: dict[bytes, bytes]
    expected_version: str | None


Queued = InvocationId | StateMutation
"""A member of a key's queue: an invocation, or an operator's change of state."""


class KeyedInstance(msgspec.Struct):
    """One virtual object or workflow key: its holder, its queue (in arrival order), and its state if loaded.

    queue: None if not loaded (State.queue_of loads it). Then the queue is the stored one, with `late` added and `left`
    removed. A free key has no queue.
    """

    service: str
    key: str
    holder: InvocationId | None = None
    queue: list[Queued] | None = []
    late: list[Queued] = []
    left: set[InvocationId] = set()
    state: dict[bytes, bytes] | None = None


class Promise(msgspec.Struct):
    """A workflow promise; `result` is None until completed. A row exists as soon as somebody waits."""

    service: str
    key: str
    name: str
    result: Success | Failure | None = None
    listeners: list[Listener] = []
