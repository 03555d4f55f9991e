"""The store: one connection writes one database file, batch by batch; each batch is durable before its effects leave.

`submit` writes a batch on the calling thread, and commits it there while commits are quick. Writing rows on another
thread would compete for the interpreter lock at each statement (measured beside a busy event loop: 460 ms instead of
1.2 ms for 64 runs). If the disk is slow, only the commit moves to the writer thread, and batches that arrive meanwhile
are merged into the next transaction. Checkpoints have their own thread (checkpoints.py).
After a failure nothing is written until `resume`, because later batches were computed from the lost changes.
Read next: writing.py, reader.py, connection.py.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import apsw

from rewake.core.ids import InvocationId
from rewake.core.writes import Batch
from rewake.errors import ErrorCode, RewakeError
from rewake.garbage import give_back
from rewake.store.checkpoints import Checkpoints
from rewake.store.connection import DATABASE_FILE, as_rewake_error, open_reader, open_writer, require_safe_sqlite
from rewake.store.lock import DirectoryLock
from rewake.store.private import make_folder, make_private
from rewake.store.reader import StoreReader
from rewake.store.wal import advance_mark, index_of, log_of, require_own_log
from rewake.store.writing import BatchRefused, BatchWriter, is_about_content

OnDone: TypeAlias = Callable[[BaseException | None], None]
Post: TypeAlias = Callable[[Callable[[], None]], object]

COMMIT_INLINE_MAX_S: Final = 0.002
"""If commits take longer on average, they move to the writer thread; the two hops cost about 0.1 ms."""

COMMITS_PER_MEASUREMENT: Final = 16
"""One of so many slow commits is made in `submit`, because measurements on the thread include waits for the lock."""

RELEASE_PAGES_MIN: Final = 1_024
RELEASE_FRACTION: Final = 4
"""Pages are released if at least 4 MiB and a quarter of the file are free."""

REST_AFTER_COMMITS: Final = 500
"""After a burst the page caches hold 64 MiB, which an idle engine does not need. They are dropped after so many commits
and a pause."""

PROBE_BYTES: Final = 256 * 1024


class Store:
    """An open database. All methods belong to the submitting thread."""

    def __init__(self, path: Path, lock: DirectoryLock, writer: apsw.Connection, post: Post | None) -> None:
        self.path = path
        self.post = post
        self.commit_count = 0
        self.commit_mean_s = 0.0
        self.wal_pages = 0
        self._seen_commit_count = self._rested_commit_count = 0
        self._lock = lock
        self._connection = writer
        self._writer = BatchWriter(writer)
        self._read_connection = open_reader(path)
        self.reader = StoreReader(self._readable)
        self._failure: RewakeError | None = None
        self._waiting: list[tuple[Batch, OnDone]] = []
        self._in_flight: list[tuple[Batch, OnDone]] = []
        self._outcome: BaseException | None = None
        self._is_closed = False
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._checkpoints = Checkpoints(path)
        writer.set_wal_hook(self._on_wal)

    @classmethod
    def open(
        cls, directory: Path | str, *, now_ms: int, post: Post | None = None, page_count_max: int | None = None
    ) -> Store:
        """Lock the directory, open or make its database, and migrate it to this release's version.

        post: runs a function on the submitting thread (`loop.call_soon_threadsafe`); without it `submit` makes every
        commit.   page_count_max: bound of the file in pages, for tests of a full disk.
        Raises RewakeError RW5001 to RW5007, and RW5013 for the log of another database.
        """
        require_safe_sqlite()
        path = Path(directory) / DATABASE_FILE
        lock: DirectoryLock | None = None
        try:
            make_folder(path.parent)
            lock = DirectoryLock(path.parent, now_ms)
            make_private(path, log_of(path), index_of(path))
            require_own_log(path)
            writer = open_writer(path, page_count_max=page_count_max)
            return cls(path, lock, writer, post)
        except (OSError, apsw.Error, RewakeError) as error:
            if lock is not None:
                lock.release()
            raise as_rewake_error(error, path) from (None if isinstance(error, RewakeError) else error)

    # Writing

    def submit(self, batch: Batch, on_done: OnDone) -> None:
        """Make a batch durable, then call `on_done(None)` on this thread, perhaps before this returns.

        If this batch or an earlier one cannot be stored, `on_done` gets the error, and nothing of the batch is stored.
        """
        if self._is_closed:
            on_done(RewakeError(ErrorCode.STORE_CLOSED, "A batch came after the store was closed."))
        elif self._failure is not None:
            on_done(self._failure)
        elif self._in_flight:
            self._waiting.append((batch, on_done))
        else:
            self._write([(batch, on_done)])

    def resume(self) -> None:
        """Accept batches again after a failure. First rebuild memory from the stored rows."""
        self._failure = None

    @property
    def failure(self) -> RewakeError | None:
        """The error that stops all writing now, or None."""
        return self._failure

    def probe(self) -> RewakeError | None:
        """Try a small durable write; returns its error, or None. Costs two commits; no batch may be in flight."""
        execute = self._connection.execute
        try:
            execute("insert or replace into meta (name, value) values ('probe', zeroblob(?))", (PROBE_BYTES,))
            execute("delete from meta where name = 'probe'")
        except apsw.Error as error:
            return as_rewake_error(error, self.path)
        return None

    def release_pages(self, limit: int) -> int:
        """Release free pages of the file, at most `limit` of 4 KiB; returns how many.

        Does nothing while a commit is in flight or most of the file is in use: new rows use free pages anyway. The file
        gets shorter at a checkpoint, which starts with the last of these pages.
        """
        if self._is_closed or self._in_flight or self._failure is not None:
            return 0
        self._rest()
        execute = self._connection.execute
        free, total = self._connection.pragma("freelist_count"), self._connection.pragma("page_count")
        if free < RELEASE_PAGES_MIN or free < total // RELEASE_FRACTION:
            return 0
        try:
            execute("begin immediate")
            execute(f"pragma incremental_vacuum({limit})").fetchall()
            advance_mark(self._connection)
            execute("commit")
        except apsw.Error:  # Try again later; if the disk is at fault, the next commit reports it.
            if self._connection.in_transaction:
                execute("rollback")
            return 0
        left = self._connection.pragma("freelist_count")
        is_done = left < RELEASE_PAGES_MIN or left < (total - free + left) // RELEASE_FRACTION
        self._checkpoints.after_commit(self._connection, self.wal_pages, is_wanted=is_done)
        return int(free - left)

    def _rest(self) -> None:
        """Drop the page caches if much was written before the last check, and nothing since."""
        is_quiet, self._seen_commit_count = self.commit_count == self._seen_commit_count, self.commit_count
        if is_quiet and self.commit_count - self._rested_commit_count >= REST_AFTER_COMMITS:
            self._rested_commit_count = self.commit_count
            for connection in (self._connection, self._read_connection):
                connection.execute("pragma shrink_memory")
            give_back()

    def close(self) -> None:
        """Finish submitted batches, move the write-ahead log into the database, and release the lock."""
        if self._is_closed:
            return
        self.post = None
        self._stop_thread()
        self._finish_commit()
        self._is_closed = True
        self._checkpoints.close()
        self._read_connection.close()
        self._connection.set_wal_hook(None)
        # If it fails, the log stays and the next start reads it: a full disk must not stop the engine from closing.
        with suppress(apsw.Error):
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._connection.close()
        self._lock.release()

    def _write(self, items: list[tuple[Batch, OnDone]]) -> None:
        try:
            self._connection.execute("begin immediate")
            for batch, _ in items:
                self._writer.write(batch)
            advance_mark(self._connection)
        except Exception as error:  # noqa: BLE001  whatever it was, the transaction must not stay open
            self._fail(items, error)
            return
        is_measurement = self.commit_count % COMMITS_PER_MEASUREMENT == COMMITS_PER_MEASUREMENT - 1
        if self.post is None or self.commit_mean_s < COMMIT_INLINE_MAX_S or is_measurement:
            started = time.perf_counter()
            outcome = self._commit()
            self.commit_mean_s += (time.perf_counter() - started - self.commit_mean_s) / 8
            self._settle(items, outcome)
        else:
            self._in_flight = items
            self._run_on_thread(partial(self._commit_elsewhere, self.post))

    def _commit(self) -> BaseException | None:
        try:
            self._connection.execute("commit")
        except apsw.Error as error:
            return error
        self.commit_count += 1
        return None

    def _commit_elsewhere(self, post: Post) -> None:
        self._outcome = self._commit()
        post(self._finish_commit)

    def _finish_commit(self) -> None:
        """On the submitting thread: report the writer thread's commit, and write the batches that arrived meanwhile."""
        if not self._in_flight:
            return
        items, self._in_flight = self._in_flight, []
        self._settle(items, self._outcome)
        waiting, self._waiting = self._waiting, []
        if waiting and self._failure is None:
            self._write(waiting)

    def _settle(self, items: list[tuple[Batch, OnDone]], error: BaseException | None) -> None:
        if error is not None:
            self._fail(items, error)
            return
        self._checkpoints.after_commit(self._connection, self.wal_pages)
        for _, on_done in items:
            on_done(None)

    def _fail(self, items: list[tuple[Batch, OnDone]], error: BaseException) -> None:
        """Roll back the transaction; its batches and all waiting ones are not stored."""
        if self._connection.in_transaction:
            self._connection.execute("rollback")
        self._writer.undone()
        is_refused = is_about_content(error)
        self._failure = self._refused(items, error) if is_refused else as_rewake_error(error, self.path)
        items, self._waiting = items + self._waiting, []
        for _, on_done in items:
            on_done(self._failure)

    def _refused(self, items: list[tuple[Batch, OnDone]], error: BaseException) -> RewakeError:
        """Find the invocations whose rows cannot be stored, by writing each one's rows alone."""
        faulty: dict[InvocationId, str] = {}
        try:
            self._connection.execute("begin immediate")
            for batch, _ in items:
                faulty |= self._writer.faulty(batch)
        except apsw.Error as problem:  # this time the disk failed
            return as_rewake_error(problem, self.path)
        finally:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
        return BatchRefused(error, faulty)

    def _on_wal(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self.wal_pages = pages
        return apsw.SQLITE_OK

    # The thread

    def _run_on_thread(self, job: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="rewake-store", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _stop_thread(self) -> None:
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _readable(self) -> apsw.Connection:
        """The writing connection, unless it has an open transaction; then the reading one."""
        return self._read_connection if self._in_flight else self._connection
