"""Payload bytes to messages and back, for versions 5, 6 and 7.

`decode_message` and `encode_message` are the interface; framing.py handles the frames around payloads. protobuf.py
compiles the tables of shapes.py into functions, once, at import. The journal keeps command payloads as the SDK sent
them, so the engine encodes only its own messages: Start, Input, notifications, acks. Any bytes decode to a message or
raise ProtocolViolation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rewake.protocol.awaiting import waiting_completions, waiting_signals
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.futures import decode_future, encode_future
from rewake.protocol.messages import Completion, Future, Message, MessageType, Suspension
from rewake.protocol.protobuf import Decode, Encode, compile_decoder, compile_encoder
from rewake.protocol.shapes import SHAPES

VERSION_MIN: Final = 5
VERSION_MAX: Final = 7

_SINCE: Final = {MessageType.AWAITING_ON: 7, MessageType.PROPOSE_RUN_COMPLETION_ACK: 7}
_TREE_SUSPENSION_SINCE: Final = 7

_TYPE_OF: Final[dict[Callable[..., Any], MessageType]] = {
    shape.build: message_type for message_type, shape in SHAPES.items() if shape.build is not Completion
}


def decode_message(type_id: int, payload: bytes, version: int) -> Message:
    """The message in `payload`; unknown fields are skipped, fields newer than `version` are kept.

    Raises ProtocolViolation for an unknown type, unreadable bytes, or a missing required part.
    """
    decode = _DECODERS[version].get(type_id)
    if decode is None:
        raise ProtocolViolation(f"message type 0x{type_id:04X} does not exist in protocol version {version}")
    try:
        message: Message = decode(payload)
    except IndexError:
        raise ProtocolViolation(f"{MessageType(type_id).name} ends in the middle of a field") from None
    except UnicodeDecodeError as error:
        raise ProtocolViolation(f"{MessageType(type_id).name} holds text that is not UTF-8") from error
    return message


def encode_message(message: Message, version: int = 6) -> bytes:
    """Payload of `message` without what `version` does not know yet.

    Raises ValueError for a message that does not exist in `version` or a result its type cannot carry.
    """
    encode = _ENCODERS[version].get(message_type(message))
    if encode is None:
        raise ValueError(f"{type(message).__name__} does not exist in protocol version {version}")
    return encode(message)


def message_type(message: Message) -> MessageType:
    """The type a frame with `message` carries."""
    return message.type if isinstance(message, Completion) else _TYPE_OF[type(message)]


def _refuse_empty(decode: Callable[[bytes], Suspension]) -> Callable[[bytes], Suspension]:
    """Refuse a suspension that awaits nothing: it could never be resumed."""

    def decode_checked(payload: bytes) -> Suspension:
        suspension = decode(payload)
        if not (waiting_completions(suspension.awaiting_on) or waiting_signals(suspension.awaiting_on)):
            raise ProtocolViolation("Suspension waits for nothing")
        return suspension

    return decode_checked


def _decode_flat_suspension(payload: bytes) -> Suspension:
    """V5 and V6 list ids; any of them resumes the invocation. The lists have the field numbers of a Future."""
    tree = decode_future(payload)
    return Suspension(Future(tree.completions, tree.signals, tree.named_signals))


def _encode_flat_suspension(suspension: Suspension) -> bytes:
    signals = waiting_signals(suspension.awaiting_on)
    indexes = tuple(signal for signal in signals if isinstance(signal, int))
    names = tuple(signal for signal in signals if isinstance(signal, str))
    return encode_future(Future(waiting_completions(suspension.awaiting_on), indexes, names))


def _decoders(version: int) -> dict[int, Decode]:
    decoders: dict[int, Decode] = {
        int(message_type): decode
        for message_type, decode in _ALL_DECODERS.items()
        if _SINCE.get(message_type, VERSION_MIN) <= version
    }
    is_tree = version >= _TREE_SUSPENSION_SINCE
    decoders[MessageType.SUSPENSION] = _refuse_empty(
        _ALL_DECODERS[MessageType.SUSPENSION] if is_tree else _decode_flat_suspension
    )
    return decoders


def _encoders(version: int) -> dict[MessageType, Encode]:
    encoders = {
        message_type: compile_encoder(shape, version)
        for message_type, shape in SHAPES.items()
        if _SINCE.get(message_type, VERSION_MIN) <= version
    }
    if version < _TREE_SUSPENSION_SINCE:
        encoders[MessageType.SUSPENSION] = _encode_flat_suspension
    return encoders


_ALL_DECODERS: Final = {message_type: compile_decoder(shape) for message_type, shape in SHAPES.items()}
_DECODERS: Final = {version: _decoders(version) for version in range(VERSION_MIN, VERSION_MAX + 1)}
_ENCODERS: Final = {version: _encoders(version) for version in range(VERSION_MIN, VERSION_MAX + 1)}
