"""The pure half of an HTTP/2 connection against the h2 package's server: frames out, responders called."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from http2_peer import Pair, RequestReceived, StreamEnded, StreamReset, of
from hyperframe.frame import GoAwayFrame

from rewake.deployments.http.connect_errors import ConnectionBroken
from rewake.deployments.http.exchange import HttpOptions
from rewake.protocol.framing import encode_frame
from rewake.protocol.messages import MessageType


def test_a_request_and_its_answer() -> None:
    pair = Pair()
    exchange, heard = pair.open()
    exchange.write(b"start")
    exchange.end()
    events = pair.sent()
    (request,) = of(RequestReceived, events)
    assert dict(request.headers) == {
        b":method": b"POST",
        b":scheme": b"http",
        b":authority": b"host:1",
        b":path": b"/invoke/a/b",
        b"x": b"y",
    }
    assert pair.data_frames(1) == [(b"start", True)]
    pair.answer(1, b"one", b"two")
    pair.sync()
    assert heard.heads == [(200, {b":status": b"200", b"content-type": b"text/plain"})]
    assert heard.chunks == [b"onetwo"]  # what arrives together is delivered together
    assert heard.ends == [None]
    assert not pair.state.exchanges and pair.state.capacity == 100


def test_a_request_without_a_body_is_one_frame() -> None:
    pair = Pair()
    pair.open(is_ended=True)
    assert of(StreamEnded, pair.sent())
    assert pair.data_frames(1) == []


def test_all_of_a_moment_is_one_data_frame_and_none_is_empty_but_the_last() -> None:
    pair = Pair()
    exchange, _ = pair.open()
    for part in (b"a", b"", b"b", b"c"):
        exchange.write(part)
    pair.sync()
    exchange.write(b"d")
    exchange.write(b"e")
    pair.sync()
    pair.sync()
    exchange.end()
    exchange.end()
    pair.sync()
    assert pair.data_frames(1) == [(b"abc", False), (b"de", False), (b"", True)]


def test_messages_of_a_moment_are_up_to_four_frames_once_the_journal_is_sent() -> None:
    """Each frame wakes one of a handler's tasks."""
    pair = Pair()
    exchange, _ = pair.open()
    results = [encode_frame(MessageType.RUN_COMPLETION, b"%d" % number) for number in range(6)]
    for written in (results[:2], results[:2], results):
        exchange.write(b"".join(written))
        pair.sync()
    frames = [data for data, _ in pair.data_frames(1)]
    assert frames == [b"".join(results[:2]), *results[:2], *results[:3], b"".join(results[3:])]


def test_silence_after_the_end_and_after_a_reset() -> None:
    pair = Pair()
    ended, _ = pair.open()
    reset, _ = pair.open()
    pair.sync()
    ended.finish()
    reset.reset()
    for exchange in (ended, reset):
        exchange.write(b"late")
        exchange.end()
        exchange.finish()
    events = pair.sync()
    assert pair.data_frames(1) == [(b"", True)]
    assert [event.stream_id for event in of(StreamReset, events)] == [3]
    assert not pair.data_frames(3)


def test_an_answer_that_ends_first_is_closed_without_a_data_frame() -> None:
    """hypercorn drops the connection on a DATA frame for a stream it has answered."""
    pair = Pair()
    exchange, heard = pair.open()
    pair.sync()
    exchange.write(b"on its way")
    pair.answer(1)
    pair.state.receive(pair.peer.data_to_send())
    exchange.write(b"more")
    exchange.end()
    events = pair.sync()
    assert heard.ends == [None]
    assert [event.error_code for event in of(StreamReset, events)] == [ErrorCodes.CANCEL]
    assert pair.data_frames(1) == []


def test_an_answer_that_ends_as_we_do_gets_its_end() -> None:
    """The TypeScript SDK ends its answer with the last message; a reset would look like a lost client."""
    pair = Pair()
    exchange, heard = pair.open()
    pair.sync()
    pair.answer(1, b"End")
    heard.on_data = lambda chunk: exchange.finish()  # type: ignore[method-assign]
    events = pair.sync()
    assert not of(StreamReset, events)
    assert pair.data_frames(1) == [(b"", True)]
    assert heard.ends == [None]


def test_windows_are_obeyed_and_a_slow_stream_holds_up_no_other() -> None:
    pair = Pair(settings={SettingCodes.INITIAL_WINDOW_SIZE: 1_000})
    slow, _ = pair.open()
    fast, heard = pair.open()
    slow.write(b"s" * 5_000)
    fast.write(b"f" * 500)
    fast.end()
    pair.sync()
    assert sum(len(data) for data, _ in pair.data_frames(1)) == 1_000
    assert pair.data_frames(3) == [(b"f" * 500, True)]
    pair.answer(3)
    pair.sync()
    assert heard.ends == [None]
    while not (frames := pair.data_frames(1)) or sum(len(data) for data, _ in frames) < 5_000:
        pair.peer.increment_flow_control_window(1_000, 1)
        pair.sync()
    slow.end()
    pair.sync()
    assert pair.data_frames(1)[-1] == (b"", True)


def test_a_full_connection_window_blocks_it_until_it_is_opened() -> None:
    pair = Pair(settings={SettingCodes.INITIAL_WINDOW_SIZE: 1_000_000})
    exchange, _ = pair.open()
    exchange.write(b"x" * 100_000)
    pair.sync()
    assert pair.state.is_blocked
    pair.peer.increment_flow_control_window(100_000)
    pair.sync()
    assert not pair.state.is_blocked
    assert sum(len(data) for data, _ in pair.data_frames(1)) == 100_000


def test_large_bodies_take_turns() -> None:
    pair = Pair(settings={SettingCodes.INITIAL_WINDOW_SIZE: 10_000_000})
    pair.peer.increment_flow_control_window(10_000_000)
    pair.sync()
    for _ in range(2):
        exchange, _ = pair.open()
        exchange.write(b"x" * 1_000_000)
    pair.sync()
    order = [frame.stream_id for frame in pair.frames if frame.stream_id]
    assert order.index(3) < len(order) / 4


def test_the_peers_stream_limit_is_the_capacity() -> None:
    pair = Pair(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    assert pair.state.capacity == 2
    first, _ = pair.open()
    pair.open()
    assert pair.state.capacity == 0
    first.reset()
    assert pair.state.capacity == 1
    pair.peer.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 0})
    pair.sync()
    assert pair.state.capacity == 0 and pair.state.is_leaving


def test_nothing_is_opened_before_the_peer_has_spoken() -> None:
    from rewake.deployments.http.http2_state import Http2State

    state = Http2State(b"http", b"host", HttpOptions())
    state.begin()
    assert state.capacity == 0 and not state.is_ready


def test_a_connection_is_used_for_so_many_requests() -> None:
    pair = Pair(HttpOptions(requests_per_connection_max=2))
    pair.open()
    assert not pair.state.is_leaving
    pair.open()
    assert pair.state.is_leaving and pair.state.capacity == 0


def test_goaway_fails_what_the_peer_has_not_seen_and_lets_the_rest_finish() -> None:
    pair = Pair()
    (seen, heard_seen), (_, heard_unseen) = pair.open(), pair.open()
    pair.sync()
    pair.state.receive(GoAwayFrame(0, last_stream_id=1, error_code=0).serialize())
    assert pair.state.is_leaving and pair.state.capacity == 0
    assert heard_unseen.ends == ["The server closed the connection (NO_ERROR)."]
    seen.write(b"more")
    seen.end()
    pair.answer(1, b"all of it")
    pair.sync()
    assert heard_seen.chunks == [b"all of it"] and heard_seen.ends == [None]


def test_a_reset_by_the_peer() -> None:
    pair = Pair()
    exchange, heard = pair.open()
    _, other = pair.open()
    pair.sync()
    pair.answer(1, b"part", ends=False)
    pair.peer.reset_stream(1, ErrorCodes.INTERNAL_ERROR)
    pair.sync()
    assert heard.chunks == [b"part"]
    assert heard.ends == ["The server reset the stream (INTERNAL_ERROR)."]
    exchange.write(b"late")
    exchange.reset()
    pair.sync()
    assert other.ends == []


def test_loss_fails_every_exchange_once() -> None:
    pair = Pair()
    heard = [pair.open()[1] for _ in range(3)]
    pair.state.fail_all("gone")
    pair.state.fail_all("gone again")
    assert [each.ends for each in heard] == [["gone"]] * 3


def test_http1_is_recognized() -> None:
    from rewake.deployments.http.http2_state import Http2State

    state = Http2State(b"http", b"host", HttpOptions())
    state.begin()
    with pytest.raises(ConnectionBroken) as caught:
        state.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert caught.value.is_http1


def test_a_broken_frame_breaks_the_connection() -> None:
    pair = Pair()
    pair.open()
    pair.sync()
    with pytest.raises(ConnectionBroken, match="broke HTTP/2"):
        pair.state.receive(bytes.fromhex("000000 00 00 00000000"))  # DATA on stream 0


def test_an_answer_without_a_status() -> None:
    pair = Pair()
    _, heard = pair.open()
    pair.sync()
    pair.peer.config.validate_outbound_headers = False
    pair.peer.send_headers(1, [(b":status", b"abc")])
    pair.sync()
    assert heard.ends == ["The server answered without a status."]


def test_pings() -> None:
    pair = Pair()
    pair.state.ping()
    assert not pair.state.has_ping_answer
    pair.sync()
    assert pair.state.has_ping_answer
