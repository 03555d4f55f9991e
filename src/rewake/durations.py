"""Durations as users write and read them: `3s`, `1h 30m`, `PT3S`, `00:00:05`. Pure.

`parse_duration_ms` reads every form; `format_duration` prints the compact one (admin API, CLI), `format_iso_duration`
the ISO one (SQL). A day has 24 hours; longer units have no fixed length and are refused.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

DURATION_MS_MAX: Final = 2**62
"""Longest duration accepted: now plus this still fits a database column."""

TEXT_CHARS_MAX: Final = 200

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000
SECOND_MS: Final = 1_000

_UNIT_NAMES: Final = {
    Decimal(DAY_MS): "d day days",
    Decimal(HOUR_MS): "h hr hrs hour hours",
    Decimal(MINUTE_MS): "m min mins minute minutes",
    Decimal(SECOND_MS): "s sec secs second seconds",
    Decimal(1): "ms msec msecs milli millis millisecond milliseconds",
    Decimal("0.001"): "us usec usecs micro micros microsecond microseconds \u00b5s \u03bcs",
    Decimal("0.000001"): "ns nsec nsecs nano nanos nanosecond nanoseconds",
}
_UNITS: Final = {name: size_ms for size_ms, names in _UNIT_NAMES.items() for name in names.split()}
_UNFIXED_UNITS: Final = frozenset(
    ["y", "yr", "yrs", "year", "years", "mo", "mos", "month", "months", "w", "wk", "wks", "week", "weeks"]
)

_PART: Final = re.compile(r"\s*([0-9]+(?:[.,][0-9]+)?)\s*([^\W\d_]+)\s*,?")
_CLOCK: Final = re.compile(r"([0-9]+):([0-5][0-9]):([0-5][0-9])(?:[.,]([0-9]{1,9}))?")
_ISO: Final = re.compile(
    r"P(?:([0-9]+)D)?(T(?:([0-9]+(?:[.,][0-9]+)?)H)?(?:([0-9]+(?:[.,][0-9]+)?)M)?(?:([0-9]+(?:[.,][0-9]+)?)S)?)?",
    re.IGNORECASE,
)
_ISO_UNFIXED: Final = re.compile(r"P[^T]*[YMW]", re.IGNORECASE)


class DurationError(ValueError):
    """A text is not a duration; the message has the reason."""


def parse_duration_ms(text: str, *, bare_is_ms: bool = False) -> int:
    """Milliseconds of `text`; finer parts are cut off. Raises DurationError.

    bare_is_ms: read a number without a unit as milliseconds; otherwise it is refused.
    """
    stripped = text.strip()
    if len(stripped) > TEXT_CHARS_MAX:
        raise DurationError(f"it has {len(stripped)} characters, more than {TEXT_CHARS_MAX}")
    if not stripped:
        raise DurationError("an empty string is not a valid duration")
    if bare_is_ms and stripped.isascii() and stripped.isdigit():
        return _checked(Decimal(stripped))
    is_negative = stripped[0] == "-" or stripped.endswith("ago")
    unsigned = stripped.lstrip("+-").removesuffix("ago").rstrip()
    amount = _iso(unsigned) if unsigned[:1] in ("P", "p") else _clock(unsigned) or _friendly(unsigned)
    if is_negative and amount:
        raise DurationError("negative durations are not allowed")
    return _checked(amount)


def format_duration(duration_ms: int) -> str:
    """The compact form: `1d 2h`, `1m`, `500ms`, `0s`."""
    parts = []
    for size_ms, unit in ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"), (SECOND_MS, "s"), (1, "ms")):
        amount, duration_ms = divmod(duration_ms, size_ms)
        if amount:
            parts.append(f"{amount}{unit}")
    return " ".join(parts) or "0s"


def format_iso_duration(duration_ms: int) -> str:
    """The form SQL results have: `PT86400S`, `PT0.002S`, `P0D` for zero."""
    if duration_ms == 0:
        return "P0D"
    seconds, rest_ms = divmod(duration_ms, SECOND_MS)
    return f"PT{seconds}.{rest_ms:03d}".rstrip("0") + "S" if rest_ms else f"PT{seconds}S"


def _checked(amount: Decimal) -> int:
    if amount > DURATION_MS_MAX:
        raise DurationError("the duration is too long")
    return int(amount)


def _iso(text: str) -> Decimal:
    if _ISO_UNFIXED.match(text):
        raise DurationError("please use units of days or smaller")
    match = _ISO.fullmatch(text)
    if match is None or not any(match.group(1, 2)):
        raise DurationError("it starts like an ISO 8601 duration, but is not one (such as `PT3S` or `P1DT12H`)")
    if match[2] is not None and not any(match.group(3, 4, 5)):
        raise DurationError("it has a time designator `T`, but no time units after it")
    sizes_ms = (DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS)
    return sum(
        (_number(amount) * size for amount, size in zip(match.group(1, 3, 4, 5), sizes_ms, strict=True) if amount),
        Decimal(0),
    )


def _clock(text: str) -> Decimal | None:
    """`HH:MM:SS`, or None when the text is something else."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds = (int(part) for part in match.group(1, 2, 3))
    return Decimal(hours * HOUR_MS + minutes * MINUTE_MS + seconds * SECOND_MS) + Decimal(f"0.{match[4] or 0}") * 1000


def _friendly(text: str) -> Decimal:
    if not text[:1].isdigit():
        raise DurationError("expected a number and a unit, such as `3s` or `1h 30m`, but no number was found")
    total, position = Decimal(0), 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            raise DurationError(f"expected a unit such as `s` or `days` after a number, at {text[position:]!r}")
        total += _number(match[1]) * _unit_ms(match[2])
        position = match.end()
    return total


def _unit_ms(name: str) -> Decimal:
    size_ms = _UNITS.get(name.lower())
    if size_ms is not None:
        return size_ms
    if name.lower() in _UNFIXED_UNITS:
        raise DurationError("please use units of days or smaller")
    raise DurationError(f"{name!r} is no unit of time; use d, h, m, s or ms")


def _number(text: str) -> Decimal:
    return Decimal(text.replace(",", "."))
