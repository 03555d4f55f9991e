"""Frames looked at before h2 does, and header blocks written without tables."""

from __future__ import annotations

import pytest
from hpack import Decoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, PingFrame, SettingsFrame
from hypothesis import given
from hypothesis import strategies as st

from rewake.deployments.http.connect_errors import ConnectionBroken
from rewake.deployments.http.http2_wire import FRAME_BYTES_MAX, FrameGuard, Goaway, LiteralEncoder

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


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.binary(max_size=20_000)), max_size=5))
def test_any_hpack_decoder_reads_our_headers(headers: list[tuple[bytes, bytes]]) -> None:
    decoder = Decoder(max_header_list_size=1_000_000)
    assert [tuple(each) for each in decoder.decode(LiteralEncoder().encode(headers), raw=True)] == headers
