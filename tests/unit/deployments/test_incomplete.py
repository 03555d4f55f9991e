"""Messages that never end: bounded over all attempts, not for each of them."""

from __future__ import annotations

import struct

import pytest
from tests.unit.deployments.test_framed_attempt import HEAD, Peer, frame

from rewake.deployments import framed_attempt, incomplete
from rewake.deployments.incomplete import COUNTED_FROM_BYTES, INCOMPLETE_BYTES_MAX
from rewake.protocol.messages import End, MessageType, OutputCommand, Success


def beginning(size: int) -> bytes:
    """Of an Output that never ends: its header and so many bytes of it."""
    return struct.pack(">HHI", MessageType.OUTPUT, 0, 30_000_000) + b"x" * (size - 8)


@pytest.fixture
def small_bound(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(incomplete, "INCOMPLETE_BYTES_MAX", 10 * COUNTED_FROM_BYTES)
    monkeypatch.setattr(incomplete, "MESSAGES_MIN", 0)
    assert framed_attempt._incomplete.total_bytes == 0
    return 10 * COUNTED_FROM_BYTES


def test_the_attempt_that_holds_most_is_given_up(small_bound: int) -> None:
    """Twenty attempts held 660 MB."""
    peers = [Peer() for _ in range(4)]
    for peer in peers:
        peer.attempt.on_head(200, HEAD)
    sizes = [small_bound // 2, small_bound // 4, small_bound // 4, COUNTED_FROM_BYTES]
    for peer, size in zip(peers, sizes, strict=True):
        peer.attempt.on_data(beginning(size))
    assert [peer.log for peer in peers] == [["reset", ("RT0003", 500, None)], [], [], []]
    assert f"{small_bound // 2} bytes" in peers[0].failures[0].message
    for peer in peers[1:]:
        peer.attempt.abort()
    assert framed_attempt._incomplete.total_bytes == 0
    assert small_bound < INCOMPLETE_BYTES_MAX


@pytest.mark.parametrize("end", ["whole", "abort", "error", "terminal"])
def test_what_has_come_or_is_over_counts_no_more(small_bound: int, end: str) -> None:
    peer = Peer()
    peer.attempt.on_head(200, HEAD)
    large = frame(OutputCommand(Success(b"x" * 2 * COUNTED_FROM_BYTES)))
    peer.attempt.on_data(large[: COUNTED_FROM_BYTES + 1])
    assert framed_attempt._incomplete.total_bytes == COUNTED_FROM_BYTES + 1
    match end:
        case "whole":
            peer.attempt.on_data(large[COUNTED_FROM_BYTES + 1 :])
            assert peer.log == [["OutputCommand"]]
        case "terminal":
            peer.attempt.on_data(large[COUNTED_FROM_BYTES + 1 :] + frame(End()))
        case "abort":
            peer.attempt.abort()
        case _:
            peer.attempt.on_error("lost")
    assert framed_attempt._incomplete.total_bytes == 0
