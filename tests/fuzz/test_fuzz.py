"""A budget of hostile inputs: fixed seeds, the same in each run. `python -m tests.fuzz` tries others for hours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.fuzz.targets import TARGETS, close, play_seed

INPUTS = 150


@pytest.fixture(autouse=True, scope="module")
def engine_ends() -> Iterator[None]:
    yield
    close()


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_inputs_hold(name: str) -> None:
    for seed in range(INPUTS):
        try:
            play_seed(name, seed)
        except Exception as error:
            raise AssertionError(f"again: python -m tests.fuzz {name} {seed}") from error
