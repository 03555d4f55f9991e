"""The filter of the list of runs. It is part of the page's URL, so a filter can be shared.

local/conditions.py and elsewhere/listing.py turn it into SQL.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Final, NamedTuple

import msgspec

from rewake.runs.facts import OPEN_STATUSES, STATUSES

_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_AGO: Final = re.compile(r"(\d{1,6})([smhd])")
_TEXT_FIELDS: Final = ("service", "handler", "key", "agent", "failure", "text")
_FAILURE_STATUSES: Final = (*OPEN_STATUSES, "failed")
_WAITING_STATUSES: Final = ("running", "suspended")
_ASKING_STATUSES: Final = ("running", "suspended", "paused")


class Order(NamedTuple):
    """What to sort by, in which direction, and the words for it."""

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
    """A filter. text: part of an id, target, failure, input or output.   failure: text or code of a failure.

    waiting: only runs that a person can answer.   asking: only runs with an open question of `ask()`; not in URLs.
    services: only runs of these, all when empty; not in URLs.
    within: `15m`, `1h`: created at most so long ago.   since, until: bounds of the time of creation, such as
    `2026-11-22T18:00` in UTC.   order: one of ORDERS.   as_of_ms: leave out runs created or ended later.
    """

    service: str = ""
    handler: str = ""
    key: str = ""
    status: tuple[str, ...] = ()
    agent: str = ""
    failure: str = ""
    text: str = ""
    waiting: bool = False
    asking: bool = False
    services: tuple[str, ...] = ()
    within: str = ""
    since: str = ""
    until: str = ""
    order: str = "newest"
    cursor: str = ""
    as_of_ms: int | None = None

    @property
    def is_empty(self) -> bool:
        return not any(
            (*(getattr(self, name) for name in _TEXT_FIELDS), self.status, self.waiting, self.asking, *self._times)
        )

    @property
    def is_by_status(self) -> bool:
        """Whether it filters by nothing but the status."""
        return not self.has_more and not any(getattr(self, name) for name in _TEXT_FIELDS)

    @property
    def has_more(self) -> bool:
        """Whether it filters by more than status, target and text."""
        return bool(self.agent or self.failure or self.waiting or self.asking or any(self._times))

    @property
    def statuses(self) -> tuple[str, ...]:
        """The statuses that a matching run can have; () for any."""
        possible: tuple[str, ...] = self.status
        for given, implied in (
            (self.failure, _FAILURE_STATUSES),
            (self.waiting, _WAITING_STATUSES),
            (self.asking, _ASKING_STATUSES),
        ):
            if given:
                possible = tuple(status for status in possible or STATUSES if status in implied)
        return possible

    @property
    def is_impossible(self) -> bool:
        return not self.statuses and bool(self.status or self.failure or self.waiting or self.asking)

    @property
    def _times(self) -> tuple[str, str, str]:
        return self.within, self.since, self.until

    def created_between(self, now_ms: int) -> tuple[int | None, int | None]:
        """The inclusive bounds of the time of creation, in milliseconds; None for no bound."""
        now_ms = now_ms if self.as_of_ms is None else self.as_of_ms
        bounds = [moment_ms(self.since), moment_ms(self.until, is_end=True)]
        if found := _AGO.fullmatch(self.within):
            bounds[0] = now_ms - int(found[1]) * _UNITS_MS[found[2]]
        if self.as_of_ms is not None:
            bounds[1] = min(self.as_of_ms, self.as_of_ms if bounds[1] is None else bounds[1])
        return bounds[0], bounds[1]

    def query(self, **changes: Any) -> list[tuple[str, str]]:
        """The URL's parameters, without defaults."""
        value = msgspec.structs.replace(self, **changes)
        pairs = [(name, getattr(value, name)) for name in _TEXT_FIELDS]
        pairs += [("status", status) for status in value.status]
        pairs += [("waiting", "person" if value.waiting else "")]
        pairs += [(name, getattr(value, name)) for name in ("within", "since", "until")]
        pairs += [("order", "" if value.order == "newest" else value.order), ("cursor", value.cursor)]
        pairs += [("as_of", "" if value.as_of_ms is None else str(value.as_of_ms))]
        return [(name, given) for name, given in pairs if given]


def filter_from(parameters: Any) -> RunFilter:
    """The filter in a URL; invalid parameters are dropped."""
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
    """Milliseconds of a time that a form or a person wrote, by default in UTC. is_end: its last millisecond."""
    try:
        at = dt.datetime.fromisoformat(text)
        at_ms = int((at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None
    if not is_end:
        return at_ms
    return at_ms + {10: 86_400_000, 16: 60_000, 19: 1_000}.get(len(text), 1) - 1


def _moment_text(text: str, *, is_end: bool = False) -> str:
    """A time in the form that an HTML field accepts, in UTC; empty for any other text."""
    at_ms = moment_ms(text, is_end=is_end)
    if at_ms is None:
        return ""
    try:
        at = dt.datetime.fromtimestamp(at_ms // 1_000, dt.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):  # outside the years 1 to 9999 in UTC
        return ""
    return at.isoformat(timespec="minutes" if at.second == (59 if is_end else 0) else "seconds")
