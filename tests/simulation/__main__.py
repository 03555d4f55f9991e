"""Play histories by seed: `python -m tests.simulation SEED...`, or `--count N --from SEED` for many.

Many are also to take every move of the table in core/lifecycle.py; how often they did is shown.
"""

from __future__ import annotations

import argparse
import time
import traceback

from tests.simulation.history import run
from tests.simulation.moves import counting, table_of
from tests.simulation.test_histories import MOVES_TAKEN_BY

from rewake.core.lifecycle import MOVES


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--failures-max", type=int, default=1)
    options = parser.parse_args()
    seeds = options.seeds or range(options.first, options.first + options.count)
    started, failures = time.perf_counter(), 0
    commits = played = 0
    with counting() as taken:
        for seed in seeds:
            played += 1
            try:
                commits += run(seed).commit_count
            except Exception:  # noqa: BLE001  each failing seed is shown, whatever it raised
                traceback.print_exc()
                failures += 1
                if failures >= options.failures_max:
                    break
    spent = time.perf_counter() - started
    mean_ms = spent / max(played, 1) * 1000
    print(f"{played} histories, {commits} commits, {failures} failures, {mean_ms:.1f} ms each")  # noqa: T201
    if options.count:
        print(table_of(taken))  # noqa: T201
        failures += options.count >= MOVES_TAKEN_BY and set(taken) != set(MOVES)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
