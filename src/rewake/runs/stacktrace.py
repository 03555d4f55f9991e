"""The app's line in a stack trace of Python or JavaScript.

Frames of the SDK and of libraries are skipped, so the reader can change the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from rewake import formats

SEARCHED_CHARS_MAX: Final = 60_000
_PYTHON: Final = re.compile(
    r'^ *File "([^"\n]+)", line (\d{1,9})(?:, in ([^\n]+))?\n?(?: {4,}(?!File ")([^\n]+))?', re.MULTILINE
)
_JAVASCRIPT: Final = re.compile(
    r"^ *at (?:async )?(?:([^\n(]{1,200}) \()?([^\n()]{1,500}):(\d{1,9}):\d{1,9}\)?", re.MULTILINE
)
_FOREIGN: Final = re.compile(r"site-packages|dist-packages|/lib/python\d|<frozen|node_modules|^node:|^<anonymous>")


class SourceLine(msgspec.Struct, frozen=True):
    """file: the last parts of its path.   text: the line itself, if the trace has it."""

    file: str
    line: int
    function: str = ""
    text: str = ""


def source_line(stacktrace: str) -> SourceLine | None:
    """The innermost line of the app, or of any code if no frame is the app's; None without a trace."""
    frames = list(_frames(stacktrace))
    own = [line for path, line in frames if not _FOREIGN.search(path)]
    return own[0] if own else frames[0][1] if frames else None


def _frames(stacktrace: str) -> Iterator[tuple[str, SourceLine]]:
    """The frames, innermost first. Python writes the innermost last, JavaScript first."""
    for path, line, function, text in reversed(_PYTHON.findall(stacktrace[-SEARCHED_CHARS_MAX:])):
        yield path, _line(path, line, function, text)
    for function, path, line in _JAVASCRIPT.findall(stacktrace[:SEARCHED_CHARS_MAX]):
        yield path, _line(path, line, function, "")


def _line(path: str, line: str, function: str, text: str) -> SourceLine:
    short = "/".join(path.removeprefix("file://").replace("\\", "/").split("/")[-2:])
    words = (formats.shortened(formats.safe(part.strip()), 200) for part in (short, function, text))
    file, function, text = words
    return SourceLine(file, int(line), function, text)
