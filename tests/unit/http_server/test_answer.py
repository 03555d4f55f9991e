"""Answers as bytes: how the body is framed, and heads that are refused."""

from __future__ import annotations

import pytest

from rewake.http_server.answer import AnswerError, Http1Answer, date


def answer(*parts: bytes, status: int = 200, length: bytes | None = None, is_head_only: bool = False) -> bytes:
    """The bytes of an answer in these parts, without its date."""
    built = Http1Answer(is_head_only=is_head_only, knows_chunks=True, keeps_alive=True)
    built.begin(status, [] if length is None else [(b"Content-Length", length)])
    out = b"".join(built.encode(part, is_last=at == len(parts), now=0.0) for at, part in enumerate(parts, 1))
    lines = out.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.startswith(b"date: "))


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (answer(b"hi"), b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
        (answer(b"hi", length=b"3"), b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
        (answer(b"h", b"i", length=b"2"), b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
        (answer(b"h", b""), b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n0\r\n\r\n"),
        (answer(b"", length=b"7", is_head_only=True), b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"),
        (answer(b"hi", is_head_only=True), b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),
        (answer(b"hi", status=204), b"HTTP/1.1 204 No Content\r\n\r\n"),
        (answer(b"", status=304), b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        (answer(b"", status=999), b"HTTP/1.1 999 \r\ncontent-length: 0\r\n\r\n"),
    ],
)
def test_the_body_has_one_length(built: bytes, expected: bytes) -> None:
    assert built == expected


def test_a_body_that_differs_from_its_length_is_an_error() -> None:
    for parts in ((b"h", b"ello"), (b"h", b"")):
        with pytest.raises(AnswerError, match="differs from its content-length"):
            answer(*parts, length=b"2")


@pytest.mark.parametrize("header", [(b"x", b"a\nb"), (b"x", b"a\rb"), (b"x\r\n", b"a"), (b"x", b"a\0")])
def test_a_head_with_a_line_break_in_it_is_an_error(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(AnswerError, match="line break"):
        Http1Answer(is_head_only=False, knows_chunks=True, keeps_alive=True).begin(200, [header])


def test_the_app_may_ask_for_the_end_of_the_connection_and_for_no_other_framing() -> None:
    built = Http1Answer(is_head_only=False, knows_chunks=True, keeps_alive=True)
    built.begin(200, [(b"connection", b"close"), (b"transfer-encoding", b"gzip"), (b"upgrade", b"h2c")])
    head = built.encode(b"", is_last=True, now=0.0)
    assert b"connection: close\r\n" in head
    assert b"gzip" not in head and b"h2c" not in head
    assert not built.keeps_alive


def test_the_date_is_made_anew_each_second() -> None:
    first = date(1000.0)
    assert date(1000.9) is first
    assert date(1001.5) is not first
    assert date(5.0) is not first
    assert first.endswith(b" GMT")
