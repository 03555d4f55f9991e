"""Processes that kill themselves at a result of the journal, directly after its commit."""

from __future__ import annotations

import os
import signal
from pathlib import Path


class Killer:
    """A codec of journal values that counts the results that are read, and dies at one of them.

    deaths: a file that gets a line for it.
    """

    def __init__(self, dies_at: int, deaths: Path | None = None) -> None:
        self.dies_at = dies_at
        self.deaths = deaths
        self.seen = 0

    def encode(self, buf: bytes) -> bytes:
        return buf

    async def decode(self, buf: bytes) -> bytes:
        self.seen += 1
        if self.seen == self.dies_at:
            if self.deaths is not None:
                with self.deaths.open("a") as file:
                    file.write("died\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return buf


def deaths_in(folder: Path) -> Path:
    """Where workers write that they die."""
    return folder / "deaths"


def next_killer(folder: Path) -> Killer:
    """Of a worker that comes after those that have died."""
    file = deaths_in(folder)
    return Killer(1 + len(file.read_text().splitlines()) if file.exists() else 1, file)
