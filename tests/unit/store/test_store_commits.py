"""Commits on a slow disk leave the calling thread; checkpoints keep the log short; close finishes everything."""

from __future__ import annotations

import itertools
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from store_samples import NOW_MS, entry, invocation, invocation_id, submit
from structlog.testing import capture_logs

from rewake.core.writes import Batch
from rewake.errors import ErrorCode, RewakeError
from rewake.store import checkpoints
from rewake.store import connection as connection_module
from rewake.store import store as store_module
from rewake.store.connection import open_reader
from rewake.store.store import Store
from rewake.store.wal import log_of


class Loop:
    """Stands for an event loop: runs what was posted when told to."""

    def __init__(self) -> None:
        self.posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def run_one(self) -> None:
        self.posted.get(timeout=10)()


def wait_for_thread(store: Store) -> None:
    """Return when the threads have done all their jobs."""
    if store._thread is not None:
        done = threading.Event()
        store._run_on_thread(done.set)
        assert done.wait(10)
    while store._checkpoints._is_running:
        time.sleep(0)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def slow(tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that takes every commit for a slow one."""
    monkeypatch.setattr(store_module, "COMMIT_INLINE_MAX_S", 0.0)
    return Store.open(tmp_path, now_ms=NOW_MS, post=loop.posted.put)


def test_quick_commits_are_made_in_submit(store: Store) -> None:
    outcomes: list[BaseException | None] = []
    store.submit(Batch(entries=[entry(1, 0)]), outcomes.append)
    assert outcomes == [None]
    assert store.commit_count == 1
    assert threading.active_count() == 1 or "rewake-store" not in {thread.name for thread in threading.enumerate()}


def test_what_arrives_during_a_slow_commit_is_merged_into_the_next(slow: Store, loop: Loop) -> None:
    outcomes: list[tuple[int, BaseException | None]] = []
    for number in range(5):

        def on_done(error: BaseException | None, number: int = number) -> None:
            outcomes.append((number, error))

        slow.submit(Batch(entries=[entry(number, 0)]), on_done)
    assert outcomes == []
    loop.run_one()
    assert outcomes == [(0, None)]
    loop.run_one()
    assert outcomes == [(number, None) for number in range(5)]
    assert slow.commit_count == 2
    assert [len(slow.reader.journal(invocation_id(number))) for number in range(5)] == [1] * 5
    slow.close()


def test_slow_commits_come_back_when_the_disk_is_quick_again(
    slow: Store, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "COMMIT_INLINE_MAX_S", 10.0)
    slow.commit_mean_s = 60.0
    on_thread = 0
    for number in range(1000):
        outcomes: list[BaseException | None] = []
        slow.submit(Batch(entries=[entry(number, 0)]), outcomes.append)
        if not outcomes:
            on_thread += 1
            loop.run_one()
        assert outcomes == [None]
    assert 100 < on_thread < 500
    slow.close()


def test_batches_behind_a_failed_one_fail_with_it(slow: Store, loop: Loop) -> None:
    outcomes: list[BaseException | None] = []
    slow.submit(Batch(entries=[entry(1, 0)]), outcomes.append)
    slow.submit(Batch(entries=[entry(1, 0)]), outcomes.append)
    slow.submit(Batch(entries=[entry(2, 0)]), outcomes.append)
    loop.run_one()
    assert outcomes[0] is None
    assert isinstance(outcomes[1], RewakeError) and outcomes[1].code is ErrorCode.VALUE_NOT_STORABLE
    assert outcomes[2] is outcomes[1]
    assert slow.failure is outcomes[1]
    assert slow.reader.journal(invocation_id(2)) == []
    slow.resume()
    slow.submit(Batch(entries=[entry(2, 0)]), outcomes.append)
    loop.run_one()
    assert outcomes[3] is None
    slow.close()


def test_close_finishes_the_commit_under_way_and_what_waits(slow: Store, loop: Loop, tmp_path: Path) -> None:
    outcomes: list[BaseException | None] = []
    for number in range(3):
        slow.submit(Batch(entries=[entry(number, 0)]), outcomes.append)
    slow.close()
    assert outcomes == [None, None, None]
    loop.run_one()
    assert outcomes == [None, None, None], "the late call of the loop finds nothing left to do"
    reopened = Store.open(tmp_path, now_ms=NOW_MS)
    assert [len(reopened.reader.journal(invocation_id(number))) for number in range(3)] == [1] * 3
    reopened.close()


def checkpoint_often(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CHECKPOINT_PAGES": 50, "RETRY_PAGES": 6, "TAIL_PAGES": 6, "FORCED_PAUSE_S": 0.0}.items():
        monkeypatch.setattr(checkpoints, name, value)


def test_the_log_starts_again_after_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint_often(monkeypatch)
    store = Store.open(tmp_path, now_ms=NOW_MS)
    highest = 0
    for number in range(400):
        submit(store, Batch(entries=[entry(number, 0, payload=b"x" * 2000)]))
        wait_for_thread(store)
        highest = max(highest, store.wal_pages)
    assert highest < 200
    store.close()
    assert not (tmp_path / "rewake.db-wal").exists()


def test_the_log_grows_while_somebody_reads_an_old_state_and_shrinks_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_often(monkeypatch)
    store = Store.open(tmp_path, now_ms=NOW_MS)
    reader = open_reader(store.path)
    submit(store, Batch(entries=[entry(1000, 0)]))
    reader.execute("begin")
    assert reader.execute("select count(*) from journal").get == 1

    def write(numbers: range) -> None:
        for number in numbers:
            submit(store, Batch(entries=[entry(number, 0, payload=b"x" * 2000)]))
            wait_for_thread(store)

    write(range(150))
    assert store.wal_pages > 200
    assert reader.execute("select count(*) from journal").get == 1, "a long reader keeps its snapshot"
    reader.execute("commit")
    write(range(150, 400))
    assert store.wal_pages < 200
    reader.close()
    store.close()


_FOREIGN_READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("begin")
connection.execute("select count(*) from invocation").fetchall()
print("reads", flush=True)
input()
connection.execute("commit")
print("ended", flush=True)
input()
"""


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the system does not tell who holds locks")
def test_another_program_that_keeps_the_log_is_named_and_the_log_is_cut_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_often(monkeypatch)
    monkeypatch.setattr(checkpoints, "REPORTED_PAGES", 200)
    monkeypatch.setattr(connection_module, "LOG_KEPT_BYTES", 100_000)
    store = Store.open(tmp_path, now_ms=NOW_MS)
    numbers = itertools.count()

    def write(count: int) -> None:
        for _ in range(count):
            submit(store, Batch(entries=[entry(next(numbers), 0, payload=b"x" * 2000)]))
            wait_for_thread(store)

    other = subprocess.Popen(
        [sys.executable, "-c", _FOREIGN_READER, str(store.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdin is not None and other.stdout is not None
    with other, capture_logs() as logs:
        assert other.stdout.readline() == "reads\n"
        write(250)
        size = log_of(store.path).stat().st_size
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "ended\n"
        write(100)
        other.stdin.write("\n")
        other.stdin.flush()
    reports = [line for line in logs if line["event"] == "log_cannot_start_again"]
    assert 1 <= len(reports) <= 3, "once, and then at each doubling"
    assert all(str(other.pid) in line["readers"][0].split() for line in reports)
    assert [line["event"] for line in logs][-1] == "log_started_again"
    assert size > 200 * 4096
    assert log_of(store.path).stat().st_size < 200 * 4096
    store.close()


def test_a_log_that_somebody_always_reads_is_forced_to_start_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two readers take turns, so that at every moment one of them holds an older state."""
    checkpoint_often(monkeypatch)
    monkeypatch.setattr(checkpoints, "FORCED_PAGES", 300)
    store = Store.open(tmp_path, now_ms=NOW_MS)
    readers = [open_reader(store.path), open_reader(store.path)]
    stopped = threading.Event()

    def take_turns() -> None:
        for number in itertools.count():
            reader, other = readers[number % 2], readers[1 - number % 2]
            reader.execute("begin")
            reader.execute("select count(*) from journal").fetchall()
            if other.in_transaction:
                other.execute("commit")
            if stopped.wait(0.001):
                reader.execute("commit")
                return

    thread = threading.Thread(target=take_turns)
    thread.start()
    restarts, before = 0, 0
    for number in range(1500):
        submit(store, Batch(entries=[entry(number, 0, payload=b"x" * 2000)]))
        restarts += store.wal_pages < before
        before = store.wal_pages
        if restarts:
            break
        wait_for_thread(store)
    stopped.set()
    thread.join()
    assert restarts
    for reader in readers:
        reader.close()
    store.close()


def test_a_store_at_rest_lets_go_of_its_caches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "REST_AFTER_COMMITS", 3)
    given_back: list[int] = []
    monkeypatch.setattr(store_module, "give_back", lambda: given_back.append(store.commit_count))
    for number in range(1, 4):
        submit(store, Batch(inserts=[invocation(number)]))
        store.release_pages(1)
    assert given_back == [], "it is busy"
    store.release_pages(1)
    store.release_pages(1)
    assert given_back == [3], "once for each time that much was written"
