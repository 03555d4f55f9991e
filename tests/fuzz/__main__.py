"""Hostile inputs for hours: `python -m tests.fuzz --minutes 60`, or one again: `python -m tests.fuzz sql 4711`."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tests.fuzz.targets import TARGETS, close, play_seed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", choices=sorted(TARGETS))
    parser.add_argument("seed", nargs="?", type=int)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--from", dest="first", type=int, default=0)
    options = parser.parse_args()
    names = [options.target] if options.target else list(TARGETS)
    if options.seed is not None:
        play_seed(names[0], options.seed)
        return 0
    ends_at, seed, failed = time.monotonic() + options.minutes * 60, options.first, dict.fromkeys(names, 0)
    while time.monotonic() < ends_at:
        for name in names:
            try:
                play_seed(name, seed)
            except Exception:  # noqa: BLE001  each failing input is shown, whatever it raised
                failed[name] += 1
                traceback.print_exc()
                sys.stderr.write(f"again: python -m tests.fuzz {name} {seed}\n")
        seed += 1
    tried = (seed - options.first) * len(names)
    sys.stdout.write(f"{tried} inputs tried, {sum(failed.values())} did not hold: {failed}\n")
    return int(any(failed.values()))


try:
    status = main()
finally:
    close()
raise SystemExit(status)
