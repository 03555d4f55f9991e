"""What is fetched for the page of a run, and what is left out beyond its bounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.agents.recorded import load

from rewake.core.model import Invocation
from rewake.runs.facts import EventFact
from rewake.runs.local.database import DatabaseReading, local_reading
from rewake.ui import run_data as fetching
from rewake.ui.run_data import RunData, first_rows, run_data


@pytest.fixture
def found(tmp_path: Path) -> Iterator[DatabaseReading]:
    with local_reading(load("remote_specialists", tmp_path), 1 << 42) as opened:
        yield opened


def router(found: DatabaseReading) -> Invocation:
    row = found.execute("select id from invocation where service = 'ClaimRouter'").fetchone()
    assert row is not None
    invocation = found.invocation(row[0])
    assert invocation is not None
    return invocation


def data_of(found: DatabaseReading, first_row: int = 0, step_index: int | None = None) -> RunData:
    data = run_data(found, router(found), first_row=first_row, step_index=step_index)
    assert data is not None
    return data


def test_a_run_and_the_one_it_called(found: DatabaseReading) -> None:
    data = data_of(found, step_index=0)
    assert data.window.steps == data.steps and data.window.payloads
    (called,) = data.window.called.values()
    assert (called.invocation.target.service, called.status) == ("CarSpecialist", "succeeded")
    assert called.steps and called.payloads
    assert not {step.kind for step in called.steps} & {"input", "output"}
    assert data.step is not None and data.step.step is data.steps[0]


def test_a_row_beyond_the_last_shows_the_last_window(found: DatabaseReading) -> None:
    assert data_of(found, first_row=10_000).first_row == 0


def test_a_run_alone_has_the_status_of_those_it_called(found: DatabaseReading) -> None:
    rows = first_rows(found, router(found), 3)
    assert len(rows.steps) == 3
    (called,) = first_rows(found, router(found), 99).called.values()
    assert (called.status, called.steps, called.called) == ("succeeded", [], {})


@pytest.mark.parametrize(("bound", "value"), [("NESTED_ROWS_MAX", 1), ("DEPTH_MAX", 0)])
def test_a_called_run_is_shown_in_part(
    found: DatabaseReading, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(fetching, bound, value)
    (called,) = data_of(found).window.called.values()
    assert called.steps == []  # its first entry is the input


def test_long_payloads_are_not_read(found: DatabaseReading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PREVIEW_BYTES_MAX", 100)
    assert max(map(len, data_of(found).window.payloads.values())) <= 100


def test_as_many_failures_of_a_called_run_as_fit(found: DatabaseReading, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    events = found.events

    def counted(invocation_id: bytes, limit: int = 500) -> list[EventFact]:
        asked.append(limit)
        return events(invocation_id, limit)

    monkeypatch.setattr(found, "events", counted)
    data_of(found)
    assert asked == [500, fetching.NESTED_EVENTS_MAX]
