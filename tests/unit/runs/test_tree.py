"""A run with everything below it: named steps, each run in one place, and bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.agents.recorded import load

from rewake.core.ids import invocation_id_from_str
from rewake.runs import tree
from rewake.runs.facts import STATUSES
from rewake.runs.filters import RunFilter
from rewake.runs.local.database import DatabaseReading, local_reading
from rewake.runs.tree import Branch, fetch_tree


def whole(found: DatabaseReading, runs_max: int = 100) -> Branch:
    (run,) = found.find(RunFilter(service="ClaimRouter"), dict.fromkeys(STATUSES, 0)).runs
    root = fetch_tree(found, invocation_id_from_str(run.id), runs_max=runs_max)
    assert root is not None
    return root


def test_callees_are_below_their_callers(tmp_path: Path) -> None:
    with local_reading(load("remote_specialists", tmp_path), 1 << 42) as found:
        root = whole(found)
        assert [branch.run.service for branch in root.walk()] == ["ClaimRouter", "CarSpecialist"]
        call = next(step for step in root.steps if step.kind == "call")
        assert (call.subject, call.child) == ("CarSpecialist/answer", root.children[0].id)
        assert [branch.run.service for branch in whole(found, runs_max=1).walk()] == ["ClaimRouter"]
        assert fetch_tree(found, bytes(24)) is None


def test_beyond_so_many_steps_names_are_those_without_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "NAMED_STEPS_MAX", 0)
    with local_reading(load("remote_specialists", tmp_path), 1 << 42) as found:
        assert next(step for step in whole(found).steps if step.kind == "call").subject == ""
