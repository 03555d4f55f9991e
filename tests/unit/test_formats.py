"""How values look, hostile ones above all."""

from __future__ import annotations

import pytest

from rewake import formats
from rewake.formats import JSON_DEPTH_MAX, SHOWN_CHARS_MAX


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        (b"", "empty", ""),
        (None, "empty", ""),
        (b'{"a":[1,null]}', "json", '{\n  "a": [\n    1,\n    null\n  ]\n}'),
        (b"just words", "text", "just words"),
        ("tail \u202egpj.exe \x1b[31m".encode(), "text", "tail \\u202egpj.exe \\u001b[31m"),
        (b'"\\u0000\\u202e"', "json", '"\\u0000\\u202e"'),
    ],
)
def test_content(content: bytes | None, kind: str, text: str) -> None:
    made = formats.shown(content)
    assert (made.kind, made.text, made.is_cut) == (kind, text, False)


def test_bytes_are_dumped() -> None:
    made = formats.shown(b"\xff\x00AB" * 200)
    assert made.kind == "bytes"
    assert made.text.startswith("0000  ff 00 41 42")
    assert made.is_cut


@pytest.mark.parametrize("content", [b"x" * 1_000_000, ("ä" * 100_000).encode(), b'["' + b"y" * 60_000 + b'"]'])
def test_huge_content_is_cut(content: bytes) -> None:
    made = formats.shown(content, 1_000)
    assert made.is_cut
    assert made.size == len(content)
    assert len(made.text) <= 1_000


@pytest.mark.parametrize(
    "content", [b"[" * 5_000 + b"]" * 5_000, b"[" * 500 + b"]" * 500, b'{"a":' * 300 + b"1" + b"}" * 300]
)
def test_deep_content_is_shown(content: bytes) -> None:
    assert formats.shown(content).text
    assert formats.line(content)


def test_one_line() -> None:
    assert formats.line(b'"a\\n  b"') == "a b"
    assert formats.line({"a": 1}) == '{"a": 1}'
    assert formats.line(b"word " * 100, 10) == "word word…"
    assert formats.line("\ud83d half") == "? half"


@pytest.mark.parametrize(
    ("ms", "text"),
    [(None, ""), (0, "0 ms"), (999, "999 ms"), (1_500, "1.5 s"), (59_000, "59 s"), (61_000, "1 min 1 s"),
     (7_200_000, "2 h"), (90_000_000, "1 d 1 h")],
)  # fmt: skip
def test_durations(ms: int | None, text: str) -> None:
    assert formats.duration(ms) == text


def test_times() -> None:
    assert formats.ago(1_000, 1_500) == "now"
    assert formats.ago(0, 65_000) == "1 min ago"
    assert formats.ago(86_400_000, 0) == "in 1 d"
    assert formats.moment(1 << 60).startswith("9999")


def test_how_deep_and_how_long() -> None:
    deepest = b"[" * JSON_DEPTH_MAX + b"1" + b"]" * JSON_DEPTH_MAX
    assert "…" not in formats.shown(deepest).text
    assert "…" in formats.shown(b"[" + deepest + b"]").text
    assert not formats.shown(b"x" * SHOWN_CHARS_MAX).is_cut
    cut = formats.shown(b"x" * (SHOWN_CHARS_MAX + 1))
    assert (len(cut.text), cut.is_cut) == (SHOWN_CHARS_MAX, True)
