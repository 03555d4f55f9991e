"""The last lines of a terminal, kept for a status while everything else scrolls above them.

The terminal itself does the work: its scroll region ends above the reserved lines, so that log lines, prints of
handlers and tracebacks of other processes cannot tear the status apart. Knows nothing of what is shown.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from typing import Final, TextIO

ROWS_MIN: Final = 12
"""A terminal with fewer rows is left alone."""

COLUMNS_MIN: Final = 40

_SAVE: Final = "\0337"
_RESTORE: Final = "\0338"
_WHOLE_REGION: Final = "\033[r"


class ReservedLines:
    """`count` lines at the bottom of the terminal behind `stream`."""

    def __init__(self, stream: TextIO, count: int) -> None:
        self._stream = stream
        self._count = count
        self._size: os.terminal_size | None = None
        self._shown: list[str] = []

    @staticmethod
    def fit(stream: TextIO) -> bool:
        """Whether `stream` is a terminal that can do it."""
        if not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb":
            return False
        size = os.get_terminal_size(stream.fileno())
        return size.lines >= ROWS_MIN and size.columns >= COLUMNS_MIN

    @property
    def columns(self) -> int:
        return os.get_terminal_size(self._stream.fileno()).columns

    def show(self, lines: Sequence[str]) -> None:
        """Replace what the lines show; the first `count` are used, each cut to the width of the terminal."""
        size = os.get_terminal_size(self._stream.fileno())
        texts = [cut_to_width(line, size.columns) for line in lines[: self._count]]
        texts += [""] * (self._count - len(texts))
        if size == self._size and texts == self._shown:
            return
        reserved = "" if size == self._size else self._reserve(size)
        self._size, self._shown = size, texts
        first = size.lines - self._count + 1
        drawn = "".join(f"\033[{first + offset};1H\033[2K{text}" for offset, text in enumerate(texts))
        self._write(f"{reserved}{_SAVE}{drawn}{_RESTORE}")

    def _reserve(self, size: os.terminal_size) -> str:
        """Make room below the cursor, then keep scrolling out of it. A new size begins with a clean region."""
        room = "\n" * self._count + f"\033[{self._count}A"
        again = "" if self._size is None else f"{_SAVE}{_WHOLE_REGION}{_RESTORE}"
        return f"{again}{room}{_SAVE}\033[1;{size.lines - self._count}r{_RESTORE}"

    def close(self) -> None:
        """Give the lines back, empty. The cursor stays where the scrolling text ends."""
        if self._size is None:
            return
        first = self._size.lines - self._count + 1
        self._size = None
        self._write(f"{_SAVE}{_WHOLE_REGION}\033[{first};1H\033[J{_RESTORE}")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def cut_to_width(text: str, columns: int) -> str:
    """The text in at most so many columns, cut with `…`; wide characters take two."""
    used = 0
    for position, character in enumerate(text):
        width = 0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used + width > columns - (position + 1 < len(text)):
            return text[:position] + "…"
        used += width
    return text
