"""Stops a query: at its deadline, if its caller leaves, if the engine stops, or if it needs too much memory.

Each query has a QueryControl. Its thread checks that every few steps; other threads call `stop`. SQLite checks only
between the steps of a statement, so functions.py keeps every single function short.
"""

from __future__ import annotations

import threading
import time
from typing import Final

import apsw

from rewake.errors import ErrorCode, RewakeError

RESULT_BYTES_MAX: Final = 96 * 1024 * 1024
"""Bytes of one result's values; binary values count twice, as they become hex."""

ALL_RESULTS_BYTES_MAX: Final = 256 * 1024 * 1024
"""The same for all queries at a time."""

QUERY_MEMORY_BYTES_MAX: Final = 512 * 1024 * 1024
"""Memory of SQLite in the whole process, above which a query is stopped: sorting holds all rows in memory."""

_STEPS_BETWEEN_LOOKS: Final = 250
"""Steps of SQLite's virtual machine between two checks: below a millisecond, and some 20 rows of up to 64 MB."""


class ResultBytes:
    """The bytes of all results that are being read, for one engine; its query threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0

    def take(self, count: int) -> bool:
        """Count bytes if there is room; returns whether there was."""
        with self._lock:
            if self._taken + count > ALL_RESULTS_BYTES_MAX:
                return False
            self._taken += count
            return True

    def give_back(self, count: int) -> None:
        with self._lock:
            self._taken -= count


class QueryControl:
    """The control of one query. Times are of the monotonic clock."""

    def __init__(self, deadline_s: float, results: ResultBytes | None = None) -> None:
        self.deadline_s = deadline_s
        self._ends_at = time.monotonic() + deadline_s
        self._results = results or ResultBytes()
        self._result_bytes = 0
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._is_stopped = False
        self._is_out_of_memory = False

    def attach(self, connection: apsw.Connection) -> None:
        """Set the query's connection, until `detach`."""
        with self._lock:
            self._connection = connection
        connection.set_progress_handler(self._must_end, _STEPS_BETWEEN_LOOKS)

    def detach(self) -> None:
        """The connection will be closed, and the caller has the result."""
        with self._lock:
            self._connection = None
        self._results.give_back(self._result_bytes)
        self._result_bytes = 0

    def stop(self) -> None:
        """End the query at SQLite's next check. May be called on any thread."""
        with self._lock:
            self._is_stopped = True
            if self._connection is not None:
                self._connection.interrupt()

    def _must_end(self) -> bool:
        if apsw.memory_used() > QUERY_MEMORY_BYTES_MAX:
            self._is_out_of_memory = True
        return self._is_out_of_memory or self._is_stopped or time.monotonic() > self._ends_at

    def count(self, row: tuple[object, ...]) -> None:
        """Count the bytes of a row. Raises RewakeError RW5012 if there are too many."""
        size = 0
        for value in row:
            size += len(value) if type(value) is str else 2 * len(value) if type(value) is bytes else 8
        self._result_bytes += size
        if self._result_bytes > RESULT_BYTES_MAX:
            self._result_bytes -= size
            raise too_large(f"The result of the query has more than {RESULT_BYTES_MAX >> 20} MB.")
        if not self._results.take(size):
            self._result_bytes -= size
            raise too_large(
                f"The results of all queries of this moment have more than {ALL_RESULTS_BYTES_MAX >> 20} MB."
            )

    def interrupted(self) -> RewakeError:
        """The error for an interrupted query."""
        if self._is_out_of_memory:
            return too_large(f"The query takes more than {QUERY_MEMORY_BYTES_MAX >> 20} MB of memory.")
        return timed_out(self.deadline_s)


def timed_out(deadline_s: float) -> RewakeError:
    return RewakeError(
        ErrorCode.QUERY_TIMED_OUT,
        f"The query was stopped after {deadline_s:g} s.",
        "Ask for fewer rows, or filter by id, which needs no scan.",
        reason="timed_out",
    )


def too_large(what: str) -> RewakeError:
    """RW5012. what: what is too large, as a sentence."""
    hint = "Select fewer columns, add a LIMIT or a WHERE, or ask for raw_length or length(value)."
    return RewakeError(ErrorCode.QUERY_TOO_LARGE, what, hint, reason="too_many_bytes")
