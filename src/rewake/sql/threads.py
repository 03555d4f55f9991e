"""Runs queries beside the event loop, each on its own thread, with a limit on their number.

The threads are our own daemons: the event loop's pool is small, serves other work, and is waited for at the end. A
query ends at its deadline, if its caller is cancelled, or if the engine stops. If it cannot be interrupted at once, it
keeps its place until it ends, but its caller does not wait.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rewake.errors import ErrorCode, RewakeError
from rewake.sql.query import QueryResult, run_query
from rewake.sql.stopping import QueryControl, ResultBytes, timed_out
from rewake.sql.views import AttemptRow

QUERIES_MAX: Final = 16
"""Queries that run at once; further ones wait, within their deadlines."""

_LEAVES_WITHIN_S: Final = 0.5
"""If a query does not notice its deadline within this time, its caller is answered without it."""


class QueryThreads:
    """Runs the queries of one engine. All methods belong to the event loop's thread.

    message_bytes_max: the largest message that its journals may have.
    """

    def __init__(self, directory: Path, message_bytes_max: int = 0) -> None:
        self._directory = directory
        self._message_bytes_max = message_bytes_max
        self._results = ResultBytes()
        self._running: set[QueryControl] = set()
        self._places = asyncio.Semaphore(QUERIES_MAX)
        self._is_closed = False

    async def run(
        self, sql: str, *, deadline_s: float, rows_max: int, attempts: Iterable[AttemptRow] = ()
    ) -> QueryResult:
        """The rows of one SELECT. Raises RewakeError RW5009 to RW5012, and RW3001 once closed."""
        control = QueryControl(deadline_s, self._results)
        try:
            async with asyncio.timeout(deadline_s):
                await self._places.acquire()
        except TimeoutError:
            raise timed_out(deadline_s) from None
        if self._is_closed:
            self._places.release()
            raise RewakeError(ErrorCode.ENGINE_STOPPED, "The engine has stopped.")
        answer = self._start(control, sql, rows_max, attempts)
        try:
            async with asyncio.timeout(deadline_s + _LEAVES_WITHIN_S):
                return await answer
        except TimeoutError:
            raise timed_out(deadline_s) from None
        finally:
            control.stop()

    def close(self) -> None:
        """Stop all queries; no further one begins."""
        self._is_closed = True
        for control in self._running:
            control.stop()

    def _start(
        self, control: QueryControl, sql: str, rows_max: int, attempts: Iterable[AttemptRow]
    ) -> asyncio.Future[QueryResult]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[QueryResult] = loop.create_future()

        def settle(result: QueryResult | None, error: BaseException | None) -> None:
            self._running.discard(control)
            self._places.release()
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            elif result is not None:
                answer.set_result(result)

        def work() -> None:
            result, problem = None, None
            try:
                result = run_query(
                    self._directory,
                    sql,
                    rows_max=rows_max,
                    attempts=attempts,
                    control=control,
                    message_bytes_max=self._message_bytes_max,
                )
            except BaseException as error:  # noqa: BLE001  whatever it is, the asker hears it
                problem = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, result, problem)

        self._running.add(control)
        threading.Thread(target=work, name="rewake-query", daemon=True).start()
        return answer
