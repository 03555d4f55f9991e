"""Frames looked at before h2 does, and header blocks written without tables."""

from __future__ import annotations

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived
from h2.exceptions import ProtocolError
from hpack import Decoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, PingFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import given
from hypothesis import strategies as st

from rewake.deployments.http.connect_errors import ConnectionBroken
from rewake.deployments.http.http2_frames import (
    FRAME_BYTES_MAX,
    FRAMES_PER_SENT,
    FRAMES_PER_TURN_MAX,
    HEADER_LIST_BYTES_MAX,
    IDLE_FRAMES_MAX,
    FrameGuard,
    Goaway,
    LiteralEncoder,
    new_connection,
)

GOAWAY = GoAwayFrame(0, last_stream_id=7, error_code=0, additional_data=b"bye")
FRAMES = st.lists(st.sampled_from([DataFrame(1, b"x" * 300), DataFrame(3, b""), PingFrame(0, b"12345678"), GOAWAY]))


@given(FRAMES, st.lists(st.integers(0, 2_000), max_size=20))
def test_all_but_goaway_passes_however_it_is_cut(frames: list[Frame], cuts: list[int]) -> None:
    frames = [SettingsFrame(0), *frames]
    data = b"".join(frame.serialize() for frame in frames)
    kept = b"".join(frame.serialize() for frame in frames if frame is not GOAWAY)
    guard, passed, goaways = FrameGuard(), b"", []
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in zip(places, places[1:], strict=False):
        part, goaway = guard.feed(data[start:end])
        passed += part
        if goaway is not None:
            goaways.append(goaway)
    assert not guard.rest
    assert passed == kept
    assert set(goaways) <= {Goaway(7, 0)} and bool(goaways) == (GOAWAY in frames)


def test_what_is_no_http2_is_seen_at_once() -> None:
    with pytest.raises(ConnectionBroken, match="does not speak HTTP/2"):
        FrameGuard().feed(b"220 mail.example ESMTP ready")
    with pytest.raises(ConnectionBroken, match="does not speak HTTP/2"):
        FrameGuard().feed(PingFrame(0, b"12345678").serialize())


def test_a_frame_too_large_is_refused_before_it_is_there() -> None:
    guard = FrameGuard()
    guard.feed(SettingsFrame(0).serialize())
    whole = DataFrame(1, b"x" * (FRAME_BYTES_MAX + 1)).serialize()
    with pytest.raises(ConnectionBroken, match=f"a frame of {FRAME_BYTES_MAX + 1} bytes"):
        guard.feed(whole[:20])


def passed_until_refused(frame: Frame, rounds: int, sent_frames: int = 0) -> int:
    """How many of these frames a guard lets pass; `sent_frames` of ours go out per turn."""
    guard, passed = FrameGuard(), 0
    guard.feed(SettingsFrame(0).serialize())
    for _ in range(rounds):
        for _ in range(sent_frames):
            guard.earn()
        try:
            guard.feed(frame.serialize() * FRAMES_PER_TURN_MAX)
        except ConnectionBroken as error:
            assert "without content" in error.message
            return passed
        assert not guard.rest
        passed += FRAMES_PER_TURN_MAX
    return passed


@pytest.mark.parametrize(
    "frame",
    [PingFrame(0, b"12345678"), SettingsFrame(0, {4: 65_535}), DataFrame(1, b""), DataFrame(1, b"x"),
     WindowUpdateFrame(1, window_increment=1), DataFrame(1, b"x", pad_length=200, flags=["PADDED"])],
)  # fmt: skip
def test_frames_that_bring_nothing_on_are_counted(frame: Frame) -> None:
    """Five seconds of them held up all other deployments for as long."""
    rounds = 2 * IDLE_FRAMES_MAX // FRAMES_PER_TURN_MAX
    assert IDLE_FRAMES_MAX - FRAMES_PER_TURN_MAX <= passed_until_refused(frame, rounds) <= IDLE_FRAMES_MAX
    answers = FRAMES_PER_TURN_MAX // FRAMES_PER_SENT  # so many may be their answers
    assert passed_until_refused(frame, rounds, sent_frames=answers) == rounds * FRAMES_PER_TURN_MAX


def test_small_messages_may_come_for_ever() -> None:
    rounds = 2 * IDLE_FRAMES_MAX // FRAMES_PER_TURN_MAX
    assert passed_until_refused(DataFrame(1, b"8 bytes."), rounds) == rounds * FRAMES_PER_TURN_MAX


def test_the_frames_of_one_turn_are_bounded() -> None:
    guard = FrameGuard()
    frame = DataFrame(1, b"x" * 20).serialize()
    count = 2 * FRAMES_PER_TURN_MAX + 10
    data = SettingsFrame(0).serialize() + frame * (count - 1) + frame[:15]
    parts = []
    while data:
        parts.append(guard.feed(data)[0])
        data = guard.rest
    assert [part.count(frame) for part in parts] == [FRAMES_PER_TURN_MAX - 1, FRAMES_PER_TURN_MAX, 10]
    assert parts[-1].endswith(frame[:15])
    assert guard.feed(frame[15:]) == (frame[15:], None)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.binary(max_size=20_000)), max_size=5))
def test_any_hpack_decoder_reads_our_headers(headers: list[tuple[bytes, bytes]]) -> None:
    decoder = Decoder(max_header_list_size=1_000_000)
    assert [tuple(each) for each in decoder.decode(LiteralEncoder().encode(headers), raw=True)] == headers


@pytest.mark.parametrize(("size", "is_taken"), [(HEADER_LIST_BYTES_MAX, True), (HEADER_LIST_BYTES_MAX + 1, False)])
def test_headers_of_a_peer_are_bounded(size: int, is_taken: bool) -> None:
    """Counted as HTTP/2 counts them: names, values, and 32 bytes for each."""
    ours = new_connection(client_side=True, checks_headers=False, settings={})
    theirs = H2Connection(H2Configuration(client_side=False, validate_outbound_headers=False))
    ours.initiate_connection()
    ours.send_headers(1, [(b":method", b"GET"), (b":path", b"/"), (b":scheme", b"http"), (b":authority", b"x")])
    theirs.initiate_connection()
    theirs.receive_data(ours.data_to_send())
    ours.receive_data(theirs.data_to_send())
    status = len(b":status" + b"200") + 32
    theirs.max_outbound_frame_size = FRAME_BYTES_MAX
    theirs.send_headers(1, [(b":status", b"200"), (b"x", bytes(size - status - 1 - 32))])
    if is_taken:
        assert any(isinstance(event, ResponseReceived) for event in ours.receive_data(theirs.data_to_send()))
    else:
        with pytest.raises(ProtocolError):
            ours.receive_data(theirs.data_to_send())
