"""Hostile and odd HTTP/1.1 on every port Rewake opens, see hostile_ports.py: each case on each of them.

One suite for all of them, so that a hole closed on one port is not left open on another. How a request is framed must
never be in doubt: each is answered as one request, or refused with the connection closed behind it.
"""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator

import pytest
from hostile_ports import PORTS, SMUGGLED, WHOLE, Port, PortName, all_ports, flood, framed, send_in_pieces
from raw_http import Wire, request

FRAMINGS = ("length", "chunked")
PIECES = (WHOLE, 7)
TAKEN_BYTES_MAX = 16 << 20
"""What a server may take of a flood, socket buffers included, before it hangs up or reads no more."""

ANSWERED_BYTES_MAX = 48 << 20
"""The same of requests that it answers: short answers to many of them fit into the buffers of the sockets."""


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[PortName, Port]]:
    with all_ports(tmp_path_factory.mktemp("hostile") / "data") as found:
        yield found


@pytest.fixture(params=PORTS)
def port(ports: dict[PortName, Port], request: pytest.FixtureRequest) -> Port:
    return ports[request.param]


def check_refused(port: Port, data: bytes, piece_bytes: int = WHOLE) -> None:
    """One answer that blames the caller, then the end of the connection; nothing behind it runs."""
    (answer,) = port.answers(data + SMUGGLED, piece_bytes)
    assert answer.status in {400, 405, 505}
    assert answer.headers["connection"] == "close"


# Offers of another protocol


@pytest.mark.parametrize("piece_bytes", PIECES)
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("offer", ["h2c", "websocket"])
def test_the_body_of_a_request_that_offers_an_upgrade_is_its_body(
    port: Port, offer: str, framing: str, piece_bytes: int
) -> None:
    """Java's HttpClient and `curl --http2` offer h2c. A body that reads like a request must not become one."""
    length, body = framed(port.body, framing)
    head = port.head("connection: Upgrade, HTTP2-Settings", f"upgrade: {offer}", "http2-settings: AAMAAABk", length)
    first, *more = port.answers(head + body, piece_bytes)
    assert port.is_answer(first)
    assert len(more) == 1


def test_an_offer_without_a_body_is_answered_and_the_connection_goes_on(port: Port) -> None:
    with Wire(port.port) as wire:
        offer = request("GET", "/none", {"connection": "Upgrade", "upgrade": "h2c"})
        assert wire.exchange(offer).status < 500
        assert port.is_answer(wire.exchange(port.whole()))


def test_thousands_of_offers_at_once_are_read_one_after_the_other(port: Port) -> None:
    offer = request("GET", "/none", {"connection": "Upgrade", "upgrade": "h2c"})
    with Wire(port.port) as wire:
        wire.send(offer * 3_000)
        assert wire.answer().status < 500


def test_connect_opens_no_tunnel(port: Port) -> None:
    """What follows its head would be another protocol's."""
    check_refused(port, b"CONNECT test:80 HTTP/1.1\r\nhost: test\r\n\r\n")


# Expectations


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("expectation", ["100-continue", "100-Continue"])
def test_a_caller_that_asks_may_send_its_body(port: Port, expectation: str, framing: str) -> None:
    length, body = framed(port.body, framing)
    with Wire(port.port) as wire:
        wire.send(port.head(f"expect: {expectation}", length))
        wire._until(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert port.is_answer(wire.exchange(body))


@pytest.mark.parametrize("piece_bytes", PIECES)
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(
    "lines",
    [
        ["expect: 100-continue"],
        ["expect: the-unexpected"],
        ["expect: 100-continue", "connection: Upgrade", "upgrade: h2c"],
    ],
)
def test_a_body_that_does_not_wait_for_leave_is_the_body(
    port: Port, lines: list[str], framing: str, piece_bytes: int
) -> None:
    length, body = framed(port.body, framing)
    first, *more = port.answers(port.head(*lines, length) + body, piece_bytes)
    assert port.is_answer(first)
    assert len(more) == 1


# Trailers


@pytest.mark.parametrize("piece_bytes", PIECES)
def test_trailers_are_dropped(port: Port, piece_bytes: int) -> None:
    """A trailer must not pass for a header that somebody in front has checked (RFC 9110, 6.5.1)."""
    target = port.headers_target or port.target
    body = b"" if port.headers_target else port.body
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    data = port.head("transfer-encoding: chunked", target=target) + chunk + b"0\r\nx-evil: 1\r\nhost: evil\r\n\r\n"
    if port.name == "ingress":  # a handler without input takes no content type
        data = data.replace(b"content-type: text/plain\r\n", b"")
    first, *more = port.answers(data, piece_bytes)
    assert len(more) == 1
    if port.headers_target:
        assert first.status == 200
        headers = json.loads(first.body)
        assert "x-evil" not in headers
        assert headers.get("host", "test") == "test"
    else:
        assert port.is_answer(first)


@pytest.mark.parametrize(
    "piece", [b"x: " + b"y" * 60_000 + b"\r\n", b"x: y\r\n" * 10_000, b"y" * 60_000], ids=["long", "many", "one"]
)
def test_trailers_are_bounded(port: Port, piece: bytes) -> None:
    head = port.head("transfer-encoding: chunked")
    with Wire(port.port) as wire:
        wire.send(head + b"%x\r\n%b\r\n0\r\nx: " % (len(port.body), port.body))
        _, sent_bytes = flood(wire, piece)
    assert sent_bytes < TAKEN_BYTES_MAX
    assert port.is_healthy()


def test_the_head_of_a_chunk_is_bounded(port: Port) -> None:
    with Wire(port.port) as wire:
        wire.send(port.head("transfer-encoding: chunked") + b"1;x=")
        _, sent_bytes = flood(wire, b"y" * 60_000)
    assert sent_bytes < TAKEN_BYTES_MAX
    assert port.is_healthy()


# Heads


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"GET /", b"a" * 60_000),
        (b"A", b"A" * 60_000),
        (b"GET / HTTP/1.1\r\nx: ", b"y" * 60_000),
        (b"GET / HTTP/1.1\r\n", b"x" * 60_000),
        (b"GET / HTTP/1.1\r\n", b"x: y\r\n" * 10_000),
        (b"", b"\r\n" * 30_000),
    ],
    ids=["target", "method", "value", "name", "many", "empty lines"],
)
def test_a_head_is_bounded(port: Port, start: bytes, piece: bytes) -> None:
    with Wire(port.port) as wire:
        wire.send(start)
        said, sent_bytes = flood(wire, piece)
    assert sent_bytes < TAKEN_BYTES_MAX
    assert not said or said.startswith(b"HTTP/1.1 4")
    assert port.is_healthy()


@pytest.mark.parametrize(
    "line",
    [
        b"x: a\rb",
        b"x: a\r\rb",
        b"x: a\0b",
        b"x\0: a",
        b"x : a",
        b"x y: a",
        b": a",
        b"no colon",
        b" x: a",
        b"x: a\r\n\tfolded: b",
        b"x\xff: a",
        b"x\x7f: a",
        b"host: other",
        b"(x): a",
        b'"x": a',
    ],
    ids=repr,
)
def test_a_header_that_is_none_is_refused(port: Port, line: bytes) -> None:
    """Some servers would skip it, some take it for another: somebody in front may have seen another request."""
    whole = port.whole()
    assert b"host: test\r\n" in whole
    check_refused(port, whole.replace(b"host: test\r\n", b"host: test\r\n" + line + b"\r\n"), piece_bytes=7)


@pytest.mark.parametrize(
    "line",
    [
        b"GARBAGE",
        b"GET",
        b"GET /",
        b"GET /a b HTTP/1.1",
        b"GET /\0 HTTP/1.1",
        b"GET /\r HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"get / HTTP/1.1",
        b"G\0T / HTTP/1.1",
        b"GET / HTTP/2.0",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/1",
        b"GET / http/1.1",
        b"GET / HTTP/11.1",
        b"GET a HTTP/1.1",
        b"PRI * HTTP/2.1",
    ],
    ids=repr,
)
def test_a_first_line_that_is_none_is_refused(port: Port, line: bytes) -> None:
    check_refused(port, line + b"\r\nhost: test\r\n\r\n")


@pytest.mark.parametrize(
    "target", ["/%00", "/%ff%fe", "/../../etc/passwd", "//evil/", "/a?b\xffc", "/\xff", "/%", "/é"]
)
def test_an_odd_target_is_answered_and_the_connection_goes_on_or_ends(port: Port, target: str) -> None:
    first = request("GET", "/x", {}).replace(b"/x", target.encode("latin-1"))
    answer, *_ = port.answers(first)
    assert 200 <= answer.status < 500
    assert port.is_healthy()


def test_odd_bytes_in_a_value_are_a_value(port: Port) -> None:
    answer, *more = port.answers(port.whole("x-odd: \t!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"))
    assert port.is_answer(answer)
    assert len(more) == 1


# Lengths


@pytest.mark.parametrize("piece_bytes", PIECES)
@pytest.mark.parametrize(
    "lines",
    [
        ["content-length: -1"],
        ["content-length: +5"],
        ["content-length: 5x"],
        ["content-length: 0x5"],
        ["content-length: 5, 5"],
        ["content-length: 5 5"],
        ["content-length: "],
        ["content-length: 99999999999999999999999"],
        ["content-length: 1", "content-length: 2"],
        ["content-length: 1", "content-length: 1"],
        ["content-length: 0", "transfer-encoding: chunked"],
        ["transfer-encoding: chunked", "content-length: 0"],
        ["content-length: 0", "transfer-encoding: identity"],
        ["transfer-encoding: chunked, gzip"],
        ["transfer-encoding: xchunked"],
        ["transfer-encoding: chunkedx"],
        ["transfer-encoding: gzip"],
        ["transfer-encoding: chunked", "transfer-encoding: gzip"],
    ],
    ids=repr,
)
def test_a_length_in_doubt_is_refused(port: Port, lines: list[str], piece_bytes: int) -> None:
    """Also with an offer of another protocol, which is parsed a second time without it."""
    for offer in ([], ["connection: Upgrade", "upgrade: h2c"]):
        check_refused(port, port.head(*offer, *lines) + b"0\r\n\r\n", piece_bytes)


@pytest.mark.parametrize("piece_bytes", PIECES)
@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"0x1\r\na\r\n0\r\n\r\n",
        b" 1\r\na\r\n0\r\n\r\n",
        b"1 \r\na\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"1\r\nab\r\n0\r\n\r\n",
        b"1\na\n0\n\n",
        b"1\r\na\n0\r\n\r\n",
        b"1\ra\r\n0\r\n\r\n",
        b"\r\n1\r\na\r\n0\r\n\r\n",
        b"1\r\na\r\n0\r\nx y: z\r\n\r\n",
    ],
    ids=repr,
)
def test_a_chunk_in_doubt_is_refused(port: Port, chunks: bytes, piece_bytes: int) -> None:
    for offer in ([], ["connection: Upgrade", "upgrade: h2c"]):
        check_refused(port, port.head(*offer, "transfer-encoding: chunked") + chunks, piece_bytes)


# Encodings


@pytest.mark.parametrize("port", ["admin", "serve", "model"], indirect=True)
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x-none", "GZIP"])
def test_a_compressed_body_is_refused_and_never_unpacked(port: Port, encoding: str, framing: str) -> None:
    """The ingress hands it to the handler as it is (test_ingress_wire.py); forms and deltas are read as they are."""
    bomb = gzip.compress(bytes(1 << 20))
    length, body = framed(bomb, framing)
    first, *more = port.answers(port.head(f"content-encoding: {encoding}", length) + body, 7)
    assert first.status == 415
    assert len(more) <= 1, "nothing of the body is another request"
    assert port.is_healthy()


@pytest.mark.parametrize("encoding", ["identity", " Identity "])
def test_a_body_as_it_is_may_say_so(port: Port, encoding: str) -> None:
    first, *_ = port.answers(port.whole(f"content-encoding: {encoding}"))
    assert port.is_answer(first)


# Half an end


@pytest.mark.parametrize("port", ["ingress", "admin", "web", "ui", "deltas"], indirect=True)
@pytest.mark.parametrize("piece_bytes", PIECES)
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("offer", [[], ["connection: Upgrade", "upgrade: h2c"]], ids=["plain", "offer"])
def test_a_caller_that_ends_its_side_after_its_request_gets_the_answer(
    port: Port, offer: list[str], framing: str, piece_bytes: int
) -> None:
    """Not `rewake serve`, whose peer has given the attempt up, nor the model server, whose clients are killed."""
    length, body = framed(port.body, framing)
    with Wire(port.port) as wire:
        send_in_pieces(wire, port.head(*offer, length) + body, piece_bytes)
        wire.socket.shutdown(socket.SHUT_WR)
        assert port.is_answer(wire.answer())
        assert wire.is_closed()


# One after the other


@pytest.mark.parametrize("piece_bytes", PIECES)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_pipelined_requests_are_answered_in_order(port: Port, framing: str, piece_bytes: int) -> None:
    length, body = framed(port.body, framing)
    with Wire(port.port) as wire:
        send_in_pieces(wire, (port.head(length) + body + request("GET", "/none")) * 4, piece_bytes)
        for _ in range(4):
            assert port.is_answer(wire.answer())
            assert not port.is_answer(wire.answer())


def test_a_pipeline_is_bounded(port: Port) -> None:
    """A caller that asks on and reads nothing must not fill the memory."""
    with Wire(port.port) as wire:
        said, sent_bytes = flood(wire, port.whole() * 300)
    assert sent_bytes < ANSWERED_BYTES_MAX
    assert said.count(b"HTTP/1.1 %d" % port.status) > 1
    assert port.is_healthy()


@pytest.mark.parametrize("piece_bytes", PIECES)
def test_a_refusal_waits_for_the_answers_before_it(port: Port, piece_bytes: int) -> None:
    with Wire(port.port) as wire:
        send_in_pieces(wire, port.whole() + b"GARBAGE\r\n\r\n" + SMUGGLED, piece_bytes)
        assert port.is_answer(wire.answer())
        while not wire.is_closed():
            assert wire.answer().status == 400


def test_an_answer_ends_with_the_connection_when_the_caller_wants_it_so(port: Port) -> None:
    for data in (port.whole("connection: close"), port.whole().replace(b"HTTP/1.1", b"HTTP/1.0", 1)):
        (answer,) = port.answers(data + SMUGGLED)
        assert port.is_answer(answer)
        assert answer.headers["connection"] == "close"
