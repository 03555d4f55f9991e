"""Chaos: `python -m tests.chaos --minutes 10`. Kills of engine, worker and deployment under load, and what came of it.

Exit code 0 when nothing acknowledged was lost, no finished step ran again, nothing was left open, and in a soak
memory, descriptors and files stayed as they were.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos.storm import storm


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument(
        "--every",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="between two faults, on average; 0 for a soak: no faults, all must stay as large as it is",
    )
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--folder", type=Path, default=None, help="kept, with data, ledger and logs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rewake-chaos-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = storm(
            folder,
            seconds=options.minutes * 60,
            callers=options.callers,
            fault_every_s=options.every,
            seed=options.seed,
        )
    sys.stdout.write("\n".join([f"seed {options.seed}", *outcome.lines()]) + "\n")
    return 0 if outcome.is_good else 1


raise SystemExit(main())
