"""Commands: everything that can happen to the engine, as plain data.

An ingress call, SDK messages, a due timer, an operator's action: each arrives here with the time (`now_ms`) and the
random bytes it needs, so the core stays deterministic. `token` names the asker; a Reply effect with the same token
answers it after the commit. Read next: effects.py, then apply.py.
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

    delivered: every notification with a lower journal index has been written to its stream, replayed or forwarded.

    seed: 16 random bytes for ids of callees and retry jitter. Each message: (decoded, type id, raw payload, flags).
    """

    invocation_id: InvocationId
    epoch: Epoch
    delivered: EntryIndex
    messages: list[tuple[Message | Oversized, int, bytes, int]]
    seed: bytes


class AttemptFailed(_Command, frozen=True):
    """An attempt ended without a terminal message, or could not be made. jitter: in [0, 1).

    reached_user_code: false when no handler ran (no deployment, 415, unreachable): then steps lose no attempt.
    """

    invocation_id: InvocationId
    epoch: Epoch
    error: AttemptError
    jitter: float
    retry_after_ms: int | None = None
    reached_user_code: bool = True
    blame: Blame = Blame.OWN


class AttemptWithdrawn(_Command, frozen=True):
    """An attempt that was asked to suspend while it still waited for its turn: it never began."""

    invocation_id: InvocationId
    epoch: Epoch


class MakeRoom(_Command, frozen=True):
    """Others wait for the place of this attempt, which has been quiet: have it suspend, if it only waits for them.

    is_urgent: no place has become free for long: also if nothing shows what it waits for.
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
    """deployment: None keeps the pinned one, "latest", or a deployment id."""

    token: int
    invocation_id: InvocationId
    deployment: str | None = None


class Purge(_Command, frozen=True):
    """Forget a completed invocation, or only its journal."""

    token: int
    invocation_id: InvocationId
    journal_only: bool = False


class RestartAsNew(_Command, frozen=True):
    """Run an invocation again as a new one, keeping journal entries up to `from_index`.

    0 keeps the input only, of a completed one; further on it may still be open.   result: put in place of what the step
    at `from_index` returned, or has not returned yet; that entry must be a Run.   overwrite_state: on the key
    itself, also when other runs of it have changed since what the kept entries read.
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
    """Replace the whole state of a key, when it is free and still has `expected_version` (None: whatever it has)."""

    token: int
    service: str
    key: str
    new_state: dict[bytes, bytes]
    expected_version: str | None = None


class RegisterDeployment(_Command, frozen=True):
    """Make a deployment and its services' new revisions the latest ones."""

    token: int
    deployment: Deployment
    services: list[ServiceSchema]


class RemoveDeployment(_Command, frozen=True):
    """Forget a deployment. restored: services of its as the deployment before has them, the latest ones from now on."""

    token: int
    deployment_id: DeploymentId
    restored: list[ServiceSchema] = []


class UpdateService(_Command, frozen=True):
    """Replace the schema of a service's latest revision (operator settings)."""

    token: int
    service: ServiceSchema


class Sweep(_Command, frozen=True):
    """Forget what is past its retention. ids: candidates the store found; each is checked again."""

    invocation_ids: list[InvocationId]


class Recover(_Command, frozen=True):
    """Start again every invocation that was running when the engine stopped."""

    invocation_ids: list[InvocationId]


class PauseFaulty(_Command, frozen=True):
    """Pause an invocation whose command raised an engine bug, so that it cannot harm the others."""

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
