"""A row of the invocation table becomes a run's summary: the columns to select, and their conversion.

The status is the one people see, see facts.py. Used by database.py and listing.py, whose statements name the table `i`
and bind `:now_ms`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from rewake.core import ids
from rewake.core.model import AttemptError
from rewake.disclosure import shown_text
from rewake.runs.facts import RunSummary
from rewake.runs.local.statuses import STATUS_SQL

_decode_error = msgspec.json.Decoder(AttemptError).decode

SUMMARY_COLUMNS: Final = (
    "i.id, i.service, i.handler, i.key, "
    f"{STATUS_SQL}, i.created_at_ms, i.running_at_ms, i.completed_at_ms, i.start_at_ms, i.retry_count, "
    "i.next_retry_at_ms, i.invoked_by, i.invoked_by_id, i.restarted_from, i.result_code, i.result_message, "
    "i.last_error, i.modified_at_ms"
)


def summary_from(row: tuple[Any, ...]) -> RunSummary:
    """A row of SUMMARY_COLUMNS."""
    (
        id_, service, handler, key, status, created_at_ms, running_at_ms, completed_at_ms, start_at_ms, retry_count,
        next_retry_at_ms, invoked_by, invoked_by_id, restarted_from, result_code, result_message, last_error,
        modified_at_ms,
    ) = row  # fmt: skip
    problem = None
    if result_code is not None:
        problem = f"[{result_code}] {result_message}"
    elif last_error is not None and status in ("backing-off", "paused"):
        problem = _decode_error(last_error).text
    return RunSummary(
        id=ids.invocation_id_to_str(id_),
        service=service,
        handler=handler,
        key=key,
        status=status,
        created_at_ms=created_at_ms,
        running_at_ms=running_at_ms,
        completed_at_ms=completed_at_ms,
        start_at_ms=start_at_ms,
        retry_count=retry_count,
        next_retry_at_ms=next_retry_at_ms,
        invoked_by=invoked_by,
        parent=None if invoked_by_id is None else ids.invocation_id_to_str(invoked_by_id),
        restarted_from=None if restarted_from is None else ids.invocation_id_to_str(restarted_from),
        problem=None if problem is None else shown_text(problem),
        modified_at_ms=modified_at_ms,
    )
