"""Deployments that lie harm nobody: some seeds; `python -m tests.simulation --liars --count N` plays more."""

from __future__ import annotations

from collections import Counter

from tests.simulation.liars import LIES, run

COUNT = 60


def test_whatever_a_deployment_says_the_engine_goes_on_and_others_are_not_harmed() -> None:
    told: Counter[str] = Counter()
    for seed in range(COUNT):
        told += run(seed).told
    assert set(told) == {name for name, _ in LIES}
