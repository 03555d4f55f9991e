"""The limit: how many runs a second the store alone could write, if everything else cost nothing.

Writes the rows of each work's runs through the store's own writer, 64 runs to a commit as 64 callers would make them, to a
database on the same disk with the store's own durability. Called by __main__.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimit:
    """Runs per second of one work, written by the store alone."""

    work: str
    runs_per_second: float

    def line(self) -> str:
        """The figure as one line for the reader."""
        return f"store alone, {self.work}: {self.runs_per_second:.0f} runs/s"


def measure(folder: Path) -> Sequence[StoreLimit]:
    """The limit of each work, on a new database in `folder`; empty while there is no store to measure."""
    return []
