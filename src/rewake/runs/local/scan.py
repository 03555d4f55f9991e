"""Searches for runs that match a filter, each fast among a million runs.

In order of creation a search reads an index slice by slice, so it knows how far it got when its time is up. Open runs,
failures, or the runs of one key have an index of their own. Other orders sort a window: the open runs, a key's runs, or
some thousand runs by creation; the page shows where the window ends. Called by listing.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from rewake.core import ids
from rewake.runs.facts import STATUSES
from rewake.runs.local.conditions import Conditions
from rewake.runs.local.statements import Statements
from rewake.runs.local.statuses import IS_OPEN, STORED
from rewake.runs.local.summaries import SUMMARY_COLUMNS

PAGE_RUNS_MAX: Final = 100
LOOK_S: Final = 0.1
"""Time that a page may spend on the search."""

WINDOW_RUNS: Final = 10_000
"""Runs that are sorted for an order other than that of creation."""

_COSTLY_WINDOW_RUNS: Final = 2_000
_SLICE_RUNS: Final = 2_000
_CREATED_MAX_MS: Final = 1 << 62
_ID, _CREATED_AT_MS = 0, 5
"""Positions in a row of SUMMARY_COLUMNS."""

Place = tuple[int, bytes]
"""A run's time of creation, and its id."""

Row = tuple[Any, ...]
Source = Literal["created", "failed", "failed and open", "open", "key"]

_INDEXES: Final = {
    "created": "invocation_created",
    "failed": "invocation_failed",
    "failed and open": "invocation_failed",
}
_SORTED_BY: Final = {
    "took": ("case when i.running_at_ms is not null then coalesce(i.completed_at_ms, :now_ms) - i.running_at_ms end",),
    "changed": ("i.modified_at_ms",),
    "target": ("i.service", "i.key", "i.handler"),
    "status": (f"case {' '.join(f'when {STORED[name]} then {at}' for at, name in enumerate(STATUSES))} end",),
}


class Rows(msgspec.Struct):
    """One page of rows. looked_until_ms, sorted_until_ms: see facts.Found."""

    rows: list[Row]
    next_cursor: str | None = None
    looked_until_ms: int | None = None
    sorted_until_ms: int | None = None


class _Matches(msgspec.Struct):
    """Matching rows, and where the next ones begin; None after the last."""

    rows: list[Row]
    until: Place | None


class Scan:
    """The runs that match one filter, in one direction of creation. key: service and key, for the source `key`."""

    def __init__(
        self,
        reading: Statements,
        conditions: Conditions,
        source: Source,
        *,
        is_newest_first: bool = True,
        key: tuple[str, str] = ("", ""),
    ) -> None:
        self._reading = reading
        self._execute = reading.execute
        self._conditions = conditions
        self._source = source
        self._is_newest_first = is_newest_first
        self._values = dict(conditions.values)
        if source == "key":
            self._values["low"] = ids.partition_key(key[1], key[0])
            self._values["high"] = self._values["low"] + b"\xff" * 17

    def page(self, cursor: str) -> Rows:
        """A page in the order of creation."""
        self._begin_after(_place_in(cursor))
        ends_at_s = time.monotonic() + LOOK_S
        check = self._conditions.check
        found: list[Row] = []
        for matches in self._matches():
            for row in matches.rows:
                if check is None or check(row[_ID]):
                    found.append(row)
                    if len(found) > PAGE_RUNS_MAX:
                        return Rows(found[:-1], _cursor(_place_of(found[-2])))
                if check is not None and time.monotonic() >= ends_at_s:
                    return Rows(found, _cursor(_place_of(row)), row[_CREATED_AT_MS])
            if matches.until is not None and time.monotonic() >= ends_at_s:
                return Rows(found, _cursor(matches.until), matches.until[0])
        return Rows(found)

    def sorted_page(self, cursor: str, sort: str, *, is_descending: bool) -> Rows:
        """A page in another order, from a sorted window; behind a window's last page the next window begins."""
        offset_text, _, place_text = cursor.partition("@")
        offset = int(offset_text) if offset_text.isascii() and offset_text.isdigit() and len(offset_text) < 12 else 0
        window_start = self._begin_after(_place_in(place_text) or (self._reading.now_ms + 1, b""))
        window_end = self._end_window()
        direction = "desc" if is_descending else "asc"
        order = ", ".join(f"{column} {direction} nulls last" for column in _SORTED_BY[sort])
        limit = -1 if self._conditions.check else PAGE_RUNS_MAX + 1
        also_open = ""
        if self._source == "failed and open":
            also_open = f" union all select i.id from invocation i where {self._range_of('open')}"
        rows = self._execute(
            f"select {SUMMARY_COLUMNS} from invocation i where i.id in "
            f"(select i.id from {self._table} where {self._range_of(self._source)}{also_open}) "
            f"and {self._conditions.sql} "
            f"order by {order}, i.created_at_ms desc, i.id limit {limit} offset {offset}",
            self._values,
        )
        return self._checked_page(rows, offset, window_start, window_end)

    def _checked_page(self, rows: Iterator[Row], offset: int, start: Place, end: Place | None) -> Rows:
        ends_at_s = time.monotonic() + LOOK_S
        check = self._conditions.check
        found = Rows([], None if end is None else f"0@{_cursor(end)}", None, None if end is None else end[0])
        for number, row in enumerate(rows):
            is_full = len(found.rows) == PAGE_RUNS_MAX
            if is_full or (check is not None and number and time.monotonic() >= ends_at_s):
                found.next_cursor = f"{offset + number}@{_cursor(start)}"
                break
            if check is None or check(row[_ID]):
                found.rows.append(row)
        return found

    def count(self, seconds: float) -> tuple[int, bool]:
        """How many runs match, and whether that is all of them (else those found in time)."""
        assert self._conditions.check is None
        self._begin_after(None)
        if self._source in ("open", "key"):
            return self._count_range(), True
        ends_at_s = time.monotonic() + seconds
        count = 0
        if self._source == "failed and open":
            count = self._over_open_runs().count(seconds)[0]
        for last in self._slices(_SLICE_RUNS * 5):
            count += self._count_range()
            if last is not None and time.monotonic() >= ends_at_s:
                return count, False
        return count, True

    # Statements

    def _matches(self) -> Iterator[_Matches]:
        limit = -1 if self._conditions.check else PAGE_RUNS_MAX + 1
        order = f"{self._in_order} limit {limit}"
        if self._source in ("open", "key"):
            yield _Matches(list(self._select(order)), None)
            return
        waiting = self._open_rows() if self._source == "failed and open" else []
        size = _SLICE_RUNS * 10 if self._conditions.is_indexed else _SLICE_RUNS
        size = max(size // 4, 1) if self._conditions.check else size
        for last in self._slices(size):
            rows = list(self._select(order))
            if waiting:
                taken = [row for row in waiting if last is None or not self._is_beyond(_place_of(row), last)]
                waiting = waiting[len(taken) :]
                rows = sorted(rows + taken, key=_place_of, reverse=self._is_newest_first)
            yield _Matches(rows, last)

    def _slices(self, size: int) -> Iterator[Place | None]:
        """The end of each slice, None for the last. Statements are bound to a slice until the next is requested."""
        statement = (
            f"select i.created_at_ms, i.id from {self._table} where {self._range_of(self._source)} {self._in_order} "
            f"limit 1 offset {size - 1}"
        )
        while True:
            self._end_at(None)
            last = self._execute(statement, self._values).fetchone()
            self._end_at(last)
            yield last
            if last is None:
                return
            self._values["created_at_ms"], self._values["id"] = last

    def _end_window(self) -> Place | None:
        """Bind statements to a window over an index, and return its end; None if it has all remaining runs."""
        if self._source in ("open", "key"):
            return None
        size = _COSTLY_WINDOW_RUNS if self._conditions.is_costly else WINDOW_RUNS
        return next(self._slices(size))

    def _select(self, order: str) -> Iterator[Row]:
        return self._execute(
            f"select {SUMMARY_COLUMNS} from {self._table} where {self._range_of(self._source)} "
            f"and {self._conditions.sql} {order}",
            self._values,
        )

    def _count_range(self) -> int:
        count: int = self._execute(
            f"select count(*) from {self._table} where {self._range_of(self._source)} and {self._conditions.sql}",
            self._values,
        ).get
        return count

    def _open_rows(self) -> list[Row]:
        walk = self._over_open_runs()
        walk._begin_after((self._values["created_at_ms"], self._values["id"]))
        return list(walk._select(self._in_order))

    def _over_open_runs(self) -> Scan:
        return Scan(self._reading, self._conditions, "open", is_newest_first=self._is_newest_first)

    @property
    def _table(self) -> str:
        return f"invocation i indexed by {_INDEXES[self._source]}" if self._source in _INDEXES else "invocation i"

    def _range_of(self, source: Source) -> str:
        """The condition for the range between two places, the only bounds on the index.

        Open runs and the runs of a key have an index of their own; the plus makes SQLite use it.
        """
        beyond, until = ("<", ">=") if self._is_newest_first else (">", "<=")
        column = "i.created_at_ms" if source in _INDEXES else "+i.created_at_ms"
        parts = [
            f"({column}, i.id) {beyond} (:created_at_ms, :id) and ({column}, i.id) {until} (:last_at_ms, :last_id)"
        ]
        match source:
            case "failed" | "failed and open":
                parts.append("i.result_code is not null")
            case "open":
                parts.append(f"i.id in (select id from invocation indexed by invocation_open where {IS_OPEN})")
            case "key":
                parts.append("i.id >= :low and i.id < :high")
        return " and ".join(parts)

    @property
    def _in_order(self) -> str:
        direction = "desc" if self._is_newest_first else "asc"
        return f"order by i.created_at_ms {direction}, i.id {direction}"

    def _begin_after(self, place: Place | None) -> Place:
        """Set the lower end for statements: behind a place, or at the bound of the filter's time."""
        latest, earliest = (self._conditions.until_ms + 1, b""), (self._conditions.since_ms, b"")
        if self._is_newest_first:
            start = latest if place is None else min(place, latest)
        else:
            start = earliest if place is None else max(place, earliest)
        self._values["created_at_ms"], self._values["id"] = start
        self._end_at(None)
        return start

    def _end_at(self, place: Place | None) -> None:
        """Set the upper end for statements: at a place, or at the other bound of the filter's time."""
        if place is None:
            conditions = self._conditions
            place = (conditions.since_ms, b"") if self._is_newest_first else (conditions.until_ms + 1, b"")
        self._values["last_at_ms"], self._values["last_id"] = place

    def _is_beyond(self, place: Place, last: Place) -> bool:
        return place < last if self._is_newest_first else place > last


def _place_of(row: Row) -> Place:
    return row[_CREATED_AT_MS], row[_ID]


def _cursor(place: Place) -> str:
    return f"{place[0]}-{place[1].hex()}"


def _place_in(cursor: str) -> Place | None:
    """The place in a cursor; None if the cursor is not valid."""
    at, dash, id_ = cursor.partition("-")
    if not (dash and at.isascii() and at.isdigit() and len(at) < 20):
        return None
    try:
        return min(int(at), _CREATED_MAX_MS), bytes.fromhex(id_)
    except ValueError:
        return None
