"""Frames against captured bytes, under every chunking, and above the size limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_vectors import VECTORS

from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.framing import MESSAGE_BYTES_MAX, Frame, FrameDecoder, encode_frame, encode_frames
from rewake.protocol.messages import REQUESTED_ACK, Message

frames = st.lists(st.builds(Frame, st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1), st.binary(max_size=40)))


@pytest.mark.parametrize(("name", "version", "type_id", "frame", "message"), VECTORS)
def test_captured_frames(name: str, version: int, type_id: int, frame: str, message: Message) -> None:
    data = bytes.fromhex(frame)
    assert FrameDecoder().feed(data) == [Frame(type_id, 0, data[8:])]
    assert encode_frame(type_id, data[8:]) == encode_frames([(type_id, data[8:])]) == data


def test_requested_ack_is_a_flag() -> None:
    data = bytes.fromhex("00 05 80 00 00 00 00 06 08 01 72 02 34 32")
    assert FrameDecoder().feed(data) == [(5, REQUESTED_ACK, data[8:])]
    assert encode_frame(5, data[8:], REQUESTED_ACK) == data


@given(frames, st.lists(st.integers(1, 30), min_size=1))
def test_any_chunking_gives_the_same_frames(sent: list[Frame], sizes: list[int]) -> None:
    data = b"".join(encode_frame(frame.type_id, frame.payload, frame.flags) for frame in sent)
    decoder, received, position, turn = FrameDecoder(), [], 0, 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        received += decoder.feed(data[position : position + size])
        position, turn = position + size, turn + 1
    assert received == sent
    assert decoder.pending_size == 0


@given(st.binary(max_size=64))
def test_garbage_is_frames_or_a_violation(data: bytes) -> None:
    decoder = FrameDecoder(message_bytes_max=1000)
    try:
        received = decoder.feed(data)
    except ProtocolViolation as violation:
        assert violation.code == "RT0003"
    else:
        assert sum(8 + len(frame.payload) for frame in received) + decoder.pending_size == len(data)


def test_a_cut_off_frame_stays_pending() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(b"\x00\x03\x00") == []
    assert decoder.pending_size == 3
    assert decoder.feed(b"\x00\x00\x00\x00\x01") == []
    assert decoder.feed(b"x\x00") == [Frame(3, 0, b"x")]
    assert decoder.pending_size == 1


def test_a_frame_above_the_limit_is_refused_at_its_header() -> None:
    decoder = FrameDecoder(message_bytes_max=10)
    assert decoder.feed(encode_frame(1, b"x" * 10)) == [Frame(1, 0, b"x" * 10)]
    with pytest.raises(ProtocolViolation, match="type 0x0001 has 11 bytes, more than the 10 allowed") as caught:
        decoder.feed(encode_frame(1, b"x" * 11)[:8])
    assert caught.value.code == "RT0003"


def test_the_default_limit_is_the_servers() -> None:
    assert FrameDecoder().message_bytes_max == MESSAGE_BYTES_MAX == 32 * 1024 * 1024


def test_many_small_chunks_of_a_large_frame_stay_linear() -> None:
    """4 MiB in 1 KiB chunks: quadratic copying would take minutes here."""
    payload = bytes(4 * 1024 * 1024)
    data = encode_frame(1, payload)
    decoder = FrameDecoder()
    received = [frame for start in range(0, len(data), 1024) for frame in decoder.feed(data[start : start + 1024])]
    assert received == [Frame(1, 0, payload)]
