"""Points in time as the HTTP surfaces print them. Pure; all take milliseconds since the epoch and print UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PRINTABLE_MS_MAX: Final = 253_402_300_799_999
"""The last millisecond of the year 9999; later ones are printed as this."""


def rfc3339_nanos(at_ms: int) -> str:
    """`2026-11-22T13:14:50.978000000Z`, as the admin API and the ingress body print."""
    return _millis(at_ms) + "000000Z"


def rfc3339_millis(at_ms: int) -> str:
    """`2026-11-22T13:14:50.978Z`, as SQL results print."""
    return _millis(at_ms) + "Z"


def rfc3339_offset(at_ms: int) -> str:
    """`2026-11-22T13:14:50.978+00:00`, as the header `idempotency-expires` prints."""
    return _millis(at_ms) + "+00:00"


def _millis(at_ms: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=min(at_ms, _PRINTABLE_MS_MAX))
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")
