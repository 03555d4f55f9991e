"""SQL functions of the public server that SQLite lacks, and those that dialect.py uses instead of operators.

Timestamps are text like `2026-11-22T13:15:26.190Z`, durations and intervals are milliseconds. Called by query.py.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import apsw
import msgspec

from rewake.timestamps import rfc3339_millis

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_TEXT: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z")
_TRUNCATED_MS: Final = {"millisecond": 1, "second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
REPLACED_CHARS_MAX: Final = 64 * 1024 * 1024
TRIMMED_CHARS_MAX: Final = 1_000

_PARTS: Final = ("year", "month", "day", "hour", "minute", "second", "millisecond", "dow", "doy", "epoch")


def register_dialect(connection: apsw.Connection) -> None:
    """Register the functions on a connection; now() is the time of this call."""
    now = rfc3339_millis(time.time_ns() // 1_000_000)

    def tell_now(*_: object) -> str:
        return now

    for name, (count, function) in _FUNCTIONS.items():
        connection.create_scalar_function(name, _null_for_null(name, function), count, deterministic=True)
    connection.create_scalar_function("now", tell_now, 0, deterministic=True)
    connection.create_window_function("first_value", _FirstValue, 1)
    connection.execute("pragma case_sensitive_like = on")


def timestamp_text(text: str) -> str | None:
    """A timestamp in any ISO form, converted to the form of our columns; None for any other text.

    Without a zone it is UTC.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return rfc3339_millis(_since_epoch_ms(moment))


def timestamp_ms(text: str) -> int:
    """Milliseconds since the epoch. Raises ValueError."""
    return _since_epoch_ms(datetime.fromisoformat(text))


def is_timestamp(value: object) -> bool:
    """Whether a value is a timestamp in the form of our columns."""
    return isinstance(value, str) and _TEXT.fullmatch(value) is not None


def _since_epoch_ms(moment: datetime) -> int:
    return ((moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment) - _EPOCH) // _MILLISECOND


class FunctionFailed(ValueError):
    """A function cannot handle its arguments."""


def _null_for_null(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        if None in arguments:
            return None
        try:
            return function(*arguments)
        except Exception as error:
            raise FunctionFailed(f"{name}() failed: {error}") from error

    return call


def _to_timestamp(value: Any) -> str:
    if isinstance(value, int | float):
        return rfc3339_millis(int(value * 1000))
    return rfc3339_millis(timestamp_ms(value))


def _date_bin(interval_ms: int, text: str, origin: str = "1970-01-01T00:00:00.000Z") -> str:
    origin_ms = timestamp_ms(origin)
    return rfc3339_millis(origin_ms + (timestamp_ms(text) - origin_ms) // interval_ms * interval_ms)


def _date_trunc(unit: str, text: str) -> str:
    size_ms = _TRUNCATED_MS.get(unit.lower())
    if size_ms is not None:
        at_ms = timestamp_ms(text)
        return rfc3339_millis(at_ms - at_ms % size_ms)
    moment = (_EPOCH + timestamp_ms(text) * _MILLISECOND).replace(hour=0, minute=0, second=0, microsecond=0)
    if unit.lower() == "week":
        moment -= timedelta(days=moment.weekday())
    elif unit.lower() in ("month", "year"):
        moment = moment.replace(day=1, month=1 if unit.lower() == "year" else moment.month)
    else:
        raise ValueError(f"date_trunc does not know the unit {unit!r}")
    return rfc3339_millis(_since_epoch_ms(moment))


def _date_part(part: str, text: str) -> int | float:
    moment = _EPOCH + timestamp_ms(text) * _MILLISECOND
    match part.lower():
        case "year" | "month" | "day" | "hour" | "minute" as name:
            return int(getattr(moment, name))
        case "second":
            return moment.second + moment.microsecond / 1e6
        case "millisecond":
            return moment.second * 1000 + moment.microsecond // 1000
        case "dow":
            return moment.isoweekday() % 7
        case "doy":
            return moment.timetuple().tm_yday
        case "epoch":
            return timestamp_ms(text) / 1000
    raise ValueError(f"date_part knows {', '.join(_PARTS)}, and not {part!r}")


def _arrow_cast(value: Any, type_: str) -> Any:
    if type_.startswith(("Int", "UInt")):
        return int(value)
    if type_.startswith("Float"):
        return float(value)
    if type_.startswith("Timestamp"):
        return _to_timestamp(value)
    return str(value) if "Utf8" in type_ and not isinstance(value, bytes) else value


def _instr(text: Any, part: Any) -> int:
    """Replaces SQLite's, whose time is the product of both lengths and which cannot be interrupted."""
    if isinstance(text, bytes) and isinstance(part, bytes):
        return text.find(part) + 1
    return _as_text(text).find(_as_text(part)) + 1


def _replace(text: Any, old: Any, new: Any) -> str:
    text, old, new = _as_text(text), _as_text(old), _as_text(new)
    if not old:
        return str(text)
    if len(new) > len(old) and len(text) + text.count(old) * (len(new) - len(old)) > REPLACED_CHARS_MAX:
        raise ValueError(f"the result has more than {REPLACED_CHARS_MAX} characters")
    return str(text.replace(old, new))


def _trimmer(trim: Callable[[str, str | None], str]) -> Callable[..., str]:
    def trimmed(text: Any, characters: Any = " ") -> str:
        characters = _as_text(characters)
        if len(characters) > TRIMMED_CHARS_MAX:
            raise ValueError(f"more than {TRIMMED_CHARS_MAX} characters to trim")
        return trim(_as_text(text), characters) if characters else _as_text(text)

    return trimmed


def _as_text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _split_part(text: str, separator: str, index: int) -> str:
    parts = text.split(separator)
    return parts[index - 1] if 0 < index <= len(parts) else ""


_FUNCTIONS: Final[dict[str, tuple[int, Callable[..., Any]]]] = {
    "array_length": (1, lambda text: len(msgspec.json.decode(text))),
    "arrow_cast": (2, _arrow_cast),
    "contains": (2, lambda text, part: part in text),
    "date_bin": (-1, _date_bin),
    "date_part": (2, _date_part),
    "date_trunc": (2, _date_trunc),
    "instr": (2, _instr),
    "ends_with": (2, lambda text, part: text.endswith(part)),
    "ltrim": (-1, _trimmer(str.lstrip)),
    "milliseconds_between": (2, lambda late, early: timestamp_ms(late) - timestamp_ms(early)),
    "replace": (3, _replace),
    "rtrim": (-1, _trimmer(str.rstrip)),
    "shifted": (2, lambda text, by_ms: rfc3339_millis(timestamp_ms(text) + int(by_ms))),
    "split_part": (3, _split_part),
    "starts_with": (2, lambda text, part: text.startswith(part)),
    "to_timestamp": (1, _to_timestamp),
    "to_timestamp_millis": (1, lambda at: rfc3339_millis(at) if isinstance(at, int) else _to_timestamp(at)),
    "to_timestamp_seconds": (1, _to_timestamp),
    "trim": (-1, _trimmer(str.strip)),
    "to_unixtime": (1, lambda text: timestamp_ms(text) // 1000),
}
"""Name: number of arguments (-1: any), and the function for arguments that are not null."""


class _FirstValue:
    """first_value(x) as an aggregate: the first value in the query's order."""

    def __init__(self) -> None:
        self.values: deque[Any] = deque()

    def step(self, value: Any) -> None:
        """Take a row."""
        self.values.append(value)

    def inverse(self, _value: Any) -> None:
        """A row leaves the window."""
        self.values.popleft()

    def value(self) -> Any:
        """The first value so far."""
        return self.values[0] if self.values else None

    final = value
