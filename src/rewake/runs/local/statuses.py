"""Statuses in SQL: conditions on a row `i` of the invocation table for the statuses people see. Binds `:now_ms`."""

from __future__ import annotations

from typing import Final

from rewake.core.model import Status

IS_OPEN: Final = f"status < {Status.COMPLETED:d}"
"""The condition in the index of open invocations, word by word, so that SQLite uses that index."""

_INVOKED, _COMPLETED = f"i.status = {Status.INVOKED:d}", f"i.status = {Status.COMPLETED:d}"

STORED: Final = {
    "scheduled": f"i.status = {Status.SCHEDULED:d}",
    "pending": f"i.status = {Status.INBOXED:d}",
    "running": f"({_INVOKED} and (i.next_retry_at_ms is null or i.next_retry_at_ms <= :now_ms))",
    "backing-off": f"({_INVOKED} and i.next_retry_at_ms > :now_ms)",
    "suspended": f"i.status = {Status.SUSPENDED:d}",
    "paused": f"i.status = {Status.PAUSED:d}",
    "failed": f"({_COMPLETED} and i.result_code is not null)",
    "succeeded": f"({_COMPLETED} and i.result_code is null)",
}
STATUS_SQL: Final = f"case {' '.join(f'when {condition} then {name!r}' for name, condition in STORED.items())} end"
"""The status that a person sees."""

OPEN_NAMES: Final = {
    Status.SCHEDULED: "scheduled",
    Status.INBOXED: "pending",
    Status.INVOKED: "running",
    Status.SUSPENDED: "suspended",
    Status.PAUSED: "paused",
}
"""Of open invocations; `running` includes those that back off."""


def is_one_of(*statuses: Status) -> str:
    """The condition that a row has one of these statuses."""
    return f"i.status in ({', '.join(f'{status:d}' for status in statuses)})"
