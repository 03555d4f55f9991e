"""The zoo as it is stored; `python -m tests.zoo` plays it, and so does REWAKE_ALL_CRASHES=1."""

from __future__ import annotations

import os

import pytest
from tests.zoo.__main__ import HERE, expected, played, stored

ALL = bool(os.environ.get("REWAKE_ALL_CRASHES"))


def test_each_animal_is_expected_and_was_found_and_named() -> None:
    """Of the last play of the whole zoo, and no false alarm on a sound app."""
    animals = {path.stem for path in (HERE / "animals").glob("*.py")} - {"other_side"}
    scores = stored()
    assert animals == {*expected()}
    assert len(animals) >= 15
    assert animals < {*scores}
    assert [name for name, score in scores.items() if not score.is_right] == []


@pytest.mark.skipif(not ALL, reason="plays the whole zoo: REWAKE_ALL_CRASHES=1")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", expected())
def test_the_lab_finds_and_names_it(name: str) -> None:
    score, report = played(name)
    assert score.is_right, report.as_json()
