"""The list of runs of another server: a filter as SQL on its public tables, page by page.

Such a server has no index for most of this, so every page is one statement with a limit, given up when it takes too
long. Which agents took part cannot be asked in SQL; abilities.py says so to the pages. Called by remote_reading.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rewake.admin.client import sql_text
from rewake.core import ids
from rewake.core.ids import InvalidId
from rewake.ui import remote_rows as rows
from rewake.ui.reading import RunSummary
from rewake.ui.run import answerable
from rewake.ui.runs import ORDERS, Counts, RunFilter, RunPage

if TYPE_CHECKING:
    from rewake.ui.remote_reading import RemoteReading

PAGE_RUNS_MAX: Final = 100
SEARCHED_BYTES_MAX: Final = 64 * 1024
WAITING_RUNS_MAX: Final = 500

_ORDER_SQL: Final = {
    "took": "coalesce(completed_at, now()) - coalesce(running_at, created_at)",
    "changed": "modified_at",
    "target": "target",
    "status": "case when status in ('ready', 'running') then 0 when status = 'backing-off' then 1 "
    "when status = 'suspended' then 2 when status = 'paused' then 3 when status = 'pending' then 4 "
    "when status = 'scheduled' then 5 when completion_result = 'failure' then 6 else 7 end",
}
_ID: Final = re.compile(r"inv_1\w{33}")
_CODE_DIGITS_MAX: Final = 5
_NO_RUN: Final = "status is null"
"""A condition without any column of time or id, which no run fulfils."""


def run_page(reading: RemoteReading, wanted: RunFilter, counts: Counts) -> RunPage:
    """The runs a filter matches, one page of them."""
    counted = counts.now(reading)
    conditions = [] if wanted.is_impossible else conditions_of(reading, wanted)
    waiting = _waiting(reading, conditions) if wanted.waiting and not wanted.is_impossible else None
    runs, next_cursor = ([], None) if wanted.is_impossible else _page(reading, wanted, conditions, waiting)
    return RunPage(
        filter=wanted,
        runs=reading.with_inputs(runs),
        counts=counted,
        next_cursor=next_cursor,
        looked_until_ms=None,
        services={service.name: list(service.handlers) for service in reading.services()},
        waiting_count=None,
    )


def conditions_of(reading: RemoteReading, wanted: RunFilter) -> list[str]:
    """What a row of `sys_invocation` must fulfil, without what `waiting` and the cursor ask for."""
    columns = {"service": "target_service_name", "handler": "target_handler_name", "key": "target_service_key"}
    found = [f"{column} = {sql_text(given)}" for name, column in columns.items() if (given := getattr(wanted, name))]
    if wanted.statuses:
        found.append("(" + " or ".join(rows.STATUS_SQL[status] for status in wanted.statuses) + ")")
    since_ms, until_ms = wanted.created_between(reading.now_ms)
    if since_ms is not None:
        found.append(f"created_at >= {rows.literal_of(since_ms)}")
    if until_ms is not None:
        found.append(f"created_at <= {rows.literal_of(until_ms)}")
    if wanted.as_of_ms is not None:
        found.append(f"(completed_at is null or completed_at <= {rows.literal_of(wanted.as_of_ms)})")
    if wanted.failure:
        found.append(_failure_condition(wanted.failure))
    if wanted.text:
        found.append(_text_condition(reading, wanted.text))
    return found


def _failure_condition(text: str) -> str:
    """A text in the failure of an ended run, or in an error for which an open one was retried; or its code."""
    ended, retried = [f"contains(completion_failure, {sql_text(text)})"], [f"contains(event_json, {sql_text(text)})"]
    if text.isascii() and text.isdigit() and len(text) <= _CODE_DIGITS_MAX:
        ended = [f"completion_failure like '[{text}]%' or completion_failure like '[{text} %'", *ended]
        retried.append(f"contains(event_json, '\"error_code\":{text},')")
    events = f"select id from sys_journal_events where {' or '.join(retried)}"
    return f"({' or '.join(ended)} or (status in ('backing-off', 'paused') and id in ({events})))"


def _text_condition(reading: RemoteReading, text: str) -> str:
    if _ID.fullmatch(text):
        try:
            ids.invocation_id_from_str(text)
        except InvalidId:
            return _NO_RUN
        return f"id = {sql_text(text)}"
    wanted = sql_text(text)
    columns = ("target_service_key", "completion_failure", "idempotency_key", "last_failure")
    parts = [f"contains({column}, {wanted})" for column in columns]
    inside = _bytes_condition(text.encode(), is_rewake=reading.is_rewake)
    journals = (
        "select id from sys_journal where (index = 0 or entry_type = 'Command: Output') "
        f"and raw_length <= {SEARCHED_BYTES_MAX} and {inside}"
    )
    return f"({' or '.join(parts)} or id in ({journals}))"


def _bytes_condition(part: bytes, *, is_rewake: bool) -> str:
    """Whether a payload has some bytes. The public server finds texts only; hex digits of whole bytes are one."""
    if is_rewake:
        return f"instr(raw, x'{part.hex()}') > 0"
    return f"contains(encode(raw, 'hex'), '{part.hex()}')"


def _page(
    reading: RemoteReading, wanted: RunFilter, conditions: list[str], only: list[str] | None
) -> tuple[list[RunSummary], str | None]:
    if only is not None:
        conditions = [f"id in ({', '.join(map(sql_text, only))})" if only else _NO_RUN]
    order = ORDERS[wanted.order]
    direction = "desc" if order.is_descending else "asc"
    if order.sort == "created":
        beyond = _beyond(wanted.cursor, "<" if order.is_descending else ">")
        found = _select(reading, [*conditions, *beyond], f"created_at {direction}, id {direction}", 0)
        next_cursor = _cursor(found[PAGE_RUNS_MAX - 1]) if len(found) > PAGE_RUNS_MAX else None
    else:
        offset = int(wanted.cursor) if wanted.cursor.isascii() and wanted.cursor.isdigit() else 0
        by = f"{_ORDER_SQL[order.sort]} {direction}, created_at desc, id desc"
        found = _select(reading, conditions, by, offset)
        next_cursor = str(offset + PAGE_RUNS_MAX) if len(found) > PAGE_RUNS_MAX else None
    return reading.summaries(found[:PAGE_RUNS_MAX]), next_cursor


def _select(reading: RemoteReading, conditions: list[str], by: str, offset: int) -> list[rows.Row]:
    """One row more than a page has, to know whether there is another."""
    where = f" where {' and '.join(conditions)}" if conditions else ""
    skipped = f" offset {offset}" if offset else ""
    return [
        *reading.query(
            f"select {rows.INVOCATION_COLUMNS} from sys_invocation{where} order by {by} "
            f"limit {PAGE_RUNS_MAX + 1}{skipped}"
        )
    ]


def _cursor(row: rows.Row) -> str:
    return f"{rows.millis(row['created_at'])}-{row['id']}"


def _beyond(cursor: str, comparison: str) -> list[str]:
    """Where a page begins; a cursor nobody made is the beginning."""
    at, _, id_ = cursor.partition("-")
    if not (at.isascii() and at.isdigit() and len(at) < 16 and _ID.fullmatch(id_)):
        return []
    moment = rows.literal_of(int(at))
    return [f"(created_at {comparison} {moment} or (created_at = {moment} and id {comparison} {sql_text(id_)}))"]


def _waiting(reading: RemoteReading, conditions: list[str]) -> list[str]:
    """Ids of the runs among the latest that wait for a person."""
    where = " and ".join([*conditions, "status in ('suspended', 'running')"])
    found = reading.query(
        f"select id from sys_invocation where {where} order by created_at desc limit {WAITING_RUNS_MAX}"
    )
    reading.look_ahead([row["id"] for row in found])
    return [row["id"] for row in found if answerable(reading, ids.invocation_id_from_str(row["id"]))]
