"""An open store in a temporary directory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rewake.store.store import Store

sys.path.insert(0, str(Path(__file__).parent))

from store_samples import NOW_MS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path, now_ms=NOW_MS)
    yield opened
    opened.close()
