"""Fixtures of the engine's conformance tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from stage import Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A directory for one engine and what its handlers leave there."""
    monkeypatch.setenv("REWAKE_TEST_STAGE", str(tmp_path))
    return Stage(tmp_path)
