"""The table of all messages: the field number and kind of each attribute.

It is the protocol's own table (field numbers, types, first versions) in the form that protobuf.py compiles. Used by
codec.py; kinds.py has the kinds of fields.
"""

from __future__ import annotations

from typing import Final

from rewake.protocol.futures import FUTURE
from rewake.protocol.kinds import (
    BEHAVIOR,
    BOOL,
    BYTES,
    CODE,
    DURATION_MS,
    FAILURE,
    HEADER,
    IDEMPOTENT_REQUEST_TARGET,
    INVOCATION_ID_RESULT,
    INVOCATION_ID_TARGET,
    KEYS,
    RAW_SUCCESS,
    STATE_ENTRY,
    STATE_KEYS,
    STRING,
    SUCCESS,
    TIME_MS,
    UINT32,
    UINT64,
    VALUE,
    VOID_RESULT,
    WORKFLOW_TARGET,
)
from rewake.protocol.messages import (
    AttachInvocationCommand,
    AwaitingOn,
    CallCommand,
    ClearAllStateCommand,
    ClearStateCommand,
    CommandAck,
    CompleteAwakeableCommand,
    CompletePromiseCommand,
    Completion,
    End,
    Error,
    GetEagerStateCommand,
    GetEagerStateKeysCommand,
    GetInvocationOutputCommand,
    GetLazyStateCommand,
    GetLazyStateKeysCommand,
    GetPromiseCommand,
    InputCommand,
    MessageType,
    OneWayCallCommand,
    OutputCommand,
    PeekPromiseCommand,
    ProposeRunCompletion,
    ProposeRunCompletionAck,
    RunCommand,
    SendSignalCommand,
    SetStateCommand,
    Signal,
    SleepCommand,
    Start,
    Suspension,
)
from rewake.protocol.protobuf import Field, Kind, Presence, Shape, struct_shape

_OPTIONAL: Final = Presence.OPTIONAL
_REQUIRED: Final = Presence.REQUIRED
_REPEATED: Final = Presence.REPEATED

_NAME: Final = Field(12, "name", STRING)
_COMPLETION_ID: Final = Field(11, "completion_id", UINT32)
_ATTACH_TARGET: Final = (
    Field(1, "target", INVOCATION_ID_TARGET, _REQUIRED),
    Field(3, "target", IDEMPOTENT_REQUEST_TARGET, _REQUIRED),
    Field(4, "target", WORKFLOW_TARGET, _REQUIRED),
)


def _result(*members: tuple[int, Kind]) -> tuple[Field, ...]:
    return tuple(Field(number, "result", kind, _REQUIRED) for number, kind in members)


_OUTCOME: Final = _result((14, SUCCESS), (15, FAILURE))
_SIGNAL_RESULT: Final = _result((4, VOID_RESULT), (5, SUCCESS), (6, FAILURE))
_SIGNAL_ID: Final = (Field(2, "signal", UINT32, _REQUIRED), Field(3, "signal", STRING, _REQUIRED))


_COMPLETION_RESULTS: Final = {
    MessageType.GET_LAZY_STATE_COMPLETION: _result((4, VOID_RESULT), (5, SUCCESS)),
    MessageType.GET_LAZY_STATE_KEYS_COMPLETION: _result((17, STATE_KEYS)),
    MessageType.GET_PROMISE_COMPLETION: _result((5, SUCCESS), (6, FAILURE)),
    MessageType.PEEK_PROMISE_COMPLETION: _result((4, VOID_RESULT), (5, SUCCESS), (6, FAILURE)),
    MessageType.COMPLETE_PROMISE_COMPLETION: _result((4, VOID_RESULT), (6, FAILURE)),
    MessageType.SLEEP_COMPLETION: _result((4, VOID_RESULT)),
    MessageType.CALL_COMPLETION: _result((5, SUCCESS), (6, FAILURE)),
    MessageType.CALL_INVOCATION_ID_COMPLETION: _result((16, INVOCATION_ID_RESULT)),
    MessageType.RUN_COMPLETION: _result((5, SUCCESS), (6, FAILURE)),
    MessageType.ATTACH_INVOCATION_COMPLETION: _result((5, SUCCESS), (6, FAILURE)),
    MessageType.GET_INVOCATION_OUTPUT_COMPLETION: _result((4, VOID_RESULT), (5, SUCCESS), (6, FAILURE)),
}

SHAPES: Final[dict[MessageType, Shape]] = {
    MessageType.START: struct_shape(
        Start,
        Field(1, "id", BYTES),
        Field(2, "debug_id", STRING),
        Field(3, "known_entries", UINT32),
        Field(4, "state", STATE_ENTRY, _REPEATED),
        Field(5, "partial_state", BOOL),
        Field(6, "key", STRING),
        Field(7, "retry_count_since_last_stored_entry", UINT32),
        Field(8, "duration_since_last_stored_entry", DURATION_MS),
        Field(9, "random_seed", UINT64, since=6),
        Field(10, "scope", STRING, _OPTIONAL, since=7),
        Field(11, "limit_key", STRING, _OPTIONAL, since=7),
        Field(12, "idempotency_key", STRING, _OPTIONAL, since=7),
    ),
    MessageType.SUSPENSION: struct_shape(Suspension, Field(4, "awaiting_on", FUTURE, _REQUIRED)),
    MessageType.ERROR: struct_shape(
        Error,
        Field(1, "code", CODE),
        Field(2, "message", STRING),
        Field(3, "stacktrace", STRING),
        Field(4, "related_command_index", UINT32, _OPTIONAL),
        Field(5, "related_command_name", STRING, _OPTIONAL),
        Field(6, "related_command_type", UINT32, _OPTIONAL),
        Field(8, "next_retry_delay", DURATION_MS, _OPTIONAL),
        Field(9, "behavior", BEHAVIOR, since=7),
    ),
    MessageType.END: struct_shape(End),
    MessageType.COMMAND_ACK: struct_shape(CommandAck, Field(1, "command_index", UINT32)),
    MessageType.PROPOSE_RUN_COMPLETION: struct_shape(
        ProposeRunCompletion, Field(1, "completion_id", UINT32), *_result((14, RAW_SUCCESS), (15, FAILURE))
    ),
    MessageType.AWAITING_ON: struct_shape(
        AwaitingOn, Field(1, "awaiting_on", FUTURE, _REQUIRED), Field(2, "executing_side_effects", BOOL)
    ),
    MessageType.PROPOSE_RUN_COMPLETION_ACK: struct_shape(ProposeRunCompletionAck, Field(1, "completion_id", UINT32)),
    MessageType.INPUT: struct_shape(
        InputCommand, Field(1, "headers", HEADER, _REPEATED), _NAME, Field(14, "value", VALUE, _REQUIRED)
    ),
    MessageType.OUTPUT: struct_shape(OutputCommand, _NAME, *_OUTCOME),
    MessageType.GET_LAZY_STATE: struct_shape(GetLazyStateCommand, Field(1, "key", BYTES), _COMPLETION_ID, _NAME),
    MessageType.SET_STATE: struct_shape(
        SetStateCommand, Field(1, "key", BYTES), Field(3, "value", VALUE, _REQUIRED), _NAME
    ),
    MessageType.CLEAR_STATE: struct_shape(ClearStateCommand, Field(1, "key", BYTES), _NAME),
    MessageType.CLEAR_ALL_STATE: struct_shape(ClearAllStateCommand, _NAME),
    MessageType.GET_LAZY_STATE_KEYS: struct_shape(GetLazyStateKeysCommand, _COMPLETION_ID, _NAME),
    MessageType.GET_EAGER_STATE: struct_shape(
        GetEagerStateCommand, Field(1, "key", BYTES), _NAME, *_result((13, VOID_RESULT), (14, SUCCESS))
    ),
    MessageType.GET_EAGER_STATE_KEYS: struct_shape(GetEagerStateKeysCommand, _NAME, Field(14, "keys", KEYS, _REQUIRED)),
    MessageType.GET_PROMISE: struct_shape(GetPromiseCommand, Field(1, "key", STRING), _COMPLETION_ID, _NAME),
    MessageType.PEEK_PROMISE: struct_shape(PeekPromiseCommand, Field(1, "key", STRING), _COMPLETION_ID, _NAME),
    MessageType.COMPLETE_PROMISE: struct_shape(
        CompletePromiseCommand,
        Field(1, "key", STRING),
        *_result((2, SUCCESS), (3, FAILURE)),
        _COMPLETION_ID,
        _NAME,
    ),
    MessageType.SLEEP: struct_shape(SleepCommand, Field(1, "wake_up_at_ms", TIME_MS), _COMPLETION_ID, _NAME),
    MessageType.CALL: struct_shape(
        CallCommand,
        Field(1, "service_name", STRING),
        Field(2, "handler_name", STRING),
        Field(3, "parameter", BYTES),
        Field(4, "headers", HEADER, _REPEATED),
        Field(5, "key", STRING),
        Field(6, "idempotency_key", STRING, _OPTIONAL),
        Field(7, "scope", STRING, _OPTIONAL, since=7),
        Field(8, "limit_key", STRING, _OPTIONAL, since=7),
        Field(10, "invocation_id_completion_id", UINT32),
        Field(11, "result_completion_id", UINT32),
        _NAME,
    ),
    MessageType.ONE_WAY_CALL: struct_shape(
        OneWayCallCommand,
        Field(1, "service_name", STRING),
        Field(2, "handler_name", STRING),
        Field(3, "parameter", BYTES),
        Field(4, "invoke_at_ms", TIME_MS),
        Field(5, "headers", HEADER, _REPEATED),
        Field(6, "key", STRING),
        Field(7, "idempotency_key", STRING, _OPTIONAL),
        Field(8, "scope", STRING, _OPTIONAL, since=7),
        Field(9, "limit_key", STRING, _OPTIONAL, since=7),
        Field(10, "invocation_id_completion_id", UINT32),
        _NAME,
    ),
    MessageType.SEND_SIGNAL: struct_shape(
        SendSignalCommand,
        Field(1, "target_invocation_id", STRING),
        *_SIGNAL_ID,
        *_SIGNAL_RESULT,
        Field(12, "entry_name", STRING),
    ),
    MessageType.RUN: struct_shape(RunCommand, _COMPLETION_ID, _NAME),
    MessageType.ATTACH_INVOCATION: struct_shape(AttachInvocationCommand, *_ATTACH_TARGET, _COMPLETION_ID, _NAME),
    MessageType.GET_INVOCATION_OUTPUT: struct_shape(GetInvocationOutputCommand, *_ATTACH_TARGET, _COMPLETION_ID, _NAME),
    MessageType.COMPLETE_AWAKEABLE: struct_shape(
        CompleteAwakeableCommand, Field(1, "awakeable_id", STRING), *_result((2, SUCCESS), (3, FAILURE)), _NAME
    ),
    **{
        message_type: struct_shape(
            Completion, Field(1, "completion_id", UINT32, _REQUIRED), *results, type=message_type
        )
        for message_type, results in _COMPLETION_RESULTS.items()
    },
    MessageType.SIGNAL: struct_shape(Signal, *_SIGNAL_ID, *_SIGNAL_RESULT),
}
"""Every message of V7, and of V5 and V6 except Suspension: there it is a plain list of ids (see codec.py)."""
