"""Reads for telemetry: open runs by service, and runs that completed after a given time."""

from __future__ import annotations

from typing import Final

from rewake.core.model import Invocation, Status
from rewake.runs.local.statements import Statements
from rewake.runs.local.statuses import IS_OPEN, OPEN_NAMES
from rewake.store import rows

_OPEN: Final = f"select service, status, count(*) from invocation where {IS_OPEN} group by service, status"
_COMPLETED: Final = (
    f"select {rows.INVOCATION_COLUMNS} from invocation where status = {Status.COMPLETED:d} and completed_at_ms > ? "
    "order by completed_at_ms limit ?"
)


def open_by_service(reading: Statements) -> list[tuple[str, str, int]]:
    """(service, status, count) of open runs; those that back off count as `running`."""
    return [(service, OPEN_NAMES[Status(status)], count) for service, status, count in reading.execute(_OPEN)]


def completed_since(reading: Statements, since_ms: int, limit: int) -> list[Invocation]:
    """Runs that completed after a given time, earliest first."""
    return [rows.invocation_from(row) for row in reading.execute(_COMPLETED, (since_ms, limit))]
