"""One history on a disk that forgets (disk.py): `python -m tests.simulation.power_cuts --count 1000 --from SEED`."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw
from tests.simulation.disk import ForgettingDisk, forgetting_disk
from tests.simulation.history import run
from tests.simulation.memory_store import MemoryStore

from rewake.core.writes import Batch
from rewake.store import checkpoints
from rewake.store.connection import DATABASE_FILE
from rewake.store.store import Store

CUTS: Final = 0.1
FAILS: Final = 0.1
OPERATIONS: Final = 24
"""A cut or a failure hits one of so many operations on files, if a commit has that many."""

CHECKPOINT_PAGES, TAIL_PAGES = 24, 8
"""Histories are short: their checkpoints come as much earlier."""

Rows = dict[str, list[Any]]


class UncertainStore(MemoryStore):
    """The real store on a disk that forgets, behind the one on dicts. cut_count, fail_count: how often it did."""

    def __init__(self, real: Store, disk: ForgettingDisk, folder: Path, seed: int) -> None:
        super().__init__()
        self.cut_count = self.fail_count = 0
        self._real = real
        self._disk = disk
        self._folder = folder
        self._chance = random.Random(seed)

    def apply(self, batch: Batch) -> None:
        chance = self._chance
        cuts, fails = chance.random() < CUTS, chance.random() < FAILS
        before = self._rows() if cuts or fails else {}
        images: list[Rows] = []
        if fails and self._submitted(batch, lambda: _raise(chance.choice((apsw.IOError, apsw.FullError)))) is not None:
            self.fail_count += 1
            self._real.resume()
            assert self._rows() == before, "a batch that failed left something behind"
            images.append(self._left(self._cut()))
            fails = False
        if not fails:  # else it was stored before its failure was due
            cut: list[dict[str, bytes]] = []
            error = self._submitted(batch, lambda: cut.append(self._cut()) if cuts else None)
            assert error is None, error
            images += [self._left(image) for image in cut]
        super().apply(batch)
        if images or cuts:
            after = self._rows()
            assert all(image in (before, after) for image in images), "a batch was stored in part"
            if cuts:
                assert self._left(self._cut()) == after, "what was acknowledged is lost"

    def _submitted(self, batch: Batch, at_some_operation: Callable[[], None]) -> BaseException | None:
        """What the store says of a batch, when something happens at one of the operations that it does on the disk."""
        left, outcomes = self._chance.randrange(OPERATIONS), list[BaseException | None]()

        def before(_kind: str) -> None:
            nonlocal left
            left -= 1
            if left == -1:
                at_some_operation()

        self._disk.before = before
        self._real.submit(batch, outcomes.append)
        self._disk.before = lambda _: None
        (outcome,) = outcomes
        return outcome

    def _cut(self) -> dict[str, bytes]:
        return self._disk.cut(self._real.path.parent, self._chance)

    def _left(self, image: dict[str, bytes]) -> Rows:
        """The rows of the store that opens on what a cut left."""
        self.cut_count += 1
        folder = self._folder / "left"
        shutil.rmtree(folder, ignore_errors=True)
        self._disk.forget(folder)
        folder.mkdir(mode=0o700)
        for name, content in image.items():
            (folder / name).write_bytes(content)
        Store.open(folder, now_ms=0).close()
        return _rows_of(folder)

    def _rows(self) -> Rows:
        return _rows_of(self._real.path.parent)


def _rows_of(folder: Path) -> Rows:
    connection = apsw.Connection(str(folder / DATABASE_FILE), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        assert connection.pragma("integrity_check") == "ok"
        tables = [name for (name,) in connection.execute("select name from sqlite_schema where type = 'table'")]
        return {
            name: sorted(connection.execute(f'select * from "{name}"'), key=repr)
            for name in tables
            if name != "meta" and not name.startswith("sqlite_")
        }
    finally:
        connection.close()


def _raise(error: type[Exception]) -> None:
    raise error("simulated")


def play(seed: int, folder: Path) -> UncertainStore:
    """One history. Raises AssertionError for what is lost, halved or left behind."""
    place = folder / str(seed)
    place.mkdir()
    pages = checkpoints.CHECKPOINT_PAGES, checkpoints.TAIL_PAGES
    checkpoints.CHECKPOINT_PAGES, checkpoints.TAIL_PAGES = CHECKPOINT_PAGES, TAIL_PAGES  # type: ignore[misc]
    try:
        with forgetting_disk() as disk:
            real = Store.open(place / "data", now_ms=0)
            try:
                store = UncertainStore(real, disk, place, seed)
                run(seed, store)
            finally:
                real.close()
    finally:
        checkpoints.CHECKPOINT_PAGES, checkpoints.TAIL_PAGES = pages  # type: ignore[misc]
    return store


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.power_cuts", description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--from", dest="first", type=int, default=0)
    options = parser.parse_args()
    cut_count = fail_count = 0
    began = time.monotonic()
    for seed in range(options.first, options.first + options.count):
        with tempfile.TemporaryDirectory() as folder:
            try:
                played = play(seed, Path(folder))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error
        cut_count += played.cut_count
        fail_count += played.fail_count
    seconds = time.monotonic() - began
    sys.stdout.write(
        f"{options.count} histories, {cut_count} power cuts, {fail_count} failed writes, {seconds:.0f} s\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
