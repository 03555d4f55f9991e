"""What is fetched of a run before it is shaped, and what is left out of one beyond reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.agents.recorded import load

from rewake.core.model import Invocation
from rewake.runs import records
from rewake.runs.facts import STATUSES
from rewake.runs.filters import RunFilter
from rewake.runs.local.database import DatabaseReading, local_reading
from rewake.runs.records import Record, fetch


def fetched(found: DatabaseReading) -> tuple[Invocation, Record]:
    """The router's run with its specialist's."""
    page = found.find(RunFilter(service="ClaimRouter"), dict.fromkeys(STATUSES, 0))
    row = found.execute("select id from invocation where service = 'ClaimRouter'").fetchone()
    assert len(page.runs) == 1 and row is not None
    invocation = found.invocation(row[0])
    assert invocation is not None
    return invocation, fetch(found, invocation)


def test_a_run_with_those_it_called(tmp_path: Path) -> None:
    with local_reading(load("remote_specialists", tmp_path), 1 << 42) as found:
        _, record = fetched(found)
        assert [each.invocation.target.service for each in record.walk()] == ["ClaimRouter", "CarSpecialist"]
        assert record.is_whole
        told = [step for step in record.steps if step.kind in ("input", "step", "call", "output")]
        assert all(record.command(step) or record.result(step) for step in told)


@pytest.mark.parametrize(
    ("bound", "value"), [("RECORD_BYTES_MAX", 100), ("STEPS_MAX", 2), ("RUNS_MAX", 1), ("DEPTH_MAX", 0)]
)
def test_a_record_that_is_not_whole_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(records, bound, value)
    with local_reading(load("remote_specialists", tmp_path), 1 << 42) as found:
        _, record = fetched(found)
    assert not all(each.is_whole for each in record.walk())


def test_a_payload_beyond_reason_is_left_out_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "PAYLOAD_BYTES_MAX", 100)
    with local_reading(load("remote_specialists", tmp_path), 1 << 42) as found:
        _, record = fetched(found)
    assert record.is_whole
    assert record.payloads
    assert max(map(len, record.payloads.values())) <= 100
