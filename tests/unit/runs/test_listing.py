"""What the list of runs remembers between requests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rewake.runs import listing
from rewake.runs.listing import AGENTS_MAX, Counts

READING: Any = SimpleNamespace(is_whole=True)


def test_so_many_agents_are_remembered_the_latest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "names_of", lambda _, run_id: [f"agent of {run_id}"])
    monkeypatch.setattr(listing, "_AGENTS_S", 3600.0)
    counts, seen = Counts(), list[str]()
    for number in range(AGENTS_MAX + 1):
        run: Any = SimpleNamespace(id=f"{number}", is_open=False)
        seen = counts.agents(READING, [run])
    assert len(seen) == AGENTS_MAX
    assert (seen[0], seen[-1]) == (f"agent of {AGENTS_MAX}", "agent of 1")
