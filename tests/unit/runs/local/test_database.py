"""What a reading of the database leaves out because there is too much of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.agents.recorded import load

from rewake.protocol.codec import encode_message
from rewake.protocol.messages import InputCommand
from rewake.runs.facts import STATUSES
from rewake.runs.local import database
from rewake.runs.local.database import (
    EARLIER_RUNS_MAX,
    INPUT_BYTES_MAX,
    LATEST_RUNS_MAX,
    DatabaseReading,
    local_reading,
)
from rewake.store.connection import DATABASE_FILE, open_writer

COUNTED = dict.fromkeys(STATUSES, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return load("claim_handoffs", tmp_path)


@pytest.fixture
def found(folder: Path) -> Iterator[DatabaseReading]:
    with local_reading(folder, 1 << 42) as found:
        yield found


def test_earlier_choices_come_from_the_latest_runs(found: DatabaseReading, monkeypatch: pytest.MonkeyPatch) -> None:
    assert EARLIER_RUNS_MAX < LATEST_RUNS_MAX
    step = ("ClaimDesk", "message", "Pick specialist")
    assert len(found.earlier_results(*step)) == 2  # of three runs
    monkeypatch.setattr(database, "EARLIER_RUNS_MAX", 1)
    assert len(found.earlier_results(*step)) == 1
    monkeypatch.setattr(database, "LATEST_RUNS_MAX", 0)
    assert found.earlier_results(*step) == []


@pytest.mark.parametrize("more", [0, 1])
def test_a_long_input_is_not_shown(folder: Path, more: int) -> None:
    empty = len(encode_message(InputCommand((), b"")))
    value = b'"' + b"x" * (INPUT_BYTES_MAX - empty - 5 + more) + b'"'
    payload = encode_message(InputCommand((), value))
    connection = open_writer(folder / DATABASE_FILE)
    connection.execute("update journal_entry set payload = ? where idx = 0", (payload,))
    connection.close()
    with local_reading(folder, 1 << 42) as found:
        runs = found.runs_of_key("ClaimDesk", "alice", 10)
        assert runs and all(bool(run.input) == (len(payload) <= INPUT_BYTES_MAX) for run in found.with_inputs(runs))


def test_who_waits_for_a_person_is_counted_while_there_are_few(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = open_writer(folder / DATABASE_FILE)
    for status, bound in ((3, "WAITING_RUNS_MAX"), (2, "WAITING_RUNNING_MAX")):
        connection.execute("update invocation set status = ?", (status,))
        with local_reading(folder, 1 << 42) as found:
            count = len(found.open_runs_of_key("ClaimDesk", "alice"))
            monkeypatch.setattr(database, bound, count)
            assert found.waiting_count(COUNTED) == 0
            monkeypatch.setattr(database, bound, count - 1)
            assert found.waiting_count(COUNTED) is None
            monkeypatch.undo()
    connection.close()
