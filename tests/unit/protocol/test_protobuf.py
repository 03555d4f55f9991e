"""Protobuf as it is on the wire: varints, unknown fields, oneofs."""

from __future__ import annotations

import pytest

from rewake.protocol.codec import decode_message, encode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import (
    Failure,
    Future,
    MessageType,
    OutputCommand,
    RunCommand,
    SleepCommand,
    Success,
    Suspension,
)
from rewake.protocol.protobuf import read_varint, skip_field, varint


@pytest.mark.parametrize(
    ("number", "written"), [(0, "00"), (127, "7f"), (128, "80 01"), (2**64 - 1, "ff ff ff ff ff ff ff ff ff 01")]
)
def test_varints(number: int, written: str) -> None:
    data = bytes.fromhex(written)
    assert varint(number) == data
    assert read_varint(b"x" + data + b"x", 1) == (number, 1 + len(data))


def test_a_varint_has_ten_bytes_at_most() -> None:
    with pytest.raises(ProtocolViolation, match="longer than 10 bytes"):
        read_varint(b"\x80" * 10 + b"\x01", 0)


@pytest.mark.parametrize(("wire_type", "size"), [(0, 2), (1, 8), (2, 4), (5, 4)])
def test_a_field_that_nobody_knows_ends_where_the_next_begins(wire_type: int, size: int) -> None:
    field = {0: b"\x96\x01", 2: b"\x03abc"}.get(wire_type, bytes(size))
    assert skip_field(field + b"next", 0, 100 << 3 | wire_type) == size
    if wire_type:
        with pytest.raises(ProtocolViolation, match="in the middle of a field"):
            skip_field(field[:-1], 0, 100 << 3 | wire_type)


def test_unknown_fields_are_skipped() -> None:
    unknown = bytes.fromhex("f0 06 96 01  f9 06 0102030405060708  fa 06 03 616263  fd 06 01020304")
    run = encode_message(RunCommand(1, "pick"))
    assert decode_message(MessageType.RUN, unknown + run + unknown, 6) == RunCommand(1, "pick")
    suspension = encode_message(Suspension(Future((1,))), 6)
    assert decode_message(1, unknown + suspension, 6) == Suspension(Future((1,)))


def test_a_known_number_with_another_wire_type_is_unknown() -> None:
    assert decode_message(MessageType.RUN, bytes.fromhex("5a 01 07  58 01"), 6) == RunCommand(1)


def test_the_last_member_of_a_oneof_wins() -> None:
    success = encode_message(OutputCommand(Success(b"1")))
    failure = encode_message(OutputCommand(Failure(400, "no")))
    assert decode_message(0x401, success + failure, 6) == OutputCommand(Failure(400, "no"))
    assert decode_message(0x401, failure + success, 6) == OutputCommand(Success(b"1"))


@pytest.mark.parametrize("number", [-1, 2**64])
def test_numbers_that_are_not_unsigned_64_bits(number: int) -> None:
    with pytest.raises(ValueError, match="is not an unsigned 64-bit number"):
        encode_message(SleepCommand(number, 1))
