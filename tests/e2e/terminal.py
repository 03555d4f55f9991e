"""A command on a terminal of its own: a pseudo-terminal, and an emulator that knows what a person would see.

`Terminal.until` reads until the screen is as wanted, so that no test sleeps.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import pyte
from cli_process import command, environment
from tests.warm import Warm

ROWS: Final = 24
COLUMNS: Final = 100
WAIT_S: Final = 30.0


class Terminal:
    """`rewake ARGS` on a terminal, killed when the `with` ends."""

    def __init__(self, *args: str | Path, cwd: Path, stdout_too: bool = True, **env: str) -> None:
        self.screen = pyte.HistoryScreen(COLUMNS, ROWS, history=2_000)
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        self._resize(ROWS, COLUMNS)
        self.process = Warm(
            command(*args),
            cwd=cwd,
            env=environment(TERM="xterm-256color", **env),
            stdin=theirs,
            stdout=theirs if stdout_too else subprocess.DEVNULL,
            stderr=theirs,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def lines(self) -> list[str]:
        """The screen, top to bottom."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        """All that was written and has not been overwritten: what scrolled out, then the screen."""
        past = ["".join(line[column].data for column in range(COLUMNS)).rstrip() for line in self.screen.history.top]
        return "\n".join([*past, *self.lines])

    def resize(self, rows: int, columns: int) -> None:
        self._resize(rows, columns)
        self.screen.resize(rows, columns)

    def _resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, is_so: Callable[[], bool]) -> None:
        """Read until it is so. Raises AssertionError with the screen when it does not become so."""
        give_up_at_s = time.monotonic() + WAIT_S
        while not is_so():
            assert time.monotonic() < give_up_at_s and self._read(), "\n".join(self.lines)

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        return self.process.wait(WAIT_S)

    def _read(self) -> bool:
        """Feed what there is, waiting a little; False when the other side is closed."""
        readable, _, _ = select.select([self._ours], [], [], 0.1)
        if not readable:
            return True
        content = b""
        with contextlib.suppress(OSError):  # EIO: nobody has it open any more.
            content = os.read(self._ours, 1 << 16)
        self._stream.feed(content)
        return bool(content)
