"""The kinds of fields in messages: numbers, text, bytes, and common nested messages.

Every kind is a row for protobuf.py: its reader, its writer for a version, its type. Numbers are checked here: otherwise
a number too large for a database column would stop the engine instead of failing the attempt. Used by codec.py;
futures.py has the await tree, which nests in itself.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, TypeVar

from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import (
    VOID,
    Combinator,
    ErrorBehavior,
    Failure,
    Future,
    IdempotentRequestTarget,
    InvocationIdResult,
    InvocationIdTarget,
    StateKeys,
    Success,
    Void,
    WorkflowTarget,
)
from rewake.protocol.protobuf import (
    LENGTH,
    VARINT,
    Encode,
    Field,
    Kind,
    Presence,
    Shape,
    compile_decoder,
    compile_encoder,
    struct_shape,
    varint,
)

TIME_MS_MAX: Final = 2**63 - 1
"""Largest time that an SQLite column holds. Later times are read as this one, which no clock reaches."""

DURATION_MS_MAX: Final = 2**62
"""Longest duration: now plus this still fits a column. Longer ones are read as this one."""

_UINT32_MAX: Final = 2**32 - 1
_CODE_MAX: Final = 2**16 - 1
_CODE_UNKNOWN: Final = 500

EnumT = TypeVar("EnumT", bound=IntEnum)


def _read_uint32(number: int) -> int:
    if number > _UINT32_MAX:
        raise ProtocolViolation(f"{number} does not fit into 32 bits")
    return number


def _read_time_ms(number: int) -> int:
    return min(number, TIME_MS_MAX)


def _read_duration_ms(number: int) -> int:
    return min(number, DURATION_MS_MAX)


def _read_code(number: int) -> int:
    """A failure code. The encoding has 32 bits, all other places 16."""
    return number if number <= _CODE_MAX else _CODE_UNKNOWN


def _enum_reader(enum: type[EnumT], otherwise: EnumT) -> Callable[[int], EnumT]:
    """A reader for an enum. Values of a later protocol are read as `otherwise`, a harmless one."""
    members = {int(member): member for member in enum}
    return lambda number: members.get(number, otherwise)


def _always(write: Encode) -> Callable[[int], Encode]:
    return lambda version: write


def _nested(shape: Shape, carries: type) -> Kind:
    return Kind(LENGTH, compile_decoder(shape), lambda version: compile_encoder(shape, version), carries)


def _identity(value: Any) -> Any:
    return value


def _pair_shape(title: str, kind: Kind) -> Shape:
    """Two fields, kept as a plain pair."""
    fields = (Field(1, "key", kind), Field(2, "value", kind))
    return Shape(title, ("key", "value"), lambda key, value: (key, value), _identity, fields)


UINT32: Final = Kind(VARINT, _read_uint32, _always(varint), int, 0)
UINT64: Final = Kind(VARINT, int, _always(varint), int, 0)
TIME_MS: Final = Kind(VARINT, _read_time_ms, _always(varint), int, 0)
DURATION_MS: Final = Kind(VARINT, _read_duration_ms, _always(varint), int, 0)
CODE: Final = Kind(VARINT, _read_code, _always(varint), int, 0)
BOOL: Final = Kind(VARINT, bool, _always(varint), bool, False)
BYTES: Final = Kind(LENGTH, bytes, _always(_identity), bytes, b"")
STRING: Final = Kind(LENGTH, bytes.decode, _always(str.encode), str, "")
BEHAVIOR: Final = Kind(
    VARINT, _enum_reader(ErrorBehavior, ErrorBehavior.RETRY), _always(varint), ErrorBehavior, ErrorBehavior.RETRY
)
read_combinator: Final = _enum_reader(Combinator, Combinator.UNKNOWN)

HEADER: Final = _nested(_pair_shape("Header", STRING), tuple)
STATE_ENTRY: Final = _nested(_pair_shape("StateEntry", BYTES), tuple)

# The message Value is read as bytes if a value is the only possibility, and as Success in a oneof.
VALUE: Final = _nested(
    Shape("Value", ("content",), bytes, lambda content: (content,), (Field(1, "content", BYTES),)), bytes
)
SUCCESS: Final = _nested(struct_shape(Success, Field(1, "content", BYTES)), Success)
RAW_SUCCESS: Final = Kind(LENGTH, Success, _always(lambda success: success.content), Success)
FAILURE: Final = _nested(
    struct_shape(
        Failure,
        Field(1, "code", CODE),
        Field(2, "message", STRING),
        Field(3, "metadata", HEADER, Presence.REPEATED, since=6),
    ),
    Failure,
)
VOID_RESULT: Final = Kind(LENGTH, lambda data: VOID, _always(lambda void: b""), Void)
KEYS: Final = _nested(
    Shape("StateKeys", ("keys",), _identity, lambda keys: (keys,), (Field(1, "keys", BYTES, Presence.REPEATED),)), tuple
)
STATE_KEYS: Final = _nested(struct_shape(StateKeys, Field(1, "keys", BYTES, Presence.REPEATED)), StateKeys)
INVOCATION_ID_RESULT: Final = Kind(
    LENGTH,
    lambda data: InvocationIdResult(data.decode()),
    _always(lambda result: result.invocation_id.encode()),
    InvocationIdResult,
)

INVOCATION_ID_TARGET: Final = Kind(
    LENGTH,
    lambda data: InvocationIdTarget(data.decode()),
    _always(lambda target: target.invocation_id.encode()),
    InvocationIdTarget,
)
IDEMPOTENT_REQUEST_TARGET: Final = _nested(
    struct_shape(
        IdempotentRequestTarget,
        Field(1, "service_name", STRING),
        Field(2, "service_key", STRING, Presence.OPTIONAL),
        Field(3, "handler_name", STRING),
        Field(4, "idempotency_key", STRING),
        Field(5, "scope", STRING, Presence.OPTIONAL, since=7),
    ),
    IdempotentRequestTarget,
)
WORKFLOW_TARGET: Final = _nested(
    struct_shape(
        WorkflowTarget,
        Field(1, "workflow_name", STRING),
        Field(2, "workflow_key", STRING),
        Field(3, "scope", STRING, Presence.OPTIONAL, since=7),
    ),
    WorkflowTarget,
)


def future_kind(read: Callable[[bytes], Future], write: Callable[[Future], bytes]) -> Kind:
    """Kind of the await tree. It is not a Shape, because its code is not recursive."""
    return Kind(LENGTH, read, _always(write), Future)
