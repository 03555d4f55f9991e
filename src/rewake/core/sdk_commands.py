"""The commands of a handler, one function each: check, append, act, append a result that is known at once.

A failed check raises CommandRejected before any change. The payload is stored unchanged, since the SDK compares it at a
replay. Commands of one attempt come strictly in order. Source: service-protocol.md 4. Called by attempts.on_messages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from rewake.core import calls, ids, journal, keyed, promises, signals, wakeups
from rewake.core.effects import Forward
from rewake.core.errors import CommandRejected
from rewake.core.ids import CompletionId, EntryIndex
from rewake.core.model import Invocation, Listener
from rewake.core.state import State
from rewake.protocol.codec import encode_message, message_type
from rewake.protocol.discovery import ServiceType
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import (
    REQUESTED_ACK,
    VOID,
    AttachInvocationCommand,
    CallCommand,
    ClearAllStateCommand,
    ClearStateCommand,
    CommandAck,
    CompleteAwakeableCommand,
    CompletePromiseCommand,
    Completion,
    GetEagerStateCommand,
    GetEagerStateKeysCommand,
    GetInvocationOutputCommand,
    GetLazyStateCommand,
    GetLazyStateKeysCommand,
    GetPromiseCommand,
    Message,
    MessageType,
    OneWayCallCommand,
    OutputCommand,
    PeekPromiseCommand,
    ProposeRunCompletionAck,
    Result,
    RunCommand,
    SendSignalCommand,
    SetStateCommand,
    SleepCommand,
    StateKeys,
    Success,
)


class Context:
    """The common data of one chunk's messages: the invocation, the time, and random bytes."""

    __slots__ = ("_drawn", "_seed", "invocation", "now_ms", "state")

    def __init__(self, state: State, invocation: Invocation, now_ms: int, seed: bytes) -> None:
        self.state = state
        self.invocation = invocation
        self.now_ms = now_ms
        self._seed = seed
        self._drawn = 0

    def random_bytes(self) -> bytes:
        """Ten bytes, new at each call, derived from the command's seed."""
        self._drawn += 1
        return hashlib.blake2b(self._seed, digest_size=10, salt=self._drawn.to_bytes(8, "big")).digest()

    def jitter(self) -> float:
        return int.from_bytes(self.random_bytes()[:4], "big") / 2**32

    @property
    def version(self) -> int:
        assert self.invocation.attempt is not None
        return self.invocation.attempt.version

    def encode(self, message: Message) -> bytes:
        return encode_message(message, self.version)

    def pin(self) -> None:
        """Pin the invocation: from its first stored command on it uses this deployment and protocol version."""
        invocation, attempt = self.invocation, self.invocation.attempt
        assert attempt is not None
        if invocation.pinned_version is None:
            invocation.pinned_deployment_id = attempt.deployment_id
            invocation.pinned_version = attempt.version
            self.state.touch(invocation)

    def append(
        self, type_id: MessageType, payload: bytes, name: str, completion_id: CompletionId | None = None
    ) -> None:
        self.pin()
        journal.append_command(
            self.state,
            self.invocation,
            type_id,
            payload,
            now_ms=self.now_ms,
            name=name,
            completion_id=completion_id,
        )

    def complete(self, type: MessageType, completion_id: CompletionId, result: Result) -> None:
        completion = Completion(type, completion_id, result)
        journal.append_completion(self.state, self.invocation, completion, now_ms=self.now_ms)

    def acknowledge(self, ack: CommandAck | ProposeRunCompletionAck) -> None:
        """Acknowledge the entry that was just appended."""
        invocation, type_id = self.invocation, message_type(ack)
        index = EntryIndex(invocation.journal_length - 1)
        self.state.emit(Forward(invocation.id, invocation.epoch, index, type_id, self.encode(ack), is_ack=True))

    def key(self) -> str:
        """The key of the handler's state and promises."""
        if self.invocation.target.key is None:
            raise CommandRejected("RT0017", f"'{self.invocation.target}' is a plain service and has no state")
        return self.invocation.target.key

    def writable_key(self) -> str:
        key = self.key()
        if not self.invocation.target.can_write_state:
            raise CommandRejected("RT0017", f"'{self.invocation.target}' is a shared handler and may not write state")
        return key

    def workflow_key(self) -> str:
        if self.invocation.target.service_type is not ServiceType.WORKFLOW:
            raise CommandRejected("RT0017", f"'{self.invocation.target}' is not a workflow and has no promises")
        return self.key()

    @property
    def service(self) -> str:
        return self.invocation.target.service


def on_command(context: Context, message: Message, type_id: int, payload: bytes, flags: int) -> None:
    """Process one command. Raises CommandRejected or ProtocolViolation before any change."""
    handler = _HANDLERS.get(type(message))
    if handler is None:
        raise ProtocolViolation(f"message type 0x{type_id:04x} is not allowed from the SDK")
    if context.invocation.journal_length >= context.state.settings.journal_entries_max:
        limit = context.state.settings.journal_entries_max
        raise CommandRejected("RT0017", f"the journal has reached its limit of {limit} entries")
    _check_ids(context, message)
    command_index = context.invocation.command_count
    handler(context, message, payload)
    if flags & REQUESTED_ACK:
        context.acknowledge(CommandAck(command_index))


def _check_ids(context: Context, message: Any) -> None:
    """A completion id names one result of one command, or two could come for it (service-protocol.md 3.2)."""
    completion_id = getattr(message, "completion_id", 0)
    if completion_id > context.state.journal_of(context.invocation).last_id:
        return  # nearly all: SDKs count upwards
    completion_ids: tuple[int, ...]
    match message:
        case CallCommand(invocation_id_completion_id=first, result_completion_id=second):
            completion_ids = (first, second)
        case OneWayCallCommand(invocation_id_completion_id=first):
            completion_ids = (first,)
        case _:
            completion_ids = (message.completion_id,) if hasattr(message, "completion_id") else ()
    for count, completion_id in enumerate(completion_ids):
        is_taken = journal.is_taken(context.state, context.invocation, CompletionId(completion_id))
        if is_taken or not completion_id or completion_id in completion_ids[:count]:
            raise ProtocolViolation(f"completion id {completion_id} does not name a new result")


def _output(context: Context, message: OutputCommand, payload: bytes) -> None:
    context.append(MessageType.OUTPUT, payload, message.name)
    context.state.journal_of(context.invocation).output = message.result


def _run(context: Context, message: RunCommand, payload: bytes) -> None:
    context.append(MessageType.RUN, payload, message.name, CompletionId(message.completion_id))


def _sleep(context: Context, message: SleepCommand, payload: bytes) -> None:
    context.append(MessageType.SLEEP, payload, message.name, CompletionId(message.completion_id))
    if message.wake_up_at_ms <= context.now_ms:
        context.complete(MessageType.SLEEP_COMPLETION, CompletionId(message.completion_id), VOID)
    else:
        wakeups.arm(context.state, context.invocation.id, message.wake_up_at_ms, CompletionId(message.completion_id))


def _call(context: Context, message: CallCommand, payload: bytes) -> None:
    calls.check_call(context.state, message)
    context.append(MessageType.CALL, payload, message.name, CompletionId(message.result_completion_id))
    calls.call(context.state, context.invocation, message, context.now_ms, context.random_bytes())


def _one_way_call(context: Context, message: OneWayCallCommand, payload: bytes) -> None:
    calls.check_call(context.state, message)
    context.append(MessageType.ONE_WAY_CALL, payload, message.name)
    calls.call(context.state, context.invocation, message, context.now_ms, context.random_bytes())


def _attach(context: Context, message: AttachInvocationCommand, payload: bytes) -> None:
    invocation_id = calls.attach_target_id(message.target)
    context.append(MessageType.ATTACH_INVOCATION, payload, message.name, CompletionId(message.completion_id))
    calls.attach(context.state, context.invocation, invocation_id, CompletionId(message.completion_id), context.now_ms)


def _get_output(context: Context, message: GetInvocationOutputCommand, payload: bytes) -> None:
    invocation_id = calls.attach_target_id(message.target)
    context.append(MessageType.GET_INVOCATION_OUTPUT, payload, message.name, CompletionId(message.completion_id))
    result = calls.output(context.state, invocation_id, context.now_ms)
    context.complete(MessageType.GET_INVOCATION_OUTPUT_COMPLETION, CompletionId(message.completion_id), result or VOID)


def _get_lazy_state(context: Context, message: GetLazyStateCommand, payload: bytes) -> None:
    key = context.key()
    context.append(MessageType.GET_LAZY_STATE, payload, message.name, CompletionId(message.completion_id))
    value = context.state.values_of(context.service, key).get(message.key)
    result = VOID if value is None else Success(value)
    context.complete(MessageType.GET_LAZY_STATE_COMPLETION, CompletionId(message.completion_id), result)


def _get_lazy_state_keys(context: Context, message: GetLazyStateKeysCommand, payload: bytes) -> None:
    key = context.key()
    context.append(MessageType.GET_LAZY_STATE_KEYS, payload, message.name, CompletionId(message.completion_id))
    names = StateKeys(tuple(sorted(context.state.values_of(context.service, key))))
    context.complete(MessageType.GET_LAZY_STATE_KEYS_COMPLETION, CompletionId(message.completion_id), names)


def _get_eager_state(context: Context, message: GetEagerStateCommand, payload: bytes) -> None:
    context.key()
    context.append(MessageType.GET_EAGER_STATE, payload, message.name)


def _get_eager_state_keys(context: Context, message: GetEagerStateKeysCommand, payload: bytes) -> None:
    context.key()
    context.append(MessageType.GET_EAGER_STATE_KEYS, payload, message.name)


def _set_state(context: Context, message: SetStateCommand, payload: bytes) -> None:
    key = context.writable_key()
    context.append(MessageType.SET_STATE, payload, message.name)
    context.state.put_value(context.service, key, message.key, message.value)


def _clear_state(context: Context, message: ClearStateCommand, payload: bytes) -> None:
    key = context.writable_key()
    context.append(MessageType.CLEAR_STATE, payload, message.name)
    context.state.put_value(context.service, key, message.key, None)


def _clear_all_state(context: Context, message: ClearAllStateCommand, payload: bytes) -> None:
    key = context.writable_key()
    context.append(MessageType.CLEAR_ALL_STATE, payload, message.name)
    keyed.clear_values(context.state, context.service, key)


def _get_promise(context: Context, message: GetPromiseCommand, payload: bytes) -> None:
    key = context.workflow_key()
    context.append(MessageType.GET_PROMISE, payload, message.name, CompletionId(message.completion_id))
    listener = Listener(context.invocation.id, CompletionId(message.completion_id), MessageType.GET_PROMISE_COMPLETION)
    result = promises.get(context.state, context.service, key, message.key, listener)
    if result is not None:
        context.complete(MessageType.GET_PROMISE_COMPLETION, CompletionId(message.completion_id), result)


def _peek_promise(context: Context, message: PeekPromiseCommand, payload: bytes) -> None:
    key = context.workflow_key()
    context.append(MessageType.PEEK_PROMISE, payload, message.name, CompletionId(message.completion_id))
    result = promises.peek(context.state, context.service, key, message.key)
    context.complete(MessageType.PEEK_PROMISE_COMPLETION, CompletionId(message.completion_id), result)


def _complete_promise(context: Context, message: CompletePromiseCommand, payload: bytes) -> None:
    key = context.workflow_key()
    context.append(MessageType.COMPLETE_PROMISE, payload, message.name, CompletionId(message.completion_id))
    result = promises.complete(context.state, context.service, key, message.key, message.result, context.now_ms)
    context.complete(MessageType.COMPLETE_PROMISE_COMPLETION, CompletionId(message.completion_id), result)


def _send_signal(context: Context, message: SendSignalCommand, payload: bytes) -> None:
    try:
        target_id = ids.invocation_id_from_str(message.target_invocation_id)
    except ids.InvalidId as error:
        raise CommandRejected("RT0012", f"bad invocation id '{message.target_invocation_id}': {error}") from error
    context.append(MessageType.SEND_SIGNAL, payload, message.name)
    signals.send(context.state, target_id, message.signal, message.result, context.now_ms)


def _complete_awakeable(context: Context, message: CompleteAwakeableCommand, payload: bytes) -> None:
    try:
        target_id, signal = ids.awakeable_id_parse(message.awakeable_id)
    except ids.InvalidId as error:
        raise CommandRejected("RT0012", f"bad awakeable id '{message.awakeable_id}': {error}") from error
    context.append(MessageType.COMPLETE_AWAKEABLE, payload, message.name)
    signals.send(context.state, target_id, signal, message.result, context.now_ms)


_HANDLERS: dict[type, Callable[[Context, Any, bytes], None]] = {
    OutputCommand: _output,
    RunCommand: _run,
    SleepCommand: _sleep,
    CallCommand: _call,
    OneWayCallCommand: _one_way_call,
    AttachInvocationCommand: _attach,
    GetInvocationOutputCommand: _get_output,
    GetLazyStateCommand: _get_lazy_state,
    GetLazyStateKeysCommand: _get_lazy_state_keys,
    GetEagerStateCommand: _get_eager_state,
    GetEagerStateKeysCommand: _get_eager_state_keys,
    SetStateCommand: _set_state,
    ClearStateCommand: _clear_state,
    ClearAllStateCommand: _clear_all_state,
    GetPromiseCommand: _get_promise,
    PeekPromiseCommand: _peek_promise,
    CompletePromiseCommand: _complete_promise,
    SendSignalCommand: _send_signal,
    CompleteAwakeableCommand: _complete_awakeable,
}
