"""Play histories by seed: `python -m tests.simulation SEED...`, or `--count N --from SEED` for many.

Many are also to take every move of the table in core/lifecycle.py; how often they did is shown. `--liars` plays those
in which deployments lie (liars.py), `--processes N` plays in several processes at once.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from multiprocessing import Pool
from typing import NamedTuple

from tests.simulation import history, liars
from tests.simulation.moves import Move, counting, table_of
from tests.simulation.test_histories import MOVES_TAKEN_BY

from rewake.core.lifecycle import MOVES

CHUNK = 100
SHOWN_EACH = 10_000
"""Histories between two lines that show how far a long run has come."""


class Played(NamedTuple):
    """What some histories came to."""

    histories: int = 0
    commits: int = 0
    commands: int = 0
    failures: tuple[str, ...] = ()

    def with_more(self, other: Played) -> Played:
        return Played(
            self.histories + other.histories,
            self.commits + other.commits,
            self.commands + other.commands,
            self.failures + other.failures,
        )


def main() -> int:
    options = _options()
    seeds = options.seeds or range(options.first, options.first + options.count)
    chunks = [(list(seeds[start : start + CHUNK]), options.liars) for start in range(0, len(seeds), CHUNK)]
    started, total, moves = time.perf_counter(), Played(), Counter[Move]()
    for played, taken in _play_all(chunks, options.processes):
        for failure in played.failures:
            print(failure)  # noqa: T201
        total = total.with_more(played)
        moves += taken
        if total.histories % SHOWN_EACH == 0:
            print(f"{total.histories} so far, {len(total.failures)} failures", file=sys.stderr)  # noqa: T201
        if len(total.failures) >= options.failures_max:
            break
    spent = time.perf_counter() - started
    print(  # noqa: T201
        f"{total.histories} histories, {total.commands} commands, {total.commits} commits, "
        f"{len(total.failures)} failures, {spent:.0f} s"
    )
    if options.count:
        print(table_of(moves))  # noqa: T201
    is_missing = options.count >= MOVES_TAKEN_BY and set(moves) != set(MOVES)
    return 1 if total.failures or is_missing else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--liars", action="store_true")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--failures-max", type=int, default=1)
    return parser.parse_args()


def _play_all(chunks: list[tuple[list[int], bool]], processes: int) -> Iterator[tuple[Played, Counter[Move]]]:
    if processes == 1:
        yield from map(_play, chunks)
        return
    with Pool(processes) as pool:
        yield from pool.imap_unordered(_play, chunks)


def _play(chunk: tuple[list[int], bool]) -> tuple[Played, Counter[Move]]:
    """Histories of some seeds, with the moves they took. Each failure is shown, whatever was raised."""
    seeds, are_lying = chunk
    commits = commands = 0
    failures: list[str] = []
    with counting() as taken:
        for seed in seeds:
            try:
                played = liars.run(seed) if are_lying else history.run(seed)
            except Exception:  # noqa: BLE001
                failures.append(traceback.format_exc())
            else:
                commits += played.commit_count
                commands += played.command_count
    return Played(len(seeds), commits, commands, tuple(failures)), taken


if __name__ == "__main__":
    raise SystemExit(main())
