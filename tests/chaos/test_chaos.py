"""The judge of the chaos sees what it is there to see; a storm of seconds runs with REWAKE_ALL_CRASHES=1."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.chaos.ledger import Answer, acts_of, judge
from tests.chaos.storm import storm
from tests.chaos.usage import Sample, growth_of

LEDGER = b"a 0 x\nb 0 p\na 0 y\na 1 z\n"
"""Act 0 of run a was cut off once."""


def test_an_act_that_was_cut_off_is_no_fault() -> None:
    verdict = judge(acts_of(LEDGER), {"a": Answer(("y", "z"), len(LEDGER)), "b": Answer(("p",), len(LEDGER))})
    assert (verdict.act_count, verdict.cut_off, verdict.repeated, verdict.lost) == (4, 1, [], [])


def test_an_act_after_a_later_one_ran_again() -> None:
    verdict = judge(acts_of(LEDGER + b"a 0 w\n"), {})
    assert verdict.repeated == ["a: act 0 after act 1"]


def test_an_act_after_the_answer_ran_again() -> None:
    ledger = LEDGER + b"b 0 q\n"
    verdict = judge(acts_of(ledger), {"b": Answer(("p",), len(LEDGER))})
    assert verdict.repeated == ["b: act 0 after the answer"]
    assert verdict.lost == ["b: p"]  # what was acknowledged is no longer what happened last


def test_an_answer_that_nobody_acted_for_is_lost() -> None:
    assert judge(acts_of(LEDGER), {"c": Answer(("v",), 0)}).lost == ["c: v"]


def test_what_grows_is_named() -> None:
    flat = [Sample(100, 20, 50)] * 12
    assert growth_of(flat) == []
    assert growth_of(flat[:6] + [Sample(200, 20, 50)] * 6) == ["memory_mib grew from 100 to 200"]
    assert growth_of([]) == []


@pytest.mark.skipif(not os.environ.get("REWAKE_ALL_CRASHES"), reason="set REWAKE_ALL_CRASHES=1")
def test_a_storm_loses_and_repeats_nothing(tmp_path: Path) -> None:
    outcome = storm(tmp_path, seconds=20, callers=8, seed=1)
    assert outcome.is_good, "\n".join(outcome.lines())
    assert outcome.faults
    assert outcome.verdict.act_count
