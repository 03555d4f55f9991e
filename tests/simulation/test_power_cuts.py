"""Histories on a disk whose power is cut at any write, and which fails: what was acknowledged is there, whole.

After each cut the store opens on what is left. Its rows are those from before the batch that was under way or from
after it, and from after it once that was acknowledged. `python -m tests.simulation.power_cuts --count 1000` plays many.
"""

from __future__ import annotations

from pathlib import Path

from tests.simulation.power_cuts import play

SEEDS = range(5)


def test_what_was_acknowledged_survives_power_cuts_and_failing_writes(tmp_path: Path) -> None:
    played = [play(seed, tmp_path) for seed in SEEDS]
    assert sum(each.cut_count for each in played) > 20
    assert sum(each.fail_count for each in played) > 5
