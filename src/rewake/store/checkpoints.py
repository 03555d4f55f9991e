"""Checkpoints: move the write-ahead log into the database without delaying commits.

A passive checkpoint runs beside commits, on its own thread. The log starts again at its beginning only when a
checkpoint reaches its end, which never happens in a busy store. So the checkpoint is repeated until few pages are left,
and those are moved between two commits. A reader of an old state also keeps the log from starting again. If our own
readers follow each other without a gap, commits wait once until the current readers have ended. If another program
reads in one long transaction the log grows; its process is reported. Called by store.py.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw
import structlog

from rewake.store.wal import index_of

CHECKPOINT_PAGES: Final = 3_000
"""Length of the log, in pages of 4 KiB, that starts a checkpoint. A page that many commits change is moved once a
checkpoint, and each checkpoint flushes the database beside the commits: a shorter log moves more pages. While it runs
the log grows on, and should stay below LOG_KEPT_BYTES: a file that grows makes commits slower."""

RETRY_PAGES: Final = 500
"""Pages by which the log grows until the next try."""

TAIL_PAGES: Final = 250
"""Pages that may be moved between two commits."""

PASSES: Final = 6
"""Runs of a passive checkpoint, to get down to TAIL_PAGES while commits go on."""

FORCED_PAGES: Final = 16_000
"""Length at which commits wait, up to WAIT_MS each time, to let the log start again. A failure lengthens the pause."""

WAIT_MS: Final = 200
FORCED_PAUSE_S: Final = 1.0
FORCED_PAUSE_LONGEST_S: Final = 60.0

REPORTED_PAGES: Final = 16_000
"""Length at which a log that cannot start again is reported (64 MiB), and then at each doubling."""

PAGE_BYTES: Final = 4_096
_FIRST_READ_LOCK: Final = 123
_LAST_READ_LOCK: Final = 127
"""Last byte of the log's index that readers lock: https://sqlite.org/walformat.html#locks"""

log = structlog.get_logger("rewake.store")


class Checkpoints:
    """Checkpoints of one log. `after_commit` belongs to the committing thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._due_at_pages = CHECKPOINT_PAGES
        self._pages = 0
        self._is_running = False
        self._is_tail_left = False
        self._forced_at_s = 0.0
        self._forced_pause_s = FORCED_PAUSE_S
        self._reported_pages = 0
        self._connection: apsw.Connection | None = None
        self._thread: threading.Thread | None = None
        self._wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def after_commit(self, connection: apsw.Connection, pages: int, *, is_wanted: bool = False) -> None:
        """Do the next step, if one is due. pages: length of the log now.   is_wanted: checkpoint even a short log."""
        if pages < self._pages:
            self._on_new_log()
        self._pages = pages
        if self._is_running:
            return
        if self._is_tail_left:
            self._is_tail_left = False
            self._due_at_pages = pages + RETRY_PAGES
            with suppress(apsw.Error):  # The next step tries again.
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        elif is_wanted or pages >= self._due_at_pages:
            self._due_at_pages = pages + RETRY_PAGES
            self._is_running = True
            self._start_thread()
            self._wanted.put(True)

    def _on_new_log(self) -> None:
        self._due_at_pages = CHECKPOINT_PAGES
        self._is_tail_left = False
        self._forced_pause_s = FORCED_PAUSE_S
        if self._reported_pages:
            log.info("log_started_again", mib=self._pages * PAGE_BYTES >> 20)
            self._reported_pages = 0

    # On the thread

    def _start_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="rewake-checkpoints", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while self._wanted.get():
            try:
                self._fold()
            except apsw.Error as error:  # Try again later; the log is as durable as the database.
                log.debug("checkpoint_failed", error=str(error))
            except Exception:
                log.exception("checkpoint_failed")
            self._is_running = False
        if self._connection is not None:
            self._connection.close()

    def _fold(self) -> None:
        connection = self._open()
        length = folded = before = -1
        for _ in range(PASSES):
            before = folded
            length, folded = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            if length - folded <= TAIL_PAGES or folded == before:  # Equal while a reader holds a state in this part.
                break
        is_held = folded == before
        if is_held and length >= REPORTED_PAGES and length >= 2 * self._reported_pages:
            self._report(length)
        if length >= FORCED_PAGES and time.monotonic() - self._forced_at_s >= self._forced_pause_s:
            self._force(connection)
        self._is_tail_left = not is_held

    def _force(self, connection: apsw.Connection) -> None:
        self._forced_pause_s = min(2 * self._forced_pause_s, FORCED_PAUSE_LONGEST_S)
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        finally:
            self._forced_at_s = time.monotonic()

    def _open(self) -> apsw.Connection:
        if self._connection is None:
            self._connection = apsw.Connection(str(self._path))
            self._connection.execute("pragma synchronous = full")
            self._connection.set_busy_timeout(WAIT_MS)
        return self._connection

    def _report(self, length: int) -> None:
        self._reported_pages = length
        log.warning(
            "log_cannot_start_again",
            mib=length * PAGE_BYTES >> 20,
            path=str(self._path),
            readers=[_described(pid) for pid in readers_of(self._path)],
            hint="A program reads the database in one long transaction. The log grows until it ends.",
        )

    def close(self) -> None:
        if self._thread is not None:
            self._wanted.put(False)
            self._thread.join()
            self._thread = None


def readers_of(path: Path) -> list[int]:
    """Processes that read the database, ours last. Only Linux lists them; elsewhere it is empty."""
    try:
        inode = index_of(path).stat().st_ino
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    found = set()
    for line in lines:
        fields = line.split()
        if len(fields) < 8 or fields[1] != "POSIX" or fields[3] != "READ" or not fields[5].endswith(f":{inode}"):
            continue
        if int(fields[6]) >= _FIRST_READ_LOCK and fields[7].isdigit() and int(fields[7]) <= _LAST_READ_LOCK:
            found.add(int(fields[4]))
    return sorted(found, key=lambda pid: (pid == os.getpid(), pid))


def _described(pid: int) -> str:
    """A process with its command, such as `4711 sqlite3`."""
    try:
        command = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        command = ""
    return f"{pid} {command}".strip()
