"""Times of the SQL tables and the admin API, and how they are shown."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from rewake.cli.durations import spoken_duration


def now_ms() -> int:
    """Wall-clock time."""
    return time.time_ns() // 1_000_000


def at_ms(text: str | None) -> int | None:
    """Milliseconds of `2026-11-22T13:15:26.190Z`, of any number of decimals."""
    if text is None:
        return None
    head, _, fraction = text.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(head).replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000 + int(fraction[:3].ljust(3, "0") or 0)


def local_time(moment_ms: int) -> str:
    """`2026-11-22 13:15:26.190` in the time zone of this machine."""
    moment = datetime.fromtimestamp(moment_ms / 1_000, tz=UTC).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment_ms % 1_000:03d}"


def time_and_age(text: str | None) -> str | None:
    """`2026-11-22 13:15:26.190 (3 m 2 s ago)`, None for None."""
    moment_ms = at_ms(text)
    if moment_ms is None:
        return None
    difference_ms = now_ms() - moment_ms
    distance = spoken_duration(abs(difference_ms))
    return (
        f"{local_time(moment_ms)} ({distance} ago)"
        if difference_ms >= 0
        else f"{local_time(moment_ms)} (in {distance})"
    )
