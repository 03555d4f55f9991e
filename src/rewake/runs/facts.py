"""Facts of a run: its summary, its failed attempts, and the statuses that people see.

Plain data. People see `succeeded` or `failed` instead of the stored status `completed`, and `running` or `backing-off`
instead of `invoked`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

STATUSES: Final = (
    "running",
    "backing-off",
    "suspended",
    "paused",
    "pending",
    "scheduled",
    "failed",
    "succeeded",
)
OPEN_STATUSES: Final = STATUSES[:6]


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a list. Times in milliseconds; `problem` is its failure, or the error for which it is retried."""

    id: str
    service: str
    handler: str
    key: str | None
    status: str
    created_at_ms: int
    running_at_ms: int | None
    completed_at_ms: int | None
    start_at_ms: int | None
    retry_count: int
    next_retry_at_ms: int | None
    invoked_by: str
    parent: str | None
    restarted_from: str | None
    problem: str | None
    modified_at_ms: int
    input: str = ""

    @property
    def target(self) -> str:
        key = "" if self.key is None else f"/{self.key}"
        return f"{self.service}{key}/{self.handler}"

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES


class EventFact(msgspec.Struct, frozen=True):
    """One journal event: a failed attempt or a pause. data: in the form of `sys_journal_events.event_json`."""

    after_index: int
    at_ms: int
    kind: str
    data: dict[str, Any]


class Found(msgspec.Struct):
    """A page of the runs that match a filter. next_cursor: where the next page begins.

    looked_until_ms: how far the search got, if the page is not full.   sorted_until_ms: for an order other than that of
    creation, the creation time of the oldest run that was sorted; None if all were.
    """

    runs: list[RunSummary]
    next_cursor: str | None = None
    looked_until_ms: int | None = None
    sorted_until_ms: int | None = None


class Matching(msgspec.Struct):
    """Some of the runs that match a filter. next_cursor: where the others begin."""

    ids: list[str]
    next_cursor: str | None
