"""Judges the error of a body: final, or to be tried again, and when.

Providers' client libraries raise errors of their own; they are read by their attributes (`status_code`, `response`,
`code`), so no provider's package is imported. 4xx is final but for 408, 409 and 429; 429 and 503 say when in
`Retry-After`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from restate import TerminalError
from restate.exceptions import RetryableError

_TRANSIENT_4XX: Final = (408, 409, 429)
_WITH_RETRY_AFTER: Final = (429, 503)
MESSAGE_CHARS_MAX: Final = 4_000


@dataclass(frozen=True)
class Transient:
    """To be tried again. after_s: the delay in seconds that the provider asked for."""

    after_s: float | None = None


def fate(error: BaseException) -> TerminalError | Transient:
    """Whether an error of a body is final. A final one comes back as the TerminalError to end with."""
    if isinstance(error, TerminalError):
        return error
    if isinstance(error, RetryableError):
        return Transient(None if error.retry_after is None else error.retry_after.total_seconds())
    if isinstance(error, ExceptionGroup):
        return _fate_of_all(error)
    status = status_of(error)
    if status is not None and 400 <= status < 500 and status not in _TRANSIENT_4XX:
        return TerminalError(f"{type(error).__name__}: {error}"[:MESSAGE_CHARS_MAX], status_code=status)
    return Transient(retry_after_s(error) if status in _WITH_RETRY_AFTER else None)


def _fate_of_all(group: ExceptionGroup[Exception]) -> TerminalError | Transient:
    """The fate of a group of errors, of models asked in turn or of tasks: final unless one of them may pass."""
    fates = [fate(each) for each in group.exceptions]
    passing = [each for each in fates if isinstance(each, Transient)]
    if not passing:
        told = "; ".join(str(each) for each in fates)
        return TerminalError(
            f"{type(group).__name__}: {told}"[:MESSAGE_CHARS_MAX], status_of(group.exceptions[0]) or 500
        )
    waits = [each.after_s for each in passing]
    return Transient(None if None in waits else min(each for each in waits if each is not None))


def for_the_engine(error: BaseException) -> BaseException:
    """A transient error as the engine should see it: with the delay that the provider asked for."""
    found = fate(error)
    if isinstance(found, TerminalError) or found.after_s is None or isinstance(error, RetryableError):
        return error
    text = f"{type(error).__name__}: {error}"[:MESSAGE_CHARS_MAX]
    return RetryableError(text, status_of(error) or 500, timedelta(seconds=found.after_s))


def status_of(error: BaseException) -> int | None:
    """The HTTP status in an error of a client library, or None."""
    response = getattr(error, "response", None)
    for status in (
        getattr(error, "status_code", None),
        getattr(response, "status_code", None),
        getattr(error, "code", None),
    ):
        if isinstance(status, int) and not isinstance(status, bool) and 100 <= status < 600:
            return status
    return None


def retry_after_s(error: BaseException) -> float | None:
    """Seconds of `retry-after-ms` or `Retry-After` (a number or a date) in the error's response, None without."""
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None)
    if not isinstance(headers, Mapping):
        return None
    given = {str(name).lower(): str(value) for name, value in headers.items()}
    try:
        if "retry-after-ms" in given:
            return max(0.0, float(given["retry-after-ms"]) / 1000)
        return max(0.0, float(given["retry-after"])) if "retry-after" in given else None
    except ValueError:
        return _until(given.get("retry-after", ""))


def _until(date: str) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time.time_ns() / 1e9)
    except (TypeError, ValueError):
        return None
