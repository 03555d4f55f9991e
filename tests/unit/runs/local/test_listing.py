"""The list of runs: filters, order, pages and counts over a real database."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agents.recorded import load

from rewake.core import ids
from rewake.runs import listing
from rewake.runs.facts import STATUSES, RunSummary
from rewake.runs.filters import RunFilter
from rewake.runs.listing import Counts, RunPage, run_page
from rewake.runs.local import scan
from rewake.runs.local.database import DatabaseReading, local_reading
from rewake.runs.local.listing import OPEN_RUNS_MAX, _source

NOW_MS = 1_900_000_000_000
TEMPLATE = "claim_handoffs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """250 runs: every tenth failed, every 25th is suspended, two are retried; key `k0` to `k4`.

    Run 240 and 125 keep the journal: agents took part in them. What the others did is forgotten.
    """
    import apsw

    from rewake.store.connection import DATABASE_FILE

    folder = load(TEMPLATE, tmp_path_factory.mktemp("runs"))
    connection = apsw.Connection(str(folder / DATABASE_FILE))
    names = [name for (name,) in connection.execute("select name from pragma_table_info('invocation')")]
    model = dict(zip(names, next(connection.execute(f"select {', '.join(names)} from invocation")), strict=True))
    entries = connection.execute("select * from journal_entry where invocation_id = ?", (model["id"],)).fetchall()
    connection.execute("delete from invocation; delete from journal_entry; delete from state_value")
    for number in range(250):
        key = f"k{number % 5}"
        row = model | {
            "id": ids.partition_key(key, "ClaimDesk") + number.to_bytes(4, "big") + os.urandom(12),
            "key": key,
            "created_at_ms": NOW_MS - 1_000_000 + number // 2,
            "status": 3 if number % 25 == 1 else 5,
            "result_code": 500 if number % 10 == 0 else None,
            "result_message": f"broken {number}" if number % 10 == 0 else None,
            "running_at_ms": NOW_MS - 999_000,
            "completed_at_ms": None if number % 25 == 1 else NOW_MS - 999_000 + number * 7 % 250,
            "modified_at_ms": NOW_MS - number * 3 % 250,
        }
        if number in (101, 126):
            error = {"code": 503, "message": 'the "provider" is overloaded', "restate_code": ""}
            row |= {"status": 2, "next_retry_at_ms": NOW_MS + 1, "last_error": json.dumps(error).encode()}
        connection.execute(
            f"insert into invocation ({', '.join(names)}) values ({', '.join('?' * len(names))})", list(row.values())
        )
        for entry in entries if number in (125, 240) else ():
            connection.execute(
                f"insert into journal_entry values ({', '.join('?' * len(entry))})", (row["id"], *entry[1:])
            )
    connection.close()
    return folder


@pytest.fixture
def found(folder: Path) -> Iterator[DatabaseReading]:
    with local_reading(folder, NOW_MS) as found:
        yield found


def page(found: DatabaseReading, **fields: object) -> RunPage:
    return run_page(found, RunFilter(**fields), Counts())  # type: ignore[arg-type]


def pages(found: DatabaseReading, **fields: object) -> list[str]:
    return [run.id for run in listed(found, **fields)]


def listed(found: DatabaseReading, **fields: object) -> list[RunSummary]:
    """All runs, page by page."""
    listed: list[RunSummary] = []
    cursor: str | None = ""
    while cursor is not None:
        made = page(found, cursor=cursor, **fields)
        assert len(made.runs) <= scan.PAGE_RUNS_MAX
        listed += made.runs
        cursor = made.next_cursor
    return listed


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({}, 250),
        ({"order": "oldest"}, 250),
        ({"status": ("failed",)}, 25),
        ({"status": ("suspended",)}, 8),
        ({"status": ("failed", "backing-off")}, 27),
        ({"status": ("succeeded", "suspended")}, 223),
        ({"service": "ClaimDesk", "key": "k3"}, 50),
        ({"key": "k3"}, 50),
        ({"service": "Nobody"}, 0),
        ({"handler": "message"}, 250),
        ({"text": "broken 2"}, 6),
        ({"failure": "broken 2"}, 6),
        ({"failure": "500"}, 25),
        ({"failure": "503"}, 2),
        ({"failure": '"provider" is'}, 2),
        ({"failure": "broken", "status": ("succeeded",)}, 0),
        ({"failure": "o", "status": ("failed", "backing-off")}, 27),
        ({"agent": "medical_SPECIALIST"}, 2),
        ({"agent": "Car specialist"}, 0),
        ({"agent": "Medical"}, 0),
        ({"agent": "医生"}, 0),
        ({"agent": "Medical specialist", "status": ("failed",)}, 1),
        ({"within": "17m"}, 250),
        ({"within": "16m"}, 0),
        ({"since": "2030-03-17T17:30:00"}, 250),
        ({"since": "2030-03-17T17:30:01"}, 0),
        ({"until": "2030-03-17T17:29"}, 0),
        ({"until": "2030-03-17T17:30", "text": "broken 2"}, 6),
        ({"as_of_ms": NOW_MS - 1_000_000 + 49}, 4),
    ],
)
@pytest.mark.parametrize("look_s", [0.0, 10.0])
def test_pages_hold_each_run_once(
    found: DatabaseReading, monkeypatch: pytest.MonkeyPatch, fields: dict[str, object], count: int, look_s: float
) -> None:
    """Also when a page's time is up before it is full."""
    monkeypatch.setattr(scan, "LOOK_S", look_s)
    monkeypatch.setattr(scan, "_SLICE_RUNS", 7)
    listed = pages(found, **fields)
    assert len(listed) == len(set(listed)) == count


def test_order(found: DatabaseReading) -> None:
    newest, oldest = pages(found), pages(found, order="oldest")
    assert newest == oldest[::-1]


def test_counts(found: DatabaseReading) -> None:
    counts = page(found).counts
    assert tuple(counts) == STATUSES
    assert {status: count for status, count in counts.items() if count} == {
        "backing-off": 2,
        "suspended": 8,
        "failed": 25,
        "succeeded": 215,
    }


def test_a_run_by_its_id(found: DatabaseReading) -> None:
    wanted = page(found).runs[42]
    assert [run.id for run in page(found, text=wanted.id).runs] == [wanted.id]


@pytest.mark.parametrize("cursor", ["x", "-", "12", "12-inv_1", "999999999999999999999999-", "\u0663-x"])
def test_a_cursor_nobody_made_is_the_beginning(found: DatabaseReading, cursor: str) -> None:
    assert [run.id for run in page(found, cursor=cursor).runs] == [run.id for run in page(found).runs]


SORTED: dict[str, Callable[[RunSummary], Any]] = {
    "longest": lambda run: 1_000_000 - (run.completed_at_ms or NOW_MS) + (run.running_at_ms or 0),
    "shortest": lambda run: (run.completed_at_ms or NOW_MS) - (run.running_at_ms or 0),
    "changed": lambda run: -run.modified_at_ms,
    "unchanged": lambda run: run.modified_at_ms,
    "target": lambda run: (run.service, run.key or "", run.handler),
    "status": lambda run: STATUSES.index(run.status),
    "status-desc": lambda run: -STATUSES.index(run.status),
}


@pytest.mark.parametrize("order", SORTED)
@pytest.mark.parametrize("fields", [{}, {"status": ("failed", "suspended")}, {"key": "k3", "service": "ClaimDesk"}])
def test_other_orders(found: DatabaseReading, order: str, fields: dict[str, Any]) -> None:
    """Of all runs while there are fewer than a window has; each once, whatever page it is on."""
    every = listed(found, order=order, **fields)
    assert len({run.id for run in every}) == len(every) == len(pages(found, **fields))
    assert [SORTED[order](run) for run in every] == sorted(SORTED[order](run) for run in every)
    assert page(found, order=order, **fields).sorted_until_ms is None


@pytest.mark.parametrize("fields", [{}, {"agent": "Medical specialist"}, {"failure": "broken"}])
def test_another_order_is_that_of_a_window(
    found: DatabaseReading, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    """The page says where it ends, and the next one follows."""
    monkeypatch.setattr(scan, "WINDOW_RUNS", 120)
    monkeypatch.setattr(scan, "_COSTLY_WINDOW_RUNS", 120)
    monkeypatch.setattr(scan, "LOOK_S", 0.0)
    first = page(found, order="longest", **fields)
    assert first.sorted_until_ms is None or first.sorted_until_ms == NOW_MS - 1_000_000 + 130 // 2
    every = listed(found, order="longest", **fields)
    assert len({run.id for run in every}) == len(every) == len(pages(found, **fields))
    if not fields:
        took = [SORTED["longest"](run) for run in every]
        assert took[:120] == sorted(took[:120])
        assert took[120:240] == sorted(took[120:240])


@pytest.mark.parametrize(
    ("fields", "count"),
    [({}, 250), ({"status": ("failed",)}, 25), ({"status": ("suspended",)}, 8), ({"failure": "o"}, 27),
     ({"service": "ClaimDesk", "key": "k3"}, 50), ({"agent": "Medical specialist"}, 2), ({"waiting": True}, 0),
     ({"failure": "o", "status": ("succeeded",)}, 0)],
)  # fmt: skip
def test_how_many_match(found: DatabaseReading, fields: dict[str, Any], count: int) -> None:
    assert found.count_matching(RunFilter(**fields), Counts().now(found), 10) == (count, True)
    matching = found.matching(RunFilter(**fields), Counts().now(found))
    assert len(matching.ids) == min(count, scan.PAGE_RUNS_MAX)
    assert (matching.next_cursor is None) == (count <= scan.PAGE_RUNS_MAX)


def test_how_many_match_is_honest_when_time_is_up(found: DatabaseReading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_SLICE_RUNS", 10)
    assert found.count_matching(RunFilter(), Counts().now(found), 0) == (50, False)


def test_agents_seen_lately(found: DatabaseReading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_AGENTS_S", 10.0)
    assert "Medical specialist" in page(found).agents


def test_among_very_many_open_runs_those_of_a_status_are_no_shorter_way() -> None:
    wanted = RunFilter(status=("running",))
    assert _source(wanted, OPEN_RUNS_MAX) == "open"
    assert _source(wanted, OPEN_RUNS_MAX + 1) == "created"


def test_the_runs_of_a_key_are_found_without_looking_through_others(
    found: DatabaseReading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "LOOK_S", 0.0)
    monkeypatch.setattr(scan, "_SLICE_RUNS", 1)
    made = page(found, key="k3")
    assert len(made.runs) == 50
    assert made.looked_until_ms is None
