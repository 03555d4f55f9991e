"""What values a field may have, and what becomes of those that it may not."""

from __future__ import annotations

import pytest

from rewake.protocol.codec import decode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.kinds import CODE, DURATION_MS, DURATION_MS_MAX, TIME_MS, TIME_MS_MAX, UINT32
from rewake.protocol.messages import Error, Future, MessageType, SleepCommand, Suspension


def test_numbers_are_read_up_to_a_bound() -> None:
    """Beyond it, times and durations are read as the latest and longest; a completion's number is refused."""
    assert [TIME_MS.read(TIME_MS_MAX + more) for more in (-1, 0, 1)] == [TIME_MS_MAX - 1, TIME_MS_MAX, TIME_MS_MAX]
    assert [DURATION_MS.read(DURATION_MS_MAX + more) for more in (0, 1)] == [DURATION_MS_MAX] * 2
    assert [CODE.read(code) for code in (65_535, 65_536)] == [65_535, 500]
    assert UINT32.read(2**32 - 1) == 2**32 - 1
    with pytest.raises(ProtocolViolation, match="does not fit into 32 bits"):
        UINT32.read(2**32)


def test_members_a_later_protocol_adds_to_an_enum() -> None:
    assert decode_message(MessageType.ERROR, bytes.fromhex("48 09"), 7) == Error(0, "")
    assert decode_message(1, bytes.fromhex("22 05 0a 01 01 28 09"), 7) == Suspension(Future((1,)))


def test_codes_above_16_bits_are_500() -> None:
    assert decode_message(MessageType.ERROR, bytes.fromhex("08 80 80 04"), 6) == Error(500, "")


def test_times_fit_a_database_column() -> None:
    latest = bytes.fromhex("08 ff ff ff ff ff ff ff ff ff 01 58 01")
    assert decode_message(MessageType.SLEEP, latest, 6) == SleepCommand(2**63 - 1, 1)
