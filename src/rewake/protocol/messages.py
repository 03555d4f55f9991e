"""Messages of the service protocol as typed, immutable values; versions 5, 6 and 7 share them.

This file has message types, results, the await tree, and one struct per message. codec.py converts them to payloads and
back, framing.py puts payloads into frames, awaiting.py evaluates a Future. Field names follow the protocol's tables,
but `result_completion_id` is `completion_id` in commands with only one. Read next: codec.py.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, TypeAlias

import msgspec

CANCEL_SIGNAL: Final = 1
FIRST_USER_SIGNAL: Final = 17
REQUESTED_ACK: Final = 0x8000

Header: TypeAlias = tuple[str, str]


class MessageType(IntEnum):
    """The u16 at the start of a frame. Commands are 0x04xx, notifications 0x8000 and up."""

    START = 0x0000
    SUSPENSION = 0x0001
    ERROR = 0x0002
    END = 0x0003
    COMMAND_ACK = 0x0004
    PROPOSE_RUN_COMPLETION = 0x0005
    AWAITING_ON = 0x0006
    PROPOSE_RUN_COMPLETION_ACK = 0x0007

    INPUT = 0x0400
    OUTPUT = 0x0401
    GET_LAZY_STATE = 0x0402
    SET_STATE = 0x0403
    CLEAR_STATE = 0x0404
    CLEAR_ALL_STATE = 0x0405
    GET_LAZY_STATE_KEYS = 0x0406
    GET_EAGER_STATE = 0x0407
    GET_EAGER_STATE_KEYS = 0x0408
    GET_PROMISE = 0x0409
    PEEK_PROMISE = 0x040A
    COMPLETE_PROMISE = 0x040B
    SLEEP = 0x040C
    CALL = 0x040D
    ONE_WAY_CALL = 0x040E
    SEND_SIGNAL = 0x0410
    RUN = 0x0411
    ATTACH_INVOCATION = 0x0412
    GET_INVOCATION_OUTPUT = 0x0413
    COMPLETE_AWAKEABLE = 0x0414

    GET_LAZY_STATE_COMPLETION = 0x8002
    GET_LAZY_STATE_KEYS_COMPLETION = 0x8006
    GET_PROMISE_COMPLETION = 0x8009
    PEEK_PROMISE_COMPLETION = 0x800A
    COMPLETE_PROMISE_COMPLETION = 0x800B
    SLEEP_COMPLETION = 0x800C
    CALL_COMPLETION = 0x800D
    CALL_INVOCATION_ID_COMPLETION = 0x800E
    RUN_COMPLETION = 0x8011
    ATTACH_INVOCATION_COMPLETION = 0x8012
    GET_INVOCATION_OUTPUT_COMPLETION = 0x8013
    SIGNAL = 0xFBFF


class Combinator(IntEnum):
    """How an await depends on its children. A suspension of V5 or V6 is UNKNOWN, too."""

    UNKNOWN = 0
    FIRST_COMPLETED = 1
    ALL_COMPLETED = 2
    FIRST_SUCCEEDED_OR_ALL_FAILED = 3
    ALL_SUCCEEDED_OR_FIRST_FAILED = 4


class ErrorBehavior(IntEnum):
    """The SDK's request after an Error message (V7; earlier versions always mean RETRY)."""

    RETRY = 0
    PAUSE = 1
    FAIL = 2


class _Value(msgspec.Struct, frozen=True, gc=False, tag=True, tag_field="kind"):
    """Base of all messages: immutable, so without cycles; tagged, so that unions survive msgpack."""


# Results


class Success(_Value, frozen=True):
    """A value; empty content is a value too."""

    content: bytes


class Failure(_Value, frozen=True):
    """A terminal failure. Metadata exists since V6."""

    code: int
    message: str
    metadata: tuple[tuple[str, str], ...] = ()


class Void(_Value, frozen=True):
    """Done without a value: a sleep that ended, a state key without a value."""


class StateKeys(_Value, frozen=True):
    """The keys of one instance's state, sorted."""

    keys: tuple[bytes, ...]


class InvocationIdResult(_Value, frozen=True):
    """The id of a callee, as the string that the SDK uses."""

    invocation_id: str


VOID: Final = Void()

Outcome: TypeAlias = Success | Failure
SignalResult: TypeAlias = Void | Success | Failure
Result: TypeAlias = Success | Failure | Void | StateKeys | InvocationIdResult


class Future(_Value, frozen=True):
    """One node of an await tree: leaves by completion id, signal index and signal name, then nested nodes."""

    completions: tuple[int, ...] = ()
    signals: tuple[int, ...] = ()
    named_signals: tuple[str, ...] = ()
    nested: tuple[Future, ...] = ()
    combinator: Combinator = Combinator.UNKNOWN


# Control messages


class Start(_Value, frozen=True):
    """Opens an attempt. Exactly `known_entries` journal frames follow it."""

    id: bytes
    debug_id: str
    known_entries: int
    state: tuple[tuple[bytes, bytes], ...]
    partial_state: bool
    key: str
    retry_count_since_last_stored_entry: int
    duration_since_last_stored_entry: int
    random_seed: int
    scope: str | None = None
    limit_key: str | None = None
    idempotency_key: str | None = None


class Suspension(_Value, frozen=True):
    """The SDK stops until the await is resolved."""

    awaiting_on: Future


class Error(_Value, frozen=True):
    """The attempt failed. Milliseconds in `next_retry_delay`; `related_command_type` is a message type id."""

    code: int
    message: str
    stacktrace: str = ""
    related_command_index: int | None = None
    related_command_name: str | None = None
    related_command_type: int | None = None
    next_retry_delay: int | None = None
    behavior: ErrorBehavior = ErrorBehavior.RETRY


class End(_Value, frozen=True):
    """The handler returned; its result is the last Output."""


class CommandAck(_Value, frozen=True):
    """A command is durable. Sent only if the command requested it; otherwise the SDK fails."""

    command_index: int


class ProposeRunCompletion(_Value, frozen=True):
    """The result of a run closure, not durable until the engine has stored it as a completion."""

    completion_id: int
    result: Outcome


class AwaitingOn(_Value, frozen=True):
    """The await of the handler; a hint that may be late or missing (V7)."""

    awaiting_on: Future
    executing_side_effects: bool = False


class ProposeRunCompletionAck(_Value, frozen=True):
    """A proposal is durable; sent only if the proposal requested it (V7)."""

    completion_id: int


# Commands


class InputCommand(_Value, frozen=True):
    """Journal entry 0, written by the engine."""

    headers: tuple[Header, ...]
    value: bytes
    name: str = ""


class OutputCommand(_Value, frozen=True):
    """The handler's result; final once End arrives."""

    result: Outcome
    name: str = ""


class GetLazyStateCommand(_Value, frozen=True):
    key: bytes
    completion_id: int
    name: str = ""


class SetStateCommand(_Value, frozen=True):
    key: bytes
    value: bytes
    name: str = ""


class ClearStateCommand(_Value, frozen=True):
    key: bytes
    name: str = ""


class ClearAllStateCommand(_Value, frozen=True):
    name: str = ""


class GetLazyStateKeysCommand(_Value, frozen=True):
    completion_id: int
    name: str = ""


class GetEagerStateCommand(_Value, frozen=True):
    """A read that the SDK answered from the state in Start; the command includes the answer."""

    key: bytes
    result: Void | Success
    name: str = ""


class GetEagerStateKeysCommand(_Value, frozen=True):
    keys: tuple[bytes, ...]
    name: str = ""


class GetPromiseCommand(_Value, frozen=True):
    key: str
    completion_id: int
    name: str = ""


class PeekPromiseCommand(_Value, frozen=True):
    key: str
    completion_id: int
    name: str = ""


class CompletePromiseCommand(_Value, frozen=True):
    key: str
    result: Outcome
    completion_id: int
    name: str = ""


class SleepCommand(_Value, frozen=True):
    """`wake_up_at_ms` is absolute, by the SDK's clock."""

    wake_up_at_ms: int
    completion_id: int
    name: str = ""


class CallCommand(_Value, frozen=True):
    """A call with two notifications: the callee's id, then its result. `key` is empty for plain services."""

    service_name: str
    handler_name: str
    parameter: bytes
    headers: tuple[Header, ...]
    key: str
    idempotency_key: str | None
    scope: str | None
    limit_key: str | None
    invocation_id_completion_id: int
    result_completion_id: int
    name: str = ""


class OneWayCallCommand(_Value, frozen=True):
    """A call without waiting. `invoke_at_ms` 0 means now."""

    service_name: str
    handler_name: str
    parameter: bytes
    headers: tuple[Header, ...]
    key: str
    idempotency_key: str | None
    scope: str | None
    limit_key: str | None
    invoke_at_ms: int
    invocation_id_completion_id: int
    name: str = ""


class SendSignalCommand(_Value, frozen=True):
    """Send a signal. `signal` is an index or a name, so the protocol calls the entry's own name `entry_name`."""

    target_invocation_id: str
    signal: int | str
    result: SignalResult
    entry_name: str = ""

    @property
    def name(self) -> str:
        """The entry's name, under the same attribute as in all other commands."""
        return self.entry_name


class RunCommand(_Value, frozen=True):
    """Marks the place of a run closure; its result comes as ProposeRunCompletion."""

    completion_id: int
    name: str = ""


class InvocationIdTarget(_Value, frozen=True):
    invocation_id: str


class IdempotentRequestTarget(_Value, frozen=True):
    service_name: str
    service_key: str | None
    handler_name: str
    idempotency_key: str
    scope: str | None = None


class WorkflowTarget(_Value, frozen=True):
    workflow_name: str
    workflow_key: str
    scope: str | None = None


AttachTarget: TypeAlias = InvocationIdTarget | IdempotentRequestTarget | WorkflowTarget


class AttachInvocationCommand(_Value, frozen=True):
    target: AttachTarget
    completion_id: int
    name: str = ""


class GetInvocationOutputCommand(_Value, frozen=True):
    target: AttachTarget
    completion_id: int
    name: str = ""


class CompleteAwakeableCommand(_Value, frozen=True):
    awakeable_id: str
    result: Outcome
    name: str = ""


# Notifications


class Completion(_Value, frozen=True):
    """The result of a command, addressed by completion id; `type` is one of the *_COMPLETION types."""

    type: MessageType
    completion_id: int
    result: Result


class Signal(_Value, frozen=True):
    """A result from outside, addressed by index or name."""

    signal: int | str
    result: SignalResult


Command: TypeAlias = (
    InputCommand
    | OutputCommand
    | GetLazyStateCommand
    | SetStateCommand
    | ClearStateCommand
    | ClearAllStateCommand
    | GetLazyStateKeysCommand
    | GetEagerStateCommand
    | GetEagerStateKeysCommand
    | GetPromiseCommand
    | PeekPromiseCommand
    | CompletePromiseCommand
    | SleepCommand
    | CallCommand
    | OneWayCallCommand
    | SendSignalCommand
    | RunCommand
    | AttachInvocationCommand
    | GetInvocationOutputCommand
    | CompleteAwakeableCommand
)
Notification: TypeAlias = Completion | Signal
Control: TypeAlias = (
    Start | Suspension | Error | End | CommandAck | ProposeRunCompletion | AwaitingOn | ProposeRunCompletionAck
)
Message: TypeAlias = Control | Command | Notification
