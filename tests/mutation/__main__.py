"""Mutation testing of the core: `python -m tests.mutation [FILE...]`. Exit code 1 if a mutant survives unexplained.

Every mutant (mutants.py) must make a unit test of the core fail (runner.py), unless `equivalent.toml` explains why it
changes no observable behaviour. FILE is a module's name without `.py`; `--sample N --seed S` tries some of them.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.mutation.explained import explained
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.runner import CORE, survivors


def main() -> int:
    options = _options()
    paths = [CORE / f"{name}.py" for name in options.files] or sorted(CORE.glob("*.py"))
    known = explained()
    mutants = [mutant for path in paths for mutant in mutants_of(path)]
    tried = [mutant for mutant in mutants if mutant.name not in known]
    if options.sample is not None:
        tried = random.Random(options.seed).sample(tried, min(options.sample, len(tried)))
    started = time.perf_counter()
    left = survivors(tried, _show if options.verbose else lambda mutant, is_found: None)
    for mutant in left:
        print(f"survived: {mutant.path.name}:{mutant.line} {mutant.where}: {mutant.change}")  # noqa: T201
    spent = time.perf_counter() - started
    equal = sum(mutant.name in known for mutant in mutants)
    print(f"{len(tried)} mutants, {len(left)} survived, {equal} more are explained, {spent:.0f} s")  # noqa: T201
    return 1 if left else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("files", nargs="*", help="modules of the core, such as journal; all of them if none is named")
    parser.add_argument("--sample", type=int, help="try so many, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="show each mutant as it is tried")
    return parser.parse_args()


def _show(mutant: Mutant, is_found: bool) -> None:
    print("found   " if is_found else "SURVIVED", mutant.name, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(main())
