"""The code blocks of a Markdown page, and what to do with each.

A block is a fence with a language. ` title="app.py"` after the language names the file a reader would save it as. An
HTML comment right above a fence, `<!-- run: ... -->`, tells the runner what a reader does by hand: see
test_docs_code.py.
Pure: reads text, runs nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`\n]*)$")
_DIRECTIVE = re.compile(r"^\s*<!-- run: (?P<text>.*?) -->\s*$")
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. `line` is where its fence opens, counted from 1."""

    page: Path
    line: int
    language: str
    title: str
    directive: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order. Raises ValueError for a fence that is never closed."""
    blocks: list[Block] = []
    directive = ""
    opened: tuple[int, str, str, str] | None = None
    content: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if opened is not None:
            first, indent, ticks, info = opened
            if fence and fence["ticks"] == ticks and not fence["info"].strip():
                title = _TITLE.search(info)
                language = info.split()[0] if info.split() else ""
                text = "\n".join(content) + "\n"
                blocks.append(Block(page, first, language, title[1] if title else "", directive, text))
                opened, content, directive = None, [], ""
            else:
                content.append(line.removeprefix(indent))
        elif fence:
            opened = (number, fence["indent"], fence["ticks"], fence["info"])
        elif found := _DIRECTIVE.match(line):
            directive = found["text"]
        elif line.strip():
            directive = ""
    if opened is not None:
        raise ValueError(f"{page}:{opened[0]}: the code block is never closed")
    return blocks


def matches(expected: str, actual: str) -> bool:
    """Whether the lines of `expected` occur in `actual` in this order; others may stand between them.

    Loose where runs differ: `...` stands for anything, any white space for any other, ids and numbers of processes for
    one another.
    """
    position = 0
    lines = actual.splitlines()
    for wanted in expected.splitlines():
        if not wanted.strip() or wanted.strip() == "...":
            continue
        pattern = _pattern(wanted)
        while position < len(lines) and not pattern.search(lines[position]):
            position += 1
        if position == len(lines):
            return False
        position += 1
    return True


_VARYING = re.compile(
    r"(?P<any>\.\.\.)|(?P<space>\s+)|(?P<id>\b(?:inv|dp|sign)_1\w+)|(?P<claim>\b[MC]-[0-9a-f]{8}\b)"
    r"|(?P<port>(?<=:)(?:8080|9070|4010)\b)|(?P<number>\b\d{4,}\b)"
)
_STANDS_FOR = {
    "any": r".*",
    "space": r"\s+",
    "id": r"\w+_1[\w.…-]+",
    "claim": r"[MC]-[0-9a-f]{8}",
    "port": r"\d+",
    "number": r"\d+",
}


def _pattern(line: str) -> re.Pattern[str]:
    parts: list[str] = []
    end = 0
    stripped = line.strip()
    for found in _VARYING.finditer(stripped):
        parts.append(re.escape(stripped[end : found.start()]))
        parts.append(_STANDS_FOR[str(found.lastgroup)])
        end = found.end()
    parts.append(re.escape(stripped[end:]))
    return re.compile("".join(parts))
