"""The list of runs in this engine's database. It chooses the index in which matching runs lie closest together."""

from __future__ import annotations

from typing import Final

import msgspec

from rewake.core import ids
from rewake.runs.facts import OPEN_STATUSES, Found, Matching
from rewake.runs.filters import ORDERS, RunFilter
from rewake.runs.local.conditions import Conditions, conditions_of
from rewake.runs.local.scan import Rows, Scan, Source
from rewake.runs.local.statements import Statements
from rewake.runs.local.summaries import SUMMARY_COLUMNS, summary_from

OPEN_RUNS_MAX: Final = 20_000
"""Up to so many open runs, all of them are read and then filtered."""


def find(reading: Statements, wanted: RunFilter, counted: dict[str, int]) -> Found:
    """One page of the runs that match a filter. counted: runs by status."""
    found = _find(reading, wanted, counted)
    return Found(
        [summary_from(row) for row in found.rows], found.next_cursor, found.looked_until_ms, found.sorted_until_ms
    )


def matching(reading: Statements, wanted: RunFilter, counted: dict[str, int]) -> Matching:
    """Some of the runs that match a filter, in order of creation; for operations on all of them."""
    found = _find(reading, msgspec.structs.replace(wanted, order="newest"), counted)
    return Matching([ids.invocation_id_to_str(row[0]) for row in found.rows], found.next_cursor)


def count_matching(
    reading: Statements, wanted: RunFilter, counted: dict[str, int], seconds: float
) -> tuple[int, bool] | None:
    """How many runs match a filter, and whether that is all of them (else those found in time).

    None if SQL cannot count them.
    """
    conditions = conditions_of(reading, wanted)
    if wanted.is_impossible:
        return 0, True
    if conditions.check is not None or conditions.run_id is not None:
        return None
    return _walk(reading, wanted, conditions, counted).count(seconds)


def _find(reading: Statements, wanted: RunFilter, counted: dict[str, int]) -> Rows:
    conditions = conditions_of(reading, wanted)
    if wanted.is_impossible:
        return Rows([])
    if conditions.run_id is not None:
        return _one(reading, conditions)
    order = ORDERS[wanted.order]
    walk = _walk(reading, wanted, conditions, counted)
    if order.sort == "created":
        return walk.page(wanted.cursor)
    return walk.sorted_page(wanted.cursor, order.sort, is_descending=order.is_descending)


def _one(reading: Statements, conditions: Conditions) -> Rows:
    rows = reading.execute(
        f"select {SUMMARY_COLUMNS} from invocation i where i.created_at_ms between :since_ms and :until_ms "
        f"and {conditions.sql}",
        conditions.values | {"since_ms": conditions.since_ms, "until_ms": conditions.until_ms},
    )
    return Rows([row for row in rows if conditions.check is None or conditions.check(row[0])])


def _walk(reading: Statements, wanted: RunFilter, conditions: Conditions, counted: dict[str, int]) -> Scan:
    source = _source(wanted, sum(counted[status] for status in OPEN_STATUSES))
    is_newest_first = wanted.order != "oldest"
    return Scan(reading, conditions, source, is_newest_first=is_newest_first, key=(wanted.service, wanted.key))


def _source(wanted: RunFilter, open_count: int) -> Source:
    """The index in which candidates lie closest together."""
    statuses = wanted.statuses
    if wanted.key:  # The runs of a key lie together, for any service: see ids.partition_key.
        return "key"
    if statuses == ("failed",):
        return "failed"
    if not statuses or "succeeded" in statuses or open_count > OPEN_RUNS_MAX:
        return "created"
    return "failed and open" if "failed" in statuses else "open"
