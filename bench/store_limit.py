"""The limit: how many runs a second the store alone could write, if everything else cost nothing.

Runs each work with 64 callers on an engine in this process and keeps the batches it hands to its store; then hands the
same batches, rows and commits alike, to a store on a new database and times only that. Same disk and same durability
as the compared peers. Called by __main__.py.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from bench.app import app
from bench.works import KEY_COUNT, TIMED
from rewake.core.writes import Batch
from rewake.engine.engine import Engine
from rewake.store.store import OnDone, Store

CALLERS = 64
RUNS_PER_CALLER = 20
REPLAYS = 5
SERVICES = {"route2": "Steps", "steps10": "Steps", "keyed": "Counter"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimit:
    """What the store alone does with the rows of `runs` runs of one work."""

    work: str
    runs: int
    row_count: int
    commit_count: int
    seconds: float

    @property
    def runs_per_second(self) -> float:
        return self.runs / self.seconds

    def line(self) -> str:
        """The figures as one line for the reader."""
        return (
            f"store alone, {self.work}: {self.runs_per_second:.0f} runs/s, {self.row_count / self.seconds:.0f} rows/s "
            f"({self.row_count / self.runs:.1f} rows a run, {self.row_count / self.commit_count:.0f} rows a commit)"
        )


def measure(folder: Path, works: Sequence[str] = TIMED) -> list[StoreLimit]:
    """The limit of each work, on new databases below `folder`."""
    limits = []
    for work in works:
        shutil.rmtree(folder, ignore_errors=True)
        with recorded_batches() as batches:
            asyncio.run(run_work(folder / "engine", work, batches))
        limits.append(median_replay(folder, work, batches))
    return limits


async def run_work(path: Path, work: str, batches: list[Batch]) -> None:
    """All runs of one work; `batches` then holds theirs only, without those of the engine's start."""

    async def caller(number: int) -> None:
        for n in range(number * RUNS_PER_CALLER, (number + 1) * RUNS_PER_CALLER):
            key = f"key{n % KEY_COUNT}" if work == "keyed" else None
            await engine.call(SERVICES[work], work, n, key=key)

    async with Engine(path, app) as engine:
        batches.clear()
        await asyncio.gather(*(caller(number) for number in range(CALLERS)))


@contextmanager
def recorded_batches() -> Iterator[list[Batch]]:
    """Every batch handed to any store of this process, in order."""
    batches: list[Batch] = []
    submit = Store.submit

    def recording_submit(store: Store, batch: Batch, on_done: OnDone) -> None:
        batches.append(batch)
        submit(store, batch, on_done)

    # The engine opens its store itself, so there is no instance to wrap.
    with mock.patch.object(Store, "submit", recording_submit):
        yield batches


def median_replay(folder: Path, work: str, batches: Sequence[Batch]) -> StoreLimit:
    """The limit by the median of some replays: one takes only tens of milliseconds."""
    return StoreLimit(
        work=work,
        runs=CALLERS * RUNS_PER_CALLER,
        row_count=sum(row_count(batch) for batch in batches),
        commit_count=len(batches),
        seconds=statistics.median(replay_seconds(folder / f"store{n}", batches) for n in range(REPLAYS)),
    )


def replay_seconds(path: Path, batches: Sequence[Batch]) -> float:
    """Time to write the batches to a new store one after another, each committed before the next."""
    store = Store.open(path, now_ms=time.time_ns() // 1_000_000)
    try:
        started = time.perf_counter()
        for batch in batches:
            store.submit(batch, _raise_error)
        return time.perf_counter() - started
    finally:
        store.close()


def row_count(batch: Batch) -> int:
    """Rows that a batch of the timed works inserts or updates."""
    return len(batch.inserts) + len(batch.updates) + len(batch.entries) + len(batch.state)


def _raise_error(error: BaseException | None) -> None:
    if error is not None:
        raise error


if __name__ == "__main__":
    print("\n".join(limit.line() for limit in measure(Path(sys.argv[1]))))
