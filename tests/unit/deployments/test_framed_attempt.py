"""framed_attempt: heads, requests and the end of an attempt, without any transport."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from rewake.deployments.base import AttemptFailure, AttemptStart, ReceivedMessage
from rewake.deployments.framed_attempt import FramedAttempt, discovery_response, protocol_type_of, request_headers
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.codec import encode_message, message_type
from rewake.protocol.framing import MESSAGE_BYTES_MAX, encode_frame
from rewake.protocol.messages import (
    End,
    Future,
    Message,
    OutputCommand,
    ProposeRunCompletion,
    RunCommand,
    Success,
    Suspension,
)

HEAD = [(b"Content-Type", b"application/vnd.restate.invocation.v6")]
SUSPENSION = Suspension(Future(completions=(1,), signals=(1,)))


class Peer:
    """Sink and stream in one: writes down what the attempt does, in order."""

    def __init__(self, *, key: str | None = None, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self.log: list[object] = []
        self.failures: list[AttemptFailure] = []
        self.start = AttemptStart(
            service="S",
            handler="h",
            key=key,
            invocation_id="inv_1",
            protocol_version=6,
            frames=b"",
            message_bytes_max=message_bytes_max,
        )
        self.attempt = FramedAttempt(self.start, self, self)

    def on_messages(self, messages: list[ReceivedMessage]) -> None:
        self.log.append([type(message).__name__ for message, _, _, _ in messages])

    def on_failure(self, failure: AttemptFailure) -> None:
        self.failures.append(failure)
        self.log.append((failure.code, failure.status, failure.retry_after_ms))

    def on_closed(self) -> None:
        self.log.append("closed")

    def write(self, data: bytes) -> None:
        self.log.append(data)

    def end(self) -> None:
        self.log.append("end")

    def finish(self) -> None:
        self.log.append("finish")

    def reset(self) -> None:
        self.log.append("reset")


def frame(message: Message) -> bytes:
    return encode_frame(message_type(message), encode_message(message, 6))


def test_after_a_terminal_message_nothing_is_heard_or_sent() -> None:
    peer = Peer()
    peer.attempt.on_head(200, HEAD)
    output = frame(OutputCommand(Success(b"1")))
    peer.attempt.on_data(output + frame(End()) + output)
    peer.attempt.send(b"late")
    peer.attempt.half_close()
    peer.attempt.on_data(output)
    peer.attempt.on_end()
    peer.attempt.on_error("late")
    peer.attempt.abort()
    assert peer.log == [["OutputCommand", "End"], "finish", "closed"]


def test_messages_before_a_violation_are_heard() -> None:
    peer = Peer()
    peer.attempt.on_head(200, HEAD)
    peer.attempt.on_data(frame(RunCommand(1, "a")) + encode_frame(0x0399, b""))
    assert peer.log == [["RunCommand"], "reset", ("RT0012", 500, None)]


def test_a_result_above_the_limit_is_heard_behind_what_came_before_it() -> None:
    peer = Peer()
    peer.attempt.on_head(200, HEAD)
    proposed = frame(ProposeRunCompletion(1, Success(b"x" * 40)))
    too_large = proposed[:4] + (MESSAGE_BYTES_MAX + 1).to_bytes(4, "big") + proposed[8:]
    peer.attempt.on_data(frame(RunCommand(1, "a")) + too_large)
    peer.attempt.on_data(b"more of it")
    assert peer.log == [["RunCommand", "Oversized"]], "the engine aborts it"
    peer.attempt.abort()
    assert peer.log[1:] == ["reset"]


@pytest.mark.parametrize(("bytes_max", "is_heard"), [(40, True), (39, False)])
def test_an_operator_chooses_how_large_a_message_may_be(bytes_max: int, is_heard: bool) -> None:
    peer = Peer(message_bytes_max=bytes_max)
    peer.attempt.on_head(200, HEAD)
    proposed = frame(ProposeRunCompletion(1, Success(b"x" * 36)))
    assert len(proposed) == 8 + 40
    peer.attempt.on_data(proposed)
    assert peer.log == [["ProposeRunCompletion" if is_heard else "Oversized"]]


def test_any_other_message_above_the_limit_is_a_violation() -> None:
    peer = Peer()
    peer.attempt.on_head(200, HEAD)
    header = frame(RunCommand(1, "a"))[:4] + (MESSAGE_BYTES_MAX + 1).to_bytes(4, "big")
    peer.attempt.on_data(header)
    assert peer.log == ["reset", ("RT0003", 500, None)]
    assert "type 0x0411 has 33554433 bytes, more than the 33554432 allowed" in peer.failures[0].message


def test_a_sink_that_aborts_hears_no_more() -> None:
    peer = Peer()
    peer.attempt.on_head(200, HEAD)
    peer.on_messages = lambda messages: peer.attempt.abort()  # type: ignore[method-assign]
    peer.attempt.on_data(frame(End()))
    assert peer.log == ["reset"]


def test_bytes_before_the_head_are_a_violation() -> None:
    peer = Peer()
    peer.attempt.on_data(frame(End()))
    assert peer.log == ["reset", ("RT0012", 500, None)]


def test_half_close_by_the_engine_lets_a_suspension_stand() -> None:
    peer = Peer()
    peer.attempt.on_head(200, HEAD)
    peer.attempt.half_close()
    peer.attempt.send(b"late")
    peer.attempt.on_data(frame(SUSPENSION))
    assert peer.log == ["end", ["Suspension"], "finish", "closed"]


def test_half_close_by_the_transport_voids_a_suspension_that_missed_something() -> None:
    peer = Peer()
    peer.attempt.on_head(200, HEAD)
    peer.attempt.close_request()
    peer.attempt.send(b"missed")
    peer.attempt.on_data(frame(RunCommand(1, "a")) + frame(SUSPENSION))
    assert peer.log == ["end", ["RunCommand"], "reset", ("RT0010", 500, 0)]


def test_half_close_by_the_transport_with_nothing_missed() -> None:
    peer = Peer()
    peer.attempt.on_head(200, HEAD)
    peer.attempt.close_request()
    peer.attempt.half_close()
    peer.attempt.on_data(frame(SUSPENSION))
    assert peer.log == ["end", ["Suspension"], "finish", "closed"]


def test_an_end_is_believed_whatever_was_missed() -> None:
    peer = Peer()
    peer.attempt.on_head(200, HEAD)
    peer.attempt.close_request()
    peer.attempt.send(b"missed")
    peer.attempt.on_data(frame(End()))
    assert peer.log == ["end", ["End"], "finish", "closed"]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after(form: str) -> None:
    peer = Peer()
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90))
    value, low_ms, high_ms = (b"3", 3000, 3000) if form == "seconds" else (date.encode(), 80_000, 90_000)
    peer.attempt.on_head(503, [(b"retry-after", value)])
    failure = peer.failures[0]
    assert (failure.code, failure.status) == ("RT0023", 503)
    assert failure.retry_after_ms is not None
    assert low_ms <= failure.retry_after_ms <= high_ms


@pytest.mark.parametrize("digits", ["9" * 13, "9" * 20, "9" * 5_000])
def test_a_retry_after_beyond_all_reason_stays_a_number_that_can_be_added(digits: str) -> None:
    peer = Peer()
    peer.attempt.on_head(429, [(b"retry-after", digits.encode())])
    assert peer.log == ["reset", ("RT0023", 429, (10**12 - 1) * 1000)]


@pytest.mark.parametrize(
    "value",
    [
        b"soon",
        b"-1",
        b"\xb2",
        b"Mon, 01 Jan 0001 00:00:00 +9999",
        b"1 2 3 4 +99999999999999",
        b"Wed, 21 Oct 2015 07:28:00 GMT",
        b"",
    ],
)
def test_retry_after_that_means_nothing(value: bytes) -> None:
    peer = Peer()
    peer.attempt.on_head(429, [(b"retry-after", value)])
    assert peer.log == ["reset", ("RT0023", 429, None)]


def test_request_headers() -> None:
    start = Peer(key="a b/ü").start
    start.headers = (("Traceparent", "00-1"),)
    assert request_headers(start) == [
        (b"content-type", b"application/vnd.restate.invocation.v6"),
        (b"accept", b"application/vnd.restate.invocation.v6"),
        (b"x-restate-invocation-id", b"inv_1"),
        (b"x-restate-service-key", b"a%20b%2F%C3%BC"),
        (b"traceparent", b"00-1"),
    ]
    assert not any(name == b"x-restate-service-key" for name, _ in request_headers(Peer(key="k" * 5000).start))


MANIFEST_TYPE = "application/vnd.restate.endpointmanifest.v4+json"


def test_discovery() -> None:
    headers = {"content-type": MANIFEST_TYPE, "x-restate-server": "sdk/1"}
    found = discovery_response(200, headers, b'{"protocolMode": "REQUEST_RESPONSE"}', where="It")
    assert (found.manifest_version, found.server) == (4, "sdk/1")
    assert protocol_type_of(found) == "request_response"


@pytest.mark.parametrize(
    ("status", "content_type", "body", "code"),
    [
        (404, MANIFEST_TYPE, b"gone", ErrorCode.DISCOVERY_REFUSED),
        (200, "text/html", b"{}", ErrorCode.DISCOVERY_INVALID),
        (200, MANIFEST_TYPE, b"not json", ErrorCode.DISCOVERY_INVALID),
        (200, MANIFEST_TYPE, b"[]", ErrorCode.DISCOVERY_INVALID),
        (200, MANIFEST_TYPE, b'{"protocolMode": ' + b"[" * 100_000, ErrorCode.DISCOVERY_INVALID),
        (200, MANIFEST_TYPE.replace("4", "4" * 5_000), b"{}", ErrorCode.DISCOVERY_INVALID),
    ],
)
def test_discovery_that_fails(status: int, content_type: str, body: bytes, code: ErrorCode) -> None:
    with pytest.raises(RewakeError) as caught:
        discovery_response(status, {"content-type": content_type}, body, where="The app")
    assert caught.value.code is code


def test_discovery_echoes_little_of_what_another_server_says() -> None:
    body = b"secret " * 3 + b"\x1b[2J forged\nline " + b"x" * 500
    with pytest.raises(RewakeError) as foreign:
        discovery_response(403, {}, body, where="It", is_foreign=True)
    shown = foreign.value.message.partition("\n")[2]
    assert shown.startswith("secret secret secret \\u001b[2J forged line xxx")
    assert len(shown) <= 85
    with pytest.raises(RewakeError) as own:
        discovery_response(500, {}, body, where="It")
    assert len(own.value.message) > 500
    with pytest.raises(RewakeError) as odd:
        discovery_response(200, {"content-type": "a/b\x1b" + "x" * 500}, b"{}", where="It")
    assert len(odd.value.message) < 250 and "\x1b" not in odd.value.message
