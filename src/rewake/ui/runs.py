"""The list of runs: filters, order, pages and counts, fast with a million runs stored.

Goes through the index by creation time in slices and stops when the page is full or its time is up; then the page says
how far it looked and links to where it would go on. Few open runs are read by their own index instead.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from rewake.core import ids
from rewake.core.ids import InvalidId
from rewake.ui.reading import OPEN_STATUSES, STATUSES, Reading, RunSummary
from rewake.ui.summaries import SUMMARY_COLUMNS, summary_from

if TYPE_CHECKING:
    from rewake.ui.database import DatabaseReading

PAGE_RUNS_MAX: Final = 100
LOOK_S: Final = 0.1
"""How long a page may look for runs that match."""

_SLICE_RUNS: Final = 2_000
_OPEN_RUNS_MAX: Final = 5_000
_SEARCHED_BYTES_MAX: Final = 64 * 1024
_CREATED_MAX: Final = (1 << 62, b"\xff" * 25)

_STORED: Final = {
    "scheduled": "i.status = 0",
    "pending": "i.status = 1",
    "running": "(i.status = 2 and (i.next_retry_at_ms is null or i.next_retry_at_ms <= :now_ms))",
    "backing-off": "(i.status = 2 and i.next_retry_at_ms > :now_ms)",
    "suspended": "i.status = 3",
    "paused": "i.status = 4",
    "failed": "(i.status = 5 and i.result_code is not null)",
    "succeeded": "(i.status = 5 and i.result_code is null)",
}


class RunFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What to list. text: in an id, a target, a failure, the input or the output. order: `newest` or `oldest` first."""

    service: str = ""
    handler: str = ""
    key: str = ""
    status: tuple[str, ...] = ()
    text: str = ""
    order: str = "newest"
    cursor: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.service or self.handler or self.key or self.status or self.text)

    def query(self, **changes: Any) -> list[tuple[str, str]]:
        """The URL's parameters, without what is default."""
        value = msgspec.structs.replace(self, **changes)
        pairs = [(name, getattr(value, name)) for name in ("service", "handler", "key")]
        pairs += [("status", status) for status in value.status]
        pairs += [("text", value.text), ("order", "" if value.order == "newest" else value.order)]
        pairs.append(("cursor", value.cursor))
        return [(name, given) for name, given in pairs if given]


class RunPage(msgspec.Struct, kw_only=True):
    """One page. next_cursor: where the next begins.   looked_until_ms: how far a page that is not full looked."""

    filter: RunFilter
    runs: list[RunSummary]
    counts: dict[str, int]
    next_cursor: str | None
    looked_until_ms: int | None
    services: dict[str, list[str]]


def filter_from(parameters: Any) -> RunFilter:
    """The filter a URL asks for; unknown statuses and orders are dropped."""
    wanted = [part for value in parameters.getlist("status") for part in value.split(",")]
    return RunFilter(
        service=parameters.get("service", "").strip(),
        handler=parameters.get("handler", "").strip(),
        key=parameters.get("key", "").strip(),
        status=tuple(status for status in STATUSES if status in wanted),
        text=parameters.get("text", "").strip(),
        order="oldest" if parameters.get("order") == "oldest" else "newest",
        cursor=parameters.get("cursor", ""),
    )


class Counts:
    """Counts by status. Those of completed runs are remembered for a while when counting them takes long."""

    def __init__(self) -> None:
        self._ended: dict[str, int] = {}
        self._good_until_s = 0.0

    def now(self, reading: Reading) -> dict[str, int]:
        started_s = time.monotonic()
        if started_s >= self._good_until_s:
            self._ended = reading.ended_counts()
            ended_s = time.monotonic()
            self._good_until_s = ended_s + 50 * (ended_s - started_s) if ended_s - started_s > 0.005 else 0.0
        counts = reading.open_counts() | self._ended
        return {status: counts[status] for status in STATUSES}


def run_page(reading: DatabaseReading, wanted: RunFilter, counts: Counts) -> RunPage:
    """The runs a filter matches, one page of them."""
    conditions, values = _conditions(wanted, reading.now_ms)
    counted = counts.now(reading)
    open_only = bool(wanted.status) and all(status in OPEN_STATUSES for status in wanted.status)
    if wanted.service and wanted.key:
        runs, next_cursor, looked_until_ms = _of_key(reading, wanted, conditions, values)
    elif open_only and sum(counted[status] for status in OPEN_STATUSES) <= _OPEN_RUNS_MAX:
        runs, next_cursor, looked_until_ms = _open_runs(reading, wanted, conditions, values)
    else:
        runs, next_cursor, looked_until_ms = _by_creation(reading, wanted, conditions, values)
    runs = reading.with_inputs(runs)
    services = {service.name: list(service.handlers) for service in reading.services()}
    return RunPage(
        filter=wanted,
        runs=runs,
        counts=counted,
        next_cursor=next_cursor,
        looked_until_ms=looked_until_ms,
        services=services,
    )


def _conditions(wanted: RunFilter, now_ms: int) -> tuple[str, dict[str, Any]]:
    parts: list[str] = []
    values: dict[str, Any] = {"now_ms": now_ms}
    for name in ("service", "handler", "key"):
        if given := getattr(wanted, name):
            parts.append(f"i.{name} = :{name}")
            values[name] = given
    if wanted.status:
        parts.append("(" + " or ".join(_STORED[status] for status in wanted.status) + ")")
    if wanted.text:
        parts.append(_text_condition(wanted.text, values))
    return " and ".join(parts) or "1", values


def _text_condition(text: str, values: dict[str, Any]) -> str:
    try:
        values["text_id"] = ids.invocation_id_from_str(text)
    except InvalidId:
        pass
    else:
        return "i.id = :text_id"
    values["text"] = text
    values["text_bytes"] = text.encode()
    values["searched"] = _SEARCHED_BYTES_MAX
    return (
        "(instr(i.key, :text) or instr(i.result_message, :text) or instr(i.idempotency_key, :text) "
        "or instr(i.last_error, :text_bytes) or instr(substr(i.result_value, 1, :searched), :text_bytes) "
        "or exists (select 1 from journal j where j.invocation_id = i.id and j.idx = 0 "
        "and instr(substr(j.payload, 1, :searched), :text_bytes)))"
    )


_Found = tuple[list[RunSummary], str | None, int | None]


def _open_runs(reading: DatabaseReading, wanted: RunFilter, conditions: str, values: dict[str, Any]) -> _Found:
    direction, beyond = _order_of(wanted)
    _place(values, wanted)
    found = reading.execute(
        f"select {SUMMARY_COLUMNS} from invocation i where i.id in "
        "(select id from invocation indexed by invocation_open where status < 5) "
        f"and (i.created_at_ms, i.id) {beyond} (:created_at_ms, :id) and {conditions} "
        f"order by i.created_at_ms {direction}, i.id {direction} limit {PAGE_RUNS_MAX + 1}",
        values,
    ).fetchall()
    return _page_of([summary_from(row) for row in found])


def _of_key(reading: DatabaseReading, wanted: RunFilter, conditions: str, values: dict[str, Any]) -> _Found:
    """The runs of one key stand together in the table."""
    direction, beyond = _order_of(wanted)
    _place(values, wanted)
    values["low"] = ids.partition_key(wanted.key, wanted.service)
    values["high"] = values["low"] + b"\xff" * 17
    found = reading.execute(
        f"select {SUMMARY_COLUMNS} from invocation i where i.id >= :low and i.id < :high "
        f"and (i.created_at_ms, i.id) {beyond} (:created_at_ms, :id) and {conditions} "
        f"order by i.created_at_ms {direction}, i.id {direction} limit {PAGE_RUNS_MAX + 1}",
        values,
    ).fetchall()
    return _page_of([summary_from(row) for row in found])


def _by_creation(reading: DatabaseReading, wanted: RunFilter, conditions: str, values: dict[str, Any]) -> _Found:
    """Slice by slice through the index, so that what was looked at is known when time is up."""
    if "text_id" in values:
        found = reading.execute(f"select {SUMMARY_COLUMNS} from invocation i where {conditions}", values).fetchall()
        return [summary_from(row) for row in found], None, None
    direction, beyond = _order_of(wanted)
    _place(values, wanted)
    index = "invocation_failed" if wanted.status == ("failed",) else "invocation_created"
    partial = " and i.result_code is not null" if index == "invocation_failed" else ""
    slice_sql = (
        f"select i.created_at_ms, i.id from invocation i indexed by {index} "
        f"where (i.created_at_ms, i.id) {beyond} (:created_at_ms, :id){partial} "
        f"order by i.created_at_ms {direction}, i.id {direction} limit 1 offset {{size}}"
    )
    page_sql = (
        f"select {SUMMARY_COLUMNS} from invocation i indexed by {index} "
        f"where (i.created_at_ms, i.id) {beyond} (:created_at_ms, :id){partial} {{until}} and {conditions} "
        f"order by i.created_at_ms {direction}, i.id {direction} limit {{limit}}"
    )
    ends_at_s = time.monotonic() + LOOK_S
    runs: list[RunSummary] = []
    size = _SLICE_RUNS if wanted.text or wanted.status else _SLICE_RUNS * 10
    while True:
        last = reading.execute(slice_sql.format(size=size - 1), values).fetchone()
        until = ""
        if last is not None:
            values["last_at_ms"], values["last_id"] = last
            until = f"and (i.created_at_ms, i.id) {'>=' if beyond == '<' else '<='} (:last_at_ms, :last_id)"
        limit = PAGE_RUNS_MAX + 1 - len(runs)
        rows = reading.execute(page_sql.format(until=until, limit=limit), values)
        runs += [summary_from(row) for row in rows]
        if len(runs) > PAGE_RUNS_MAX:
            return _page_of(runs)
        if last is None:
            return runs, None, None
        if time.monotonic() >= ends_at_s:
            return runs, _cursor(last[0], last[1]), last[0]
        values["created_at_ms"], values["id"] = last


def _page_of(runs: list[RunSummary]) -> _Found:
    if len(runs) <= PAGE_RUNS_MAX:
        return runs, None, None
    kept = runs[:PAGE_RUNS_MAX]
    return kept, _cursor(kept[-1].created_at_ms, ids.invocation_id_from_str(kept[-1].id)), None


def _order_of(wanted: RunFilter) -> tuple[str, str]:
    return ("asc", ">") if wanted.order == "oldest" else ("desc", "<")


def _cursor(created_at_ms: int, invocation_id: bytes) -> str:
    return f"{created_at_ms}-{ids.invocation_id_to_str(invocation_id)}"


def _place(values: dict[str, Any], wanted: RunFilter) -> None:
    """Where the page begins; a cursor nobody made is the beginning."""
    start = (-1, b"") if wanted.order == "oldest" else _CREATED_MAX
    at, _, id_ = wanted.cursor.partition("-")
    if at.isascii() and at.isdigit():
        with contextlib.suppress(InvalidId):
            start = (min(int(at), _CREATED_MAX[0]), ids.invocation_id_from_str(id_))
    values["created_at_ms"], values["id"] = start
