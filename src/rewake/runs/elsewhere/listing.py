"""The list of runs of another server: a filter as SQL on its public tables, page by page.

Such a server has no index for most filters, so a page is one statement with a row limit and a timeout. If SQL cannot
decide a filter, the journals of the found runs are read until the page's time is up; the page then shows how far it
looked. Called by reading.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

import msgspec

from rewake.clients.admin import sql_text
from rewake.core import ids
from rewake.core.ids import InvalidId
from rewake.protocol.messages import FIRST_USER_SIGNAL
from rewake.runs.agents import took_part
from rewake.runs.elsewhere import rows
from rewake.runs.elsewhere.journals import JournalReading
from rewake.runs.facts import STATUSES
from rewake.runs.filters import ORDERS, RunFilter
from rewake.runs.waits import answerable, is_asking

PAGE_RUNS_MAX: Final = 100
SEARCHED_BYTES_MAX: Final = 64 * 1024
WAITING_RUNS_MAX: Final = 1_000
LOOK_S: Final = 2.0
"""Time that a page may spend on journals."""

_STATUS_PLACES: Final = " ".join(f"when {rows.STATUS_SQL[name]} then {at}" for at, name in enumerate(STATUSES))
_ORDER_SQL: Final = {
    "created": ("created_at",),
    "took": ("case when running_at is not null then coalesce(completed_at, now()) - running_at end",),
    "changed": ("modified_at",),
    "target": ("target_service_name", "target_service_key", "target_handler_name"),
    "status": (f"case {_STATUS_PLACES} end",),
}
_ID: Final = re.compile(r"inv_1\w{33}")
_CODE_DIGITS_MAX: Final = 5
_NO_RUN: Final = "status is null"
"""A condition that no run fulfils, without a column of time or id."""


class Rows(msgspec.Struct):
    """Rows of one page. looked_until_ms: how far the search got, if the page is not full."""

    rows: list[rows.Row]
    next_cursor: str | None = None
    looked_until_ms: int | None = None


def find(reading: JournalReading, wanted: RunFilter) -> Rows:
    """One page of the runs that match a filter."""
    return Rows([]) if wanted.is_impossible else _find(reading, wanted)


def count_matching(reading: JournalReading, wanted: RunFilter) -> int | None:
    """How many runs match a filter; None if SQL cannot count them."""
    if wanted.is_impossible:
        return 0
    if wanted.agent or wanted.waiting or wanted.asking:
        return None
    where = " and ".join(conditions_of(reading, wanted)) or "true"
    count: int = reading.query(f"select count(*) as n from sys_invocation where {where}")[0]["n"]
    return count


def waiting_count(reading: JournalReading, suspended_count: int) -> int | None:
    """How many suspended runs wait for a person; None if there are too many to check each."""
    if suspended_count > WAITING_RUNS_MAX:
        return None
    if not suspended_count:
        return 0
    found = reading.query(
        "select target_service_name, target_service_key, target_service_ty, suspended_waiting_for_signals "
        "from sys_invocation_status where status = 'suspended'"
    )
    promised = reading.query("select service_name, service_key from sys_promise where completed = false")
    keys = {(row["service_name"], row["service_key"]) for row in promised}
    return sum(_awaits_person(row, keys) for row in found)


def _awaits_person(row: rows.Row, promised: set[tuple[str, str]]) -> bool:
    """Whether a run waits for a person. promised: keys of workflows with an open promise."""
    if any(signal >= FIRST_USER_SIGNAL for signal in row.get("suspended_waiting_for_signals") or ()):
        return True
    return row["target_service_ty"] == "workflow" and (row["target_service_name"], rows.key_of(row)) in promised


def conditions_of(reading: JournalReading, wanted: RunFilter) -> list[str]:
    """The filter's conditions on rows of `sys_invocation`, except those that need a journal."""
    columns = {"service": "target_service_name", "handler": "target_handler_name", "key": "target_service_key"}
    found = [f"{column} = {sql_text(given)}" for name, column in columns.items() if (given := getattr(wanted, name))]
    if wanted.services:
        found.append(f"target_service_name in ({', '.join(map(sql_text, wanted.services))})")
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
    """The condition for a text or code in an ended run's failure, or in the error of an open run's failed attempt."""
    ended, retried = [f"contains(completion_failure, {sql_text(text)})"], [f"contains(event_json, {sql_text(text)})"]
    if text.isascii() and text.isdigit() and len(text) <= _CODE_DIGITS_MAX:
        ended = [f"completion_failure like '[{text}]%' or completion_failure like '[{text} %'", *ended]
        retried.append(f"contains(event_json, '\"error_code\":{text},')")
    events = f"select id from sys_journal_events where {' or '.join(retried)}"
    return f"({' or '.join(ended)} or (status in ('backing-off', 'paused') and id in ({events})))"


def _text_condition(reading: JournalReading, text: str) -> str:
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
    """The condition that a payload contains some bytes. The public server can search text only, so hex is searched."""
    if is_rewake:
        return f"instr(raw, x'{part.hex()}') > 0"
    return f"contains(encode(raw, 'hex'), '{part.hex()}')"


def _find(reading: JournalReading, wanted: RunFilter) -> Rows:
    """Rows of one page. It selects until the page is full or its time is up, since journals may rule out most rows."""
    conditions, check = conditions_of(reading, wanted), _check_of(reading, wanted)
    cursor, found, ends_at_s = wanted.cursor, Rows([]), None
    while True:
        told, has_more = _select(reading, wanted.order, conditions, cursor)
        ends_at_s = ends_at_s or time.monotonic() + LOOK_S
        for number, row in enumerate(told, start=1):
            cursor = _cursor_after(row, wanted.order, cursor)
            if check is None or check(row):
                found.rows.append(row)
            is_full = len(found.rows) == PAGE_RUNS_MAX
            is_late = check is not None and time.monotonic() >= ends_at_s
            if (is_full or is_late) and (has_more or number < len(told)):
                found.next_cursor = cursor
                found.looked_until_ms = None if is_full else rows.millis(row["created_at"])
                return found
        if not has_more:
            return found


def _check_of(reading: JournalReading, wanted: RunFilter) -> Callable[[rows.Row], bool] | None:
    """The check that SQL cannot do, if the filter needs one: an agent took part, or the run waits for a person."""
    if not (wanted.agent or wanted.waiting or wanted.asking):
        return None

    def check(row: rows.Row) -> bool:
        reading.remember([row])
        run_id = ids.invocation_id_from_str(row["id"])
        return (
            (not wanted.agent or took_part(reading, run_id, wanted.agent))
            and (not wanted.waiting or answerable(reading, run_id))
            and (not wanted.asking or is_asking(reading, run_id))
        )

    return check


def _select(
    reading: JournalReading, order_name: str, conditions: list[str], cursor: str
) -> tuple[list[rows.Row], bool]:
    """A page of rows, and whether more rows follow."""
    order, offset = ORDERS[order_name], ""
    direction = "desc" if order.is_descending else "asc"
    by = ", ".join(f"{column} {direction} nulls last" for column in _ORDER_SQL[order.sort])
    tie = f"id {direction}" if order.sort == "created" else "created_at desc, id"
    if order.sort == "created":
        conditions = [*conditions, *_beyond(cursor, "<" if order.is_descending else ">")]
    elif _is_number(cursor):
        offset = f" offset {cursor}"
    where = f" where {' and '.join(conditions)}" if conditions else ""
    pick = f"order by {by}, {tie} limit {PAGE_RUNS_MAX + 1}{offset}"
    # Ids first: before it sorts, a server computes all selected columns of all rows.
    told = reading.query(f"select id from sys_invocation{where} {pick}")
    return reading.rows_of([row["id"] for row in told[:PAGE_RUNS_MAX]]), len(told) > PAGE_RUNS_MAX


def _cursor_after(row: rows.Row, order_name: str, cursor: str) -> str:
    """The cursor behind a row: its time of creation, or the number of earlier rows."""
    if ORDERS[order_name].sort == "created":
        return f"{rows.millis(row['created_at'])}-{row['id']}"
    return str(int(cursor) + 1 if _is_number(cursor) else 1)


def _beyond(cursor: str, comparison: str) -> list[str]:
    """The condition for a page's beginning; an invalid cursor means the first page."""
    at, _, id_ = cursor.partition("-")
    if not (_is_number(at) and _ID.fullmatch(id_)):
        return []
    moment = rows.literal_of(int(at))
    return [f"(created_at {comparison} {moment} or (created_at = {moment} and id {comparison} {sql_text(id_)}))"]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16
