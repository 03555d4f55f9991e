"""Commands: all inputs of the core, as plain data.

An ingress call, SDK messages, a due timer, an operator's action: each has the time (`now_ms`) and the random bytes it
needs, so the core stays deterministic. `token` names the caller, which gets a Reply effect with the same token after
the commit. Read next: effects.py, then apply.py.
"""

from __future__ import annotations

import msgspec

from rewake.core.ids import DeploymentId, EntryIndex, Epoch, InvocationId
from rewake.core.model import AttemptError, Blame, Deployment, ServiceSchema, Target, Timer
from rewake.protocol.framing import Oversized
from rewake.protocol.messages import Failure, Header, Message, SignalResult, Success


class _Command(msgspec.Struct, kw_only=True, frozen=True):
    now_ms: int


class Invoke(_Command, frozen=True):
    """Call or send from outside. random: 10 bytes for the id.   execute_at_ms: delayed send.   wait: a call."""

    token: int
    target: Target
    input: bytes
    headers: tuple[Header, ...]
    random: bytes
    wait: bool
    idempotency_key: str | None = None
    execute_at_ms: int | None = None
    traceparent: str | None = None


class Attach(_Command, frozen=True):
    """Wait for the result of an invocation (`wait`), or ask whether there is one."""

    token: int
    invocation_id: InvocationId
    wait: bool


class SdkMessages(_Command, frozen=True):
    """Messages of one attempt, in order.

    delivered: all notifications with a lower journal index were written to its stream, by replay or Forward.
    seed: 16 random bytes for ids of callees and retry jitter.   messages: (decoded, type id, raw payload, flags).
    """

    invocation_id: InvocationId
    epoch: Epoch
    delivered: EntryIndex
    messages: list[tuple[Message | Oversized, int, bytes, int]]
    seed: bytes


class AttemptFailed(_Command, frozen=True):
    """An attempt ended without a terminal message, or could not be made. jitter: in [0, 1).

    reached_user_code: False if no handler ran (no deployment, 415, unreachable): then steps lose no attempt.
    """

    invocation_id: InvocationId
    epoch: Epoch
    error: AttemptError
    jitter: float
    retry_after_ms: int | None = None
    reached_user_code: bool = True
    blame: Blame = Blame.OWN


class AttemptWithdrawn(_Command, frozen=True):
    """An attempt was asked to suspend while it was queued, so it never began."""

    invocation_id: InvocationId
    epoch: Epoch


class MakeRoom(_Command, frozen=True):
    """Other attempts are queued, and this one was quiet: have it suspend, if it only waits for others.

    is_urgent: no place became free for long; so have it suspend even without a pending entry.
    """

    invocation_id: InvocationId
    epoch: Epoch
    is_urgent: bool = False


class TimersDue(_Command, frozen=True):
    """Timers at or before now, as (fire_at_ms, invocation id, completion id); completion id 0 wakes the invocation."""

    due: list[Timer]


class Cancel(_Command, frozen=True):
    token: int
    invocation_id: InvocationId


class Kill(_Command, frozen=True):
    token: int
    invocation_id: InvocationId


class Pause(_Command, frozen=True):
    token: int
    invocation_id: InvocationId


class Resume(_Command, frozen=True):
    """Resume an invocation. deployment: None keeps the pinned one, "latest", or a deployment id."""

    token: int
    invocation_id: InvocationId
    deployment: str | None = None


class Purge(_Command, frozen=True):
    """Delete a completed invocation, or only its journal."""

    token: int
    invocation_id: InvocationId
    journal_only: bool = False


class RestartAsNew(_Command, frozen=True):
    """Run an invocation again as a new one that keeps journal entries up to `from_index`.

    from_index: 0 keeps only the input; the old invocation must then be completed.   result: replaces the result of the
    step at `from_index`, which may be open but must be a Run.   overwrite_state: use the key itself even if other runs
    have changed its state since the kept entries read it.
    """

    token: int
    invocation_id: InvocationId
    random: bytes
    from_index: int = 0
    deployment: str = "latest"
    result: bytes | None = None
    overwrite_state: bool = False


class CompleteSignal(_Command, frozen=True):
    """Resolve or reject an awakeable from outside."""

    token: int
    invocation_id: InvocationId
    signal: int
    result: SignalResult


class CompletePromise(_Command, frozen=True):
    """Resolve or reject a promise of a workflow key from outside."""

    token: int
    service: str
    key: str
    name: str
    result: Success | Failure


class MutateState(_Command, frozen=True):
    """Replace all state of a key, once it is free, if its version is still `expected_version` (None: any version)."""

    token: int
    service: str
    key: str
    new_state: dict[bytes, bytes]
    expected_version: str | None = None


class RegisterDeployment(_Command, frozen=True):
    """Register a deployment; its services' new revisions become the latest ones."""

    token: int
    deployment: Deployment
    services: list[ServiceSchema]


class RemoveDeployment(_Command, frozen=True):
    """Remove a deployment. restored: its services as the deployment before had them; they become the latest."""

    token: int
    deployment_id: DeploymentId
    restored: list[ServiceSchema] = []


class UpdateService(_Command, frozen=True):
    """Replace the schema of a service's latest revision (operator settings)."""

    token: int
    service: ServiceSchema


class Sweep(_Command, frozen=True):
    """Delete what is past its retention. ids: candidates from the store; each is checked again."""

    invocation_ids: list[InvocationId]


class Recover(_Command, frozen=True):
    """Resume every invocation that was running when the engine stopped."""

    invocation_ids: list[InvocationId]


class PauseFaulty(_Command, frozen=True):
    """Pause an invocation whose command met an engine bug, so that it cannot harm others."""

    invocation_id: InvocationId
    error: AttemptError


Command = (
    Invoke
    | Attach
    | SdkMessages
    | AttemptFailed
    | AttemptWithdrawn
    | MakeRoom
    | TimersDue
    | Cancel
    | Kill
    | Pause
    | Resume
    | Purge
    | RestartAsNew
    | CompleteSignal
    | CompletePromise
    | MutateState
    | RegisterDeployment
    | RemoveDeployment
    | UpdateService
    | Sweep
    | Recover
    | PauseFaulty
)

Outcome = Success | Failure
