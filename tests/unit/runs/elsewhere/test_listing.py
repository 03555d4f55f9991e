"""Pages of a remote list: what ends one, where the next begins, and what it asks in SQL."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rewake.clients.admin import AdminClient
from rewake.core import ids
from rewake.runs.elsewhere import listing
from rewake.runs.elsewhere.reading import ReadingElsewhere
from rewake.runs.filters import RunFilter
from rewake.timestamps import rfc3339_millis

RUNS = 250
CREATED_MS = 1_795_372_601_000
_LIMIT = re.compile(r"limit (\d+)(?: offset (\d+))?$")


def run_id(number: int) -> str:
    return ids.invocation_id_to_str(number.to_bytes(24, "big"))


class Table(AdminClient):
    """A `sys_invocation` whose run n was created n ms after the first, and which knows only what a page asks."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.gone: set[int] = set()
        self.asked: list[str] = []

    def query(self, sql: str) -> list[dict[str, Any]]:
        self.asked.append(sql)
        if " order by " not in sql:
            return [row(number) for number in range(RUNS) if run_id(number) in sql and number not in self.gone]
        limit, offset = (int(part or 0) for part in _LIMIT.search(sql).groups())  # type: ignore[union-attr]
        numbers = list(range(RUNS))[::-1]
        if " or (created_at = " in sql:
            last = next(number for number in numbers if run_id(number) in sql)
            numbers = numbers[numbers.index(last) + 1 :]
        return [{"id": run_id(number)} for number in numbers[offset : offset + limit]]


def row(number: int) -> dict[str, Any]:
    return {
        "id": run_id(number),
        "target_service_name": "Desk",
        "target_handler_name": "note",
        "target_service_ty": "service",
        "created_at": rfc3339_millis(CREATED_MS + number),
        "status": "completed",
        "completion_result": "success",
    }


def pages(table: Table, **wanted: Any) -> list[tuple[list[str], int | None]]:
    """All pages: ids, and how far a page that is not full looked."""
    reading, found, cursor = ReadingElsewhere(table, CREATED_MS, is_rewake=False), [], ""
    while True:
        page = listing._find(reading, RunFilter(cursor=cursor, **wanted))
        found.append(([item["id"] for item in page.rows], page.looked_until_ms))
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.mark.parametrize("order", ["newest", "longest"])
def test_pages_hold_every_run_once_however_long_a_statement_takes(
    table: Table, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    clock = iter(range(0, 1_000_000, 100))
    monkeypatch.setattr("rewake.runs.elsewhere.listing.time.monotonic", lambda: next(clock))
    found = pages(table, order=order)
    assert [len(run_ids) for run_ids, _ in found] == [100, 100, 50]
    assert [each for run_ids, _ in found for each in run_ids] == [run_id(n) for n in reversed(range(RUNS))]


def test_runs_forgotten_meanwhile_end_no_list(table: Table) -> None:
    table.gone = {249, 200, 100}
    found = pages(table)
    assert sum(len(run_ids) for run_ids, _ in found) == RUNS - 3


def test_a_look_into_journals_fills_a_page_from_many_rows(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = {run_id(number) for number in range(1, RUNS, 2)}
    monkeypatch.setattr(listing, "took_part", lambda _, id_, __: ids.invocation_id_to_str(id_) in odd)
    found = pages(table, agent="Router")
    assert [len(run_ids) for run_ids, _ in found] == [100, 25]
    assert {each for run_ids, _ in found for each in run_ids} == odd


def test_a_look_that_takes_too_long_says_how_far_it_came(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1_000_000))
    monkeypatch.setattr("rewake.runs.elsewhere.listing.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(listing, "took_part", lambda _, id_, __: id_[-1] == 0)
    found = pages(table, agent="Router")
    assert [each for run_ids, _ in found for each in run_ids] == [run_id(0)]
    assert found[0] == ([], CREATED_MS + RUNS - 2)
    assert len(found) > 100


@pytest.mark.parametrize("cursor", ["x", "1-2", "-5-inv_1", "9" * 30, "1795372601000-inv_1'; --"])
def test_a_cursor_nobody_made_is_the_beginning(table: Table, cursor: str) -> None:
    for order in ("newest", "target"):
        page = listing._find(
            ReadingElsewhere(table, CREATED_MS, is_rewake=False), RunFilter(cursor=cursor, order=order)
        )
        assert page.rows[0]["id"] == run_id(RUNS - 1)
    assert not any("--" in sql for sql in table.asked)


def test_filters_in_sql(table: Table) -> None:
    def sql(**wanted: Any) -> str:
        for_real = ReadingElsewhere(table, CREATED_MS, is_rewake=bool(wanted.pop("is_rewake", False)))
        return " and ".join(listing.conditions_of(for_real, RunFilter(**wanted)))

    assert sql() == ""
    assert sql(service="it's", key="k") == "target_service_name = 'it''s' and target_service_key = 'k'"
    assert sql(status=("running", "failed")) == (
        "(status in ('ready', 'running') or (status = 'completed' and completion_result = 'failure'))"
    )
    assert sql(since="2026-11-22", as_of_ms=CREATED_MS).count(rfc3339_millis(CREATED_MS)) == 2
    assert sql(text=run_id(7)) == f"id = '{run_id(7)}'"
    assert sql(text="inv_1" + "!" * 33).count("contains(") == 5
    assert "encode(raw, 'hex'), 'c3a4'" in sql(text="ä")
    assert "instr(raw, x'c3a4') > 0" in sql(text="ä", is_rewake=True)
    assert "like '[404]%'" in sql(failure="404")
    assert "like" not in sql(failure="40x")
