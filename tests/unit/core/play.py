"""A stage for the core: what came in, what must go out, in order, nothing else.

`Play` holds a State over a MemoryStore and a clock. Its verbs are commands (`call`, `sdk`, `cancel`, ...); `expect`
commits and compares the effects with Starts, Tells, Closes and so on. `crash` drops memory, so a test can show that
nothing depended on it. SDK messages go to the live attempt unless an epoch is named.
"""

from __future__ import annotations

from typing import Any

import msgspec
from tests.simulation.memory_store import MemoryStore

from rewake.core import commands
from rewake.core.apply import apply
from rewake.core.effects import (
    ArmTimer,
    CloseAttempt,
    CloseMode,
    Completed,
    Effect,
    Forward,
    Note,
    Reply,
    ReplyStatus,
    StartAttempt,
)
from rewake.core.ids import DeploymentId, EntryIndex, Epoch, InvocationId
from rewake.core.model import (
    AttemptError,
    Deployment,
    HandlerOptions,
    HandlerSchema,
    Invocation,
    RetryPolicy,
    ServiceSchema,
    Status,
    Target,
)
from rewake.core.settings import Settings
from rewake.core.state import State
from rewake.protocol import messages as m
from rewake.protocol.codec import decode_message, encode_message, message_type
from rewake.protocol.discovery import HandlerKind, ServiceType
from rewake.protocol.framing import Oversized

NOW_MS = 1_000_000
HALF_CLOSE, ABORT, FINISHED = CloseMode.HALF_CLOSE, CloseMode.ABORT, CloseMode.FINISHED

SERVICES = {
    "greeter": (ServiceType.SERVICE, {"greet": HandlerKind.PLAIN, "route": HandlerKind.PLAIN}),
    "cart": (
        ServiceType.VIRTUAL_OBJECT,
        {"add": HandlerKind.EXCLUSIVE, "pay": HandlerKind.EXCLUSIVE, "view": HandlerKind.SHARED},
    ),
    "signup": (ServiceType.WORKFLOW, {"run": HandlerKind.WORKFLOW, "look": HandlerKind.SHARED}),
}


class Seen(msgspec.Struct, frozen=True):
    """An effect as tests name it. Those of different kinds are never equal."""


class Start(Seen, frozen=True):
    """An attempt begins."""

    invocation_id: InvocationId


class Tell(Seen, frozen=True):
    """A notification goes to the stream."""

    invocation_id: InvocationId
    message: m.Message


class Ack(Seen, frozen=True):
    """An acknowledgement goes to the stream."""

    invocation_id: InvocationId
    message: m.Message


class Close(Seen, frozen=True):
    """The stream is ended."""

    invocation_id: InvocationId
    mode: CloseMode


class Done(Seen, frozen=True):
    """An invocation has its result."""

    invocation_id: InvocationId
    result: m.Outcome


class Answer(Seen, frozen=True):
    """The asker of a command hears its outcome."""

    status: ReplyStatus
    result: m.Outcome | None = None


class Timer(Seen, frozen=True):
    """Something is due then."""

    fire_at_ms: int


class Logged(Seen, frozen=True):
    """A fact for the log."""

    event: str


class Asked(Seen, frozen=True):
    """A message that wants an ack."""

    message: m.Message


def target_of(path: str) -> Target:
    """The target `service/handler` or `service/key/handler` names."""
    service, *key, handler = path.split("/")
    type_, handlers = SERVICES[service]
    return Target(service, handler, key[0] if key else None, type_, handlers[handler])


def call_command(path: str, first_id: int, *, key: str | None = None, name: str = "") -> m.CallCommand:
    """A Call with completion ids `first_id` (the callee's id) and the next one (its result)."""
    target = target_of(path)
    return m.CallCommand(
        target.service, target.handler, b"in", (), target.key or "", key, None, None, first_id, first_id + 1, name
    )


def send_command(path: str, completion_id: int, *, at_ms: int = 0, key: str | None = None) -> m.OneWayCallCommand:
    target = target_of(path)
    return m.OneWayCallCommand(
        target.service, target.handler, b"in", (), target.key or "", key, None, None, at_ms, completion_id
    )


def deployment(id: str = "dp1", *, version_min: int = 5, version_max: int = 7) -> Deployment:
    return Deployment(
        id=DeploymentId(id),
        kind="worker",
        uri="worker:" + id,
        protocol_type="BIDI_STREAM",
        min_protocol_version=version_min,
        max_protocol_version=version_max,
        sdk_version="test",
        created_at_ms=0,
        manifest=b"{}",
        services={},
    )


def services(options: HandlerOptions, deployment_id: str = "dp1") -> list[ServiceSchema]:
    nothing: dict[str, Any] = {}
    return [
        ServiceSchema(
            name=name,
            type=type_,
            revision=1,
            deployment_id=DeploymentId(deployment_id),
            handlers={handler: HandlerSchema(handler, kind, options, nothing) for handler, kind in handlers.items()},
            options=options,
            manifest=nothing,
        )
        for name, (type_, handlers) in SERVICES.items()
    ]


class Play:
    """One engine without an engine: commands in, effects out, commits when `expect` is called."""

    def __init__(self, settings: Settings | None = None, **options: Any) -> None:
        self.options = HandlerOptions(**options)
        self.settings = settings or Settings()
        self.store = MemoryStore()
        self.state = State(self.store, self.settings)
        self.now_ms = NOW_MS
        self.token = 0
        self.started: dict[InvocationId, StartAttempt] = {}
        self.delivered: dict[InvocationId, EntryIndex] = {}
        self.replies: list[Reply] = []
        self._random = 0
        self.register()
        self.commit()

    # What comes in

    def submit(self, command: commands.Command) -> None:
        apply(self.state, command)
        self.state.check()

    def ask(self, kind: type[Any], invocation_id: InvocationId, **fields: Any) -> None:
        """An operator's or a client's command about one invocation."""
        self.token += 1
        self.submit(kind(now_ms=self.now_ms, token=self.token, invocation_id=invocation_id, **fields))

    def register(self, item: Deployment | None = None) -> None:
        item = item or deployment()
        self.token += 1
        self.submit(
            commands.RegisterDeployment(
                now_ms=self.now_ms, token=self.token, deployment=item, services=services(self.options, item.id)
            )
        )

    def remove_deployment(self, id: str = "dp1") -> None:
        self.token += 1
        self.submit(commands.RemoveDeployment(now_ms=self.now_ms, token=self.token, deployment_id=DeploymentId(id)))

    def call(
        self,
        path: str,
        *,
        key: str | None = None,
        wait: bool = True,
        at_ms: int | None = None,
        input: bytes = b"in",
        traceparent: str | None = None,
    ) -> InvocationId:
        """A call from outside; its id as the answer names it."""
        self.token += 1
        self._random += 1
        self.submit(
            commands.Invoke(
                now_ms=self.now_ms,
                token=self.token,
                target=target_of(path),
                input=input,
                headers=(("x", "y"),),
                random=self._random.to_bytes(10, "big"),
                wait=wait,
                idempotency_key=key,
                execute_at_ms=at_ms,
                traceparent=traceparent,
            )
        )
        reply = next(item for item in self.state.effects if isinstance(item, Reply) and item.token == self.token)
        assert reply.invocation_id is not None
        return reply.invocation_id

    def sdk(
        self,
        invocation_id: InvocationId,
        *messages: m.Message | Asked,
        epoch: Epoch | None = None,
        delivered: EntryIndex | None = None,
    ) -> None:
        """Messages of the live attempt, or of the one with `epoch`."""
        self.commit()
        start = self.started[invocation_id]
        sent: list[tuple[m.Message | Oversized, int, bytes, int]] = []
        for item in messages:
            message = item.message if isinstance(item, Asked) else item
            flags = m.REQUESTED_ACK if isinstance(item, Asked) else 0
            payload = encode_message(message, start.version)
            sent.append((message, int(message_type(message)), payload, flags))
        self._random += 1
        self.submit(
            commands.SdkMessages(
                now_ms=self.now_ms,
                invocation_id=invocation_id,
                epoch=start.epoch if epoch is None else epoch,
                delivered=self.delivered[invocation_id] if delivered is None else delivered,
                messages=sent,
                seed=self._random.to_bytes(16, "big"),
            )
        )

    def run_step(self, invocation_id: InvocationId, completion_id: int, value: bytes = b"v") -> None:
        self.sdk(invocation_id, m.RunCommand(completion_id), m.ProposeRunCompletion(completion_id, m.Success(value)))

    def sdk_ends(self, invocation_id: InvocationId, value: bytes = b"1") -> None:
        self.sdk(invocation_id, m.OutputCommand(m.Success(value)), m.End())

    def suspend(
        self, invocation_id: InvocationId, *completions: int, delivered: EntryIndex | None = None, **fields: Any
    ) -> None:
        self.sdk(invocation_id, m.Suspension(m.Future(completions, **fields)), delivered=delivered)

    def fails(
        self, invocation_id: InvocationId, code: str = "RT0007", *, epoch: Epoch | None = None, **fields: Any
    ) -> None:
        """The attempt ends without a terminal message."""
        self.commit()
        self.submit(
            commands.AttemptFailed(
                now_ms=self.now_ms,
                invocation_id=invocation_id,
                epoch=self.started[invocation_id].epoch if epoch is None else epoch,
                error=AttemptError(500, "broke", code),
                jitter=fields.pop("jitter", 0.0),
                **fields,
            )
        )

    def time(self, later_ms: int) -> None:
        """Let time pass and fire what is due."""
        self.commit()
        self.now_ms += later_ms
        self.submit(commands.TimersDue(now_ms=self.now_ms, due=self.store.due_timers(self.now_ms)))

    def crash(self, *, loses_batch: bool = False) -> None:
        """Lose memory, with `loses_batch` also what is not committed yet; start again."""
        if not loses_batch:
            self.commit()
        self.state = State(self.store, self.settings, last_epoch=self.state.last_epoch)
        self.submit(commands.Recover(now_ms=self.now_ms, invocation_ids=self.store.ids_with(Status.INVOKED)))

    # What goes out

    def commit(self) -> list[Effect]:
        """Make the batch durable and let its effects out."""
        batch, effects = self.state.seal()
        self.store.apply(batch)
        self.state.committed(batch.sequence)
        for effect in effects:
            self._note(effect)
        self._effects = [*getattr(self, "_effects", []), *effects]
        return effects

    def _note(self, effect: Effect) -> None:
        match effect:
            case StartAttempt():
                self.started[effect.invocation_id] = effect
                self.delivered[effect.invocation_id] = EntryIndex(len(self.store.entries.get(effect.invocation_id, ())))
            case Forward():
                before = self.delivered[effect.invocation_id]
                self.delivered[effect.invocation_id] = EntryIndex(max(before, effect.index + 1))
            case Reply():
                self.replies.append(effect)

    def expect(self, *expected: Seen) -> None:
        """These effects since the last `expect`, in this order, and nothing else."""
        self.commit()
        effects, self._effects = self._effects, []
        assert [self._plain(effect) for effect in effects] == list(expected)

    def skip(self) -> None:
        """What went out so far is not what the test is about."""
        self.commit()
        self._effects = []

    def _plain(self, effect: Effect) -> Seen:
        match effect:
            case StartAttempt(invocation_id=id):
                return Start(id)
            case Forward(invocation_id=id, type_id=type_id, payload=payload, is_ack=is_ack):
                message = decode_message(type_id, payload, self.started[id].version)
                return Ack(id, message) if is_ack else Tell(id, message)
            case CloseAttempt(invocation_id=id, mode=mode):
                return Close(id, mode)
            case Completed(invocation_id=id, result=result):
                return Done(id, result)
            case Reply(status=status, result=result):
                return Answer(status, result)
            case ArmTimer(fire_at_ms=fire_at_ms):
                return Timer(fire_at_ms)
            case Note(event=event):
                return Logged(event)

    # What is stored

    def row(self, invocation_id: InvocationId) -> Invocation:
        self.commit()
        found = self.store.invocation(invocation_id)
        assert found is not None
        return found

    def status(self, invocation_id: InvocationId) -> Status:
        return self.row(invocation_id).status

    def exists(self, invocation_id: InvocationId) -> bool:
        self.commit()
        return invocation_id in self.store.invocations

    def journal(self, invocation_id: InvocationId) -> list[m.Message]:
        """Stored entries after the input."""
        version = self.row(invocation_id).pinned_version or 6
        rows = self.store.entries.get(invocation_id, [])
        return [decode_message(row.type_id, row.payload, version) for row in rows[1:]]

    def children(self, invocation_id: InvocationId) -> list[InvocationId]:
        self.commit()
        return [row.child for row in self.store.entries[invocation_id] if row.child is not None]

    def set_options(self, **options: Any) -> None:
        """Register the services again with other settings."""
        self.options = msgspec.structs.replace(self.options, **options)
        self.register()
        self.skip()


def retry(**fields: Any) -> RetryPolicy:
    """A policy with round numbers: 100 ms, doubling."""
    return RetryPolicy(**{"initial_interval_ms": 100, "max_interval_ms": 1000, "max_attempts": None, **fields})


def success(value: bytes = b"1") -> m.Success:
    return m.Success(value)


def run_done(completion_id: int, value: bytes = b"v") -> m.Completion:
    return m.Completion(m.MessageType.RUN_COMPLETION, completion_id, m.Success(value))
