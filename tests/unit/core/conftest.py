"""A fresh stage for each test."""

from __future__ import annotations

import pytest
from tests.unit.core.play import Play


@pytest.fixture
def play() -> Play:
    stage = Play()
    stage.skip()
    return stage
