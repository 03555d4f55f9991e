"""Frames against captured bytes, under every chunking, and above the size limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_vectors import VECTORS

from rewake.protocol.codec import encode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.framing import MESSAGE_BYTES_MAX, Frame, FrameDecoder, Oversized, encode_frame, encode_frames
from rewake.protocol.messages import REQUESTED_ACK, Message, MessageType, ProposeRunCompletion, Success

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
    assert len(decoder.pending) == 0


@given(st.binary(max_size=64))
def test_garbage_is_frames_or_too_large(data: bytes) -> None:
    decoder = FrameDecoder(message_bytes_max=1000)
    received = decoder.feed(data)
    if decoder.oversized is None:
        assert sum(8 + len(frame.payload) for frame in received) + len(decoder.pending) == len(data)


def test_a_cut_off_frame_stays_pending() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(b"\x00\x03\x00") == []
    assert len(decoder.pending) == 3
    assert decoder.feed(b"\x00\x00\x00\x00\x01") == []
    assert decoder.feed(b"x\x00") == [Frame(3, 0, b"x")]
    assert len(decoder.pending) == 1


def test_a_frame_above_the_limit_is_reported_at_its_header_behind_those_before_it() -> None:
    decoder = FrameDecoder(message_bytes_max=10)
    data = encode_frame(1, b"x" * 10) + encode_frame(1, b"x" * 11)[:8]
    assert decoder.feed(data[:-1]) == [Frame(1, 0, b"x" * 10)]
    assert decoder.oversized is None
    assert decoder.feed(data[-1:]) == []
    assert decoder.oversized == (1, 11, 10, b"")


@pytest.mark.parametrize("completion_id", [1, 127, 128, 2**32 - 1])
def test_a_result_above_the_limit_names_its_run(completion_id: int) -> None:
    proposed = encode_message(ProposeRunCompletion(completion_id, Success(b"x" * 40)), 6)
    data = encode_frame(MessageType.PROPOSE_RUN_COMPLETION, proposed)
    decoder = FrameDecoder(message_bytes_max=30)
    for byte in data[:13]:
        assert decoder.feed(bytes([byte])) == [] and decoder.oversized is None
    assert decoder.feed(data[13:]) == []
    assert decoder.oversized is not None
    assert (decoder.oversized.size, decoder.oversized.completion_id) == (len(proposed), completion_id)


@pytest.mark.parametrize("start", [b"", b"\x10\x01", b"\x08\xff\xff\xff\xff\xff"])
def test_a_result_above_the_limit_without_its_run_is_a_violation(start: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="does not begin with its completion id"):
        _ = Oversized(MessageType.PROPOSE_RUN_COMPLETION, 11, 10, start).completion_id


def test_the_default_limit_is_the_servers() -> None:
    assert FrameDecoder().message_bytes_max == MESSAGE_BYTES_MAX == 32 * 1024 * 1024


def test_many_small_chunks_of_a_large_frame_stay_linear() -> None:
    """4 MiB in 1 KiB chunks: quadratic copying would take minutes here."""
    payload = bytes(4 * 1024 * 1024)
    data = encode_frame(1, payload)
    decoder = FrameDecoder()
    received = [frame for start in range(0, len(data), 1024) for frame in decoder.feed(data[start : start + 1024])]
    assert received == [Frame(1, 0, payload)]
