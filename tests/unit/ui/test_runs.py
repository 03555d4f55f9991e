"""The list of runs: filters, order, pages and counts over a real database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.datastructures import QueryParams
from tests.unit.ui.recorded import load

from rewake.core import ids
from rewake.ui import scan
from rewake.ui.database import DatabaseReading, reading
from rewake.ui.reading import STATUSES
from rewake.ui.runs import Counts, RunFilter, RunPage, filter_from, run_page

NOW_MS = 1_900_000_000_000
TEMPLATE = "claim_handoffs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """250 runs: every tenth failed, every 25th is suspended, key `k0` to `k4`."""
    import apsw

    from rewake.store.connection import DATABASE_FILE

    folder = load(TEMPLATE, tmp_path_factory.mktemp("runs"))
    connection = apsw.Connection(str(folder / DATABASE_FILE))
    names = [name for (name,) in connection.execute("select name from pragma_table_info('invocation')")]
    model = dict(zip(names, next(connection.execute(f"select {', '.join(names)} from invocation")), strict=True))
    connection.execute("delete from invocation; delete from journal; delete from state")
    for number in range(250):
        key = f"k{number % 5}"
        row = model | {
            "id": ids.partition_key(key, "ClaimDesk") + number.to_bytes(4, "big") + os.urandom(12),
            "key": key,
            "created_at_ms": NOW_MS - 1_000_000 + number // 2,
            "status": 3 if number % 25 == 1 else 5,
            "result_code": 500 if number % 10 == 0 else None,
            "result_message": f"broken {number}" if number % 10 == 0 else None,
        }
        connection.execute(
            f"insert into invocation ({', '.join(names)}) values ({', '.join('?' * len(names))})", list(row.values())
        )
    connection.close()
    return folder


@pytest.fixture
def found(folder: Path) -> Iterator[DatabaseReading]:
    with reading(folder, NOW_MS) as found:
        yield found


def page(found: DatabaseReading, **fields: object) -> RunPage:
    return run_page(found, RunFilter(**fields), Counts())  # type: ignore[arg-type]


def pages(found: DatabaseReading, **fields: object) -> list[str]:
    """All ids, page by page."""
    listed: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        made = page(found, cursor=cursor, **fields)
        assert len(made.runs) <= scan.PAGE_RUNS_MAX
        listed += [run.id for run in made.runs]
        cursor = made.next_cursor
    return listed


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({}, 250),
        ({"order": "oldest"}, 250),
        ({"status": ("failed",)}, 25),
        ({"status": ("suspended",)}, 10),
        ({"status": ("succeeded", "suspended")}, 225),
        ({"service": "ClaimDesk", "key": "k3"}, 50),
        ({"key": "k3"}, 50),
        ({"service": "Nobody"}, 0),
        ({"handler": "message"}, 250),
        ({"text": "broken 2"}, 6),
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
        "suspended": 10,
        "failed": 25,
        "succeeded": 215,
    }


def test_a_run_by_its_id(found: DatabaseReading) -> None:
    wanted = page(found).runs[42]
    assert [run.id for run in page(found, text=wanted.id).runs] == [wanted.id]


@pytest.mark.parametrize("cursor", ["x", "-", "12", "12-inv_1", "999999999999999999999999-", "\u0663-x"])
def test_a_cursor_nobody_made_is_the_beginning(found: DatabaseReading, cursor: str) -> None:
    assert [run.id for run in page(found, cursor=cursor).runs] == [run.id for run in page(found).runs]


def test_filters_from_an_address() -> None:
    wanted = filter_from(QueryParams("service=A&status=failed&status=bad,paused&order=up&text=+x+"))
    assert wanted == RunFilter(service="A", status=("paused", "failed"), text="x")
    assert filter_from(QueryParams(wanted.query())) == wanted
