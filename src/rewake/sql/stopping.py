"""What stops a query: its deadline, an asker who has left, the end of the engine, more memory than queries may take.

A QueryControl is one query's; the thread that runs it looks there every few steps, others call `stop`. SQLite looks
between the steps of a statement only, so functions.py makes sure that no single function takes long.
"""

from __future__ import annotations

import threading
import time
from typing import Final

import apsw

from rewake.errors import ErrorCode, RewakeError

RESULT_BYTES_MAX: Final = 96 * 1024 * 1024
"""Values of one result; bytes count twice, as they become hex."""

ALL_RESULTS_BYTES_MAX: Final = 256 * 1024 * 1024
"""The same for all queries that run at once."""

QUERY_MEMORY_BYTES_MAX: Final = 512 * 1024 * 1024
"""What SQLite may have allocated, in the whole process, while a query runs: sorting holds its rows in memory."""

_STEPS_BETWEEN_LOOKS: Final = 250
"""Virtual machine steps between two looks: below a millisecond, and about 20 rows, which may have 64 MB each."""


class ResultBytes:
    """The bytes of all results that are being read. One for each engine; a few threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0

    def take(self, count: int) -> bool:
        """Whether there is room for so many more; they are counted if so."""
        with self._lock:
            if self._taken + count > ALL_RESULTS_BYTES_MAX:
                return False
            self._taken += count
            return True

    def give_back(self, count: int) -> None:
        with self._lock:
            self._taken -= count


class QueryControl:
    """One query, as those see it who may stop it. Times are of the monotonic clock."""

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
        """The connection the query runs on, from now until `detach`."""
        with self._lock:
            self._connection = connection
        connection.set_progress_handler(self._must_end, _STEPS_BETWEEN_LOOKS)

    def detach(self) -> None:
        """The connection is going to be closed, and the result is somebody else's."""
        with self._lock:
            self._connection = None
        self._results.give_back(self._result_bytes)
        self._result_bytes = 0

    def stop(self) -> None:
        """End the query as soon as SQLite looks. Any thread."""
        with self._lock:
            self._is_stopped = True
            if self._connection is not None:
                self._connection.interrupt()

    def _must_end(self) -> bool:
        if apsw.memory_used() > QUERY_MEMORY_BYTES_MAX:
            self._is_out_of_memory = True
        return self._is_out_of_memory or self._is_stopped or time.monotonic() > self._ends_at

    def count(self, row: tuple[object, ...]) -> None:
        """Count the bytes of a row. Raises RewakeError RW5012 when there are too many."""
        size = 0
        for value in row:
            size += len(value) if type(value) is str else 2 * len(value) if type(value) is bytes else 8
        self._result_bytes += size
        if self._result_bytes > RESULT_BYTES_MAX:
            self._result_bytes -= size
            raise _too_large(f"The result of the query has more than {RESULT_BYTES_MAX >> 20} MB.")
        if not self._results.take(size):
            self._result_bytes -= size
            raise _too_large(
                f"The results of all queries of this moment have more than {ALL_RESULTS_BYTES_MAX >> 20} MB."
            )

    def interrupted(self) -> RewakeError:
        """Why it ended early."""
        if self._is_out_of_memory:
            return _too_large(f"The query takes more than {QUERY_MEMORY_BYTES_MAX >> 20} MB of memory.")
        return timed_out(self.deadline_s)


def timed_out(deadline_s: float) -> RewakeError:
    return RewakeError(
        ErrorCode.QUERY_TIMED_OUT,
        f"The query was stopped after {deadline_s:g} s.",
        "Ask for fewer rows, or filter by id, which needs no scan.",
        reason="timed_out",
    )


def _too_large(what: str) -> RewakeError:
    hint = "Select fewer columns, add a LIMIT or a WHERE, or ask for length(value)."
    return RewakeError(ErrorCode.QUERY_TOO_LARGE, what, hint, reason="too_many_bytes")
