"""Some hundred cuts and kills; `python -m tests.bank` makes ten thousand."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.bank.__main__ import POLICIES, paid


@pytest.mark.timeout(120)
def test_nothing_is_booked_twice_and_each_lost_answer_is_settled(tmp_path: Path) -> None:
    outcome = asyncio.run(paid(100, 1, tmp_path, at_once=16))
    assert (outcome.bank.doubled, outcome.wrong) == ([], [])
    assert outcome.disturbances >= 100
    assert {policy for ended in outcome.ended for policy in [ended.partition(":")[0]]} == {*POLICIES}
    assert outcome.ended["fail: unknown"] > 0
