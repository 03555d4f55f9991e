"""The list of runs: what to list, a page of it, all of it for an action on all, counts.

A filter is what stands in the address of the page, so that it can be shared. How runs are found in time is in scan.py,
what a filter means for a row in conditions.py; both are about the engine's own database (database.py).
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from rewake.core import ids
from rewake.runs.local.conditions import conditions_of
from rewake.runs.local.scan import Found, Source, Walk
from rewake.runs.local.summaries import SUMMARY_COLUMNS, summary_from
from rewake.runs.reading import OPEN_STATUSES, STATUSES, Matching, Reading, RunSummary

if TYPE_CHECKING:
    from rewake.runs.local.conditions import Conditions
    from rewake.runs.local.database import DatabaseReading

OPEN_RUNS_MAX: Final = 20_000
"""As many open runs are read at once."""

AGENTS_MAX: Final = 40
_AGENT_RUNS: Final = 20
_AGENTS_S: Final = 0.02
_LOOKED_RUNS_MAX: Final = 2_000
_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_AGO: Final = re.compile(r"(\d{1,6})([smhd])")
_TEXT_FIELDS: Final = ("service", "handler", "key", "agent", "failure", "text")
_FAILURE_STATUSES: Final = (*OPEN_STATUSES, "failed")
_WAITING_STATUSES: Final = ("running", "suspended")


class Order(NamedTuple):
    """By what, in which direction, and the words for it."""

    sort: str
    is_descending: bool
    words: str


ORDERS: Final = {
    "newest": Order("created", True, "Newest first"),
    "oldest": Order("created", False, "Oldest first"),
    "longest": Order("took", True, "Longest first"),
    "shortest": Order("took", False, "Shortest first"),
    "changed": Order("changed", True, "Last changed first"),
    "unchanged": Order("changed", False, "Longest unchanged first"),
    "target": Order("target", False, "By name"),
    "target-desc": Order("target", True, "By name, from the end"),
    "status": Order("status", False, "By status"),
    "status-desc": Order("status", True, "By status, ended first"),
}


class RunFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What to list. text: in an id, a target, a failure, the input or the output.   failure: a text or code in one.

    waiting: only runs a person can answer.   within: `15m`, `1h`: created that long ago at most.   since, until: bounds
    of the creation, `2026-11-22T18:00` in UTC.   order: of ORDERS.   as_of_ms: without what was created or ended later.
    """

    service: str = ""
    handler: str = ""
    key: str = ""
    status: tuple[str, ...] = ()
    agent: str = ""
    failure: str = ""
    text: str = ""
    waiting: bool = False
    within: str = ""
    since: str = ""
    until: str = ""
    order: str = "newest"
    cursor: str = ""
    as_of_ms: int | None = None

    @property
    def is_empty(self) -> bool:
        return not any((*(getattr(self, name) for name in _TEXT_FIELDS), self.status, self.waiting, *self._times))

    @property
    def is_by_status(self) -> bool:
        """Whether it asks for nothing beside the status."""
        return not self.has_more and not any(getattr(self, name) for name in _TEXT_FIELDS)

    @property
    def has_more(self) -> bool:
        """Whether it asks for something beside status, target and text."""
        return bool(self.agent or self.failure or self.waiting or any(self._times))

    @property
    def statuses(self) -> tuple[str, ...]:
        """The statuses a run that matches can have; () for any."""
        possible: tuple[str, ...] = self.status
        for given, implied in ((self.failure, _FAILURE_STATUSES), (self.waiting, _WAITING_STATUSES)):
            if given:
                possible = tuple(status for status in possible or STATUSES if status in implied)
        return possible

    @property
    def is_impossible(self) -> bool:
        return not self.statuses and bool(self.status or self.failure or self.waiting)

    @property
    def _times(self) -> tuple[str, str, str]:
        return self.within, self.since, self.until

    def created_between(self, now_ms: int) -> tuple[int | None, int | None]:
        """The bounds of the time of creation in milliseconds, inclusive; None for none."""
        now_ms = now_ms if self.as_of_ms is None else self.as_of_ms
        bounds = [moment_ms(self.since), moment_ms(self.until, is_end=True)]
        if found := _AGO.fullmatch(self.within):
            bounds[0] = now_ms - int(found[1]) * _UNITS_MS[found[2]]
        if self.as_of_ms is not None:
            bounds[1] = min(self.as_of_ms, self.as_of_ms if bounds[1] is None else bounds[1])
        return bounds[0], bounds[1]

    def query(self, **changes: Any) -> list[tuple[str, str]]:
        """The URL's parameters, without what is default."""
        value = msgspec.structs.replace(self, **changes)
        pairs = [(name, getattr(value, name)) for name in _TEXT_FIELDS]
        pairs += [("status", status) for status in value.status]
        pairs += [("waiting", "person" if value.waiting else "")]
        pairs += [(name, getattr(value, name)) for name in ("within", "since", "until")]
        pairs += [("order", "" if value.order == "newest" else value.order), ("cursor", value.cursor)]
        pairs += [("as_of", "" if value.as_of_ms is None else str(value.as_of_ms))]
        return [(name, given) for name, given in pairs if given]


class RunPage(msgspec.Struct, kw_only=True):
    """One page. next_cursor: where the next begins.   looked_until_ms: how far a page that is not full looked.

    sorted_until_ms: the oldest of the runs another order than that of creation was made of; None when it is all.
    waiting_count: runs that wait for a person; None when there are too many suspended ones to count them.
    matching_count: of the filter, where the counts by status tell it.   agents: seen lately.
    """

    filter: RunFilter
    runs: list[RunSummary]
    counts: dict[str, int]
    next_cursor: str | None
    looked_until_ms: int | None
    services: dict[str, list[str]]
    sorted_until_ms: int | None = None
    waiting_count: int | None = None
    matching_count: int | None = None
    agents: list[str] = []


def filter_from(parameters: Any) -> RunFilter:
    """The filter a URL asks for; what cannot be understood is dropped."""
    given = {name: parameters.get(name, "").strip() for name in (*_TEXT_FIELDS, "within", "since", "until")}
    wanted = [part for value in parameters.getlist("status") for part in value.split(",")]
    order, as_of = parameters.get("order", ""), parameters.get("as_of", "")
    return RunFilter(
        **{name: given[name] for name in _TEXT_FIELDS},
        status=tuple(status for status in STATUSES if status in wanted),
        waiting=parameters.get("waiting") == "person",
        within=given["within"] if _AGO.fullmatch(given["within"]) else "",
        since=_moment_text(given["since"]),
        until=_moment_text(given["until"], is_end=True),
        order=order if order in ORDERS else "newest",
        cursor=parameters.get("cursor", ""),
        as_of_ms=int(as_of) if as_of.isascii() and as_of.isdigit() and len(as_of) < 18 else None,
    )


def moment_ms(text: str, *, is_end: bool = False) -> int | None:
    """A moment as a form or a person writes it, in UTC unless it says otherwise. is_end: the last millisecond of it."""
    try:
        at = dt.datetime.fromisoformat(text)
        at_ms = int((at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None
    if not is_end:
        return at_ms
    return at_ms + {10: 86_400_000, 16: 60_000, 19: 1_000}.get(len(text), 1) - 1


def _moment_text(text: str, *, is_end: bool = False) -> str:
    """As a form's field for a moment takes it, in UTC; empty for what is no moment."""
    at_ms = moment_ms(text, is_end=is_end)
    if at_ms is None:
        return ""
    try:
        at = dt.datetime.fromtimestamp(at_ms // 1_000, dt.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):  # in UTC it is before the first year or after the last
        return ""
    return at.isoformat(timespec="minutes" if at.second == (59 if is_end else 0) else "seconds")


class Counts:
    """What lists remember between requests: counts of completed runs when counting takes long, agents seen lately."""

    def __init__(self) -> None:
        self._ended: dict[str, int] = {}
        self._good_until_s = 0.0
        self._agents: OrderedDict[str, None] = OrderedDict()
        self._looked: OrderedDict[str, None] = OrderedDict()

    def now(self, reading: Reading) -> dict[str, int]:
        started_s = time.monotonic()
        if started_s >= self._good_until_s:
            self._ended = reading.ended_counts()
            ended_s = time.monotonic()
            self._good_until_s = ended_s + 50 * (ended_s - started_s) if ended_s - started_s > 0.005 else 0.0
        counts = reading.open_counts() | self._ended
        return {status: counts[status] for status in STATUSES}

    def agents(self, reading: Reading, runs: list[RunSummary]) -> list[str]:
        """Names of agents in runs that were listed, the latest seen first; looks at a few new ones each time."""
        ends_at_s = time.monotonic() + _AGENTS_S
        fresh = [run for run in runs[:_AGENT_RUNS] if not run.is_open and run.id not in self._looked]
        for run in fresh:
            if time.monotonic() >= ends_at_s:
                break
            self._looked[run.id] = None
            for name in reading.agents_of(run.id):
                self._agents[name] = None
                self._agents.move_to_end(name)
        for remembered, size in ((self._looked, _LOOKED_RUNS_MAX), (self._agents, AGENTS_MAX)):
            while len(remembered) > size:
                remembered.popitem(last=False)
        return list(reversed(self._agents))


def run_page(reading: DatabaseReading, wanted: RunFilter, counts: Counts) -> RunPage:
    """The runs a filter matches, one page of them."""
    counted = counts.now(reading)
    found = _find(reading, wanted, counted)
    runs = reading.with_inputs([summary_from(row) for row in found.rows])
    return RunPage(
        filter=wanted,
        runs=runs,
        counts=counted,
        next_cursor=found.next_cursor,
        looked_until_ms=found.looked_until_ms,
        sorted_until_ms=found.sorted_until_ms,
        services={service.name: list(service.handlers) for service in reading.services()},
        waiting_count=reading.waiting_count(),
        matching_count=sum(counted[status] for status in wanted.status or STATUSES) if wanted.is_by_status else None,
        agents=counts.agents(reading, runs),
    )


def matching(reading: DatabaseReading, wanted: RunFilter, counts: Counts) -> Matching:
    """Some of the runs a filter matches, in the order of creation: for what is done to all of them."""
    found = _find(reading, msgspec.structs.replace(wanted, order="newest"), counts.now(reading))
    return Matching([ids.invocation_id_to_str(row[0]) for row in found.rows], found.next_cursor)


def count_matching(
    reading: DatabaseReading, wanted: RunFilter, counts: Counts, seconds: float
) -> tuple[int, bool] | None:
    """How many runs a filter matches, and whether these are all or those found in time; None if SQL cannot tell."""
    conditions = conditions_of(reading, wanted)
    if wanted.is_impossible:
        return 0, True
    if conditions.check is not None or conditions.run_id is not None:
        return None
    return _walk(reading, wanted, conditions, counts.now(reading)).count(seconds)


def _find(reading: DatabaseReading, wanted: RunFilter, counted: dict[str, int]) -> Found:
    conditions = conditions_of(reading, wanted)
    if wanted.is_impossible:
        return Found([])
    if conditions.run_id is not None:
        return _one(reading, conditions)
    order = ORDERS[wanted.order]
    walk = _walk(reading, wanted, conditions, counted)
    if order.sort == "created":
        return walk.page(wanted.cursor)
    return walk.sorted_page(wanted.cursor, order.sort, is_descending=order.is_descending)


def _one(reading: DatabaseReading, conditions: Conditions) -> Found:
    rows = reading.execute(
        f"select {SUMMARY_COLUMNS} from invocation i where i.created_at_ms between :since_ms and :until_ms "
        f"and {conditions.sql}",
        conditions.values | {"since_ms": conditions.since_ms, "until_ms": conditions.until_ms},
    )
    return Found([row for row in rows if conditions.check is None or conditions.check(row[0])])


def _walk(reading: DatabaseReading, wanted: RunFilter, conditions: Conditions, counted: dict[str, int]) -> Walk:
    source = _source(wanted, sum(counted[status] for status in OPEN_STATUSES))
    is_newest_first = wanted.order != "oldest"
    return Walk(reading, conditions, source, is_newest_first=is_newest_first, key=(wanted.service, wanted.key))


def _source(wanted: RunFilter, open_count: int) -> Source:
    """Where the runs that can match stand closest together."""
    statuses = wanted.statuses
    if wanted.service and wanted.key:
        return "key"
    if statuses == ("failed",):
        return "failed"
    if not statuses or "succeeded" in statuses or open_count > OPEN_RUNS_MAX:
        return "created"
    return "failed and open" if "failed" in statuses else "open"
