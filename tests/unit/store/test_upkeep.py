"""The file gets smaller when what it holds does: little by little beside an engine, all of it without one."""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from store_samples import NOW_MS, entry, invocation, invocation_id, submit

from rewake.core.writes import Batch
from rewake.errors import ErrorCode, RewakeError
from rewake.store import upkeep
from rewake.store.schema import VERSION
from rewake.store.store import RELEASE_PAGES_MIN, Store

RUNS = 40


def fill(store: Store) -> None:
    """Some 8 MB in runs of 200 KB."""
    for number in range(RUNS):
        payload = random.Random(number).randbytes(200_000)
        submit(store, Batch(inserts=[invocation(number)], entries=[entry(number, 0, payload=payload)]))


def size_of(directory: Path) -> int:
    return (directory / "rewake.db").stat().st_size


def test_room_is_given_back_in_slices_while_the_engine_runs(store: Store, tmp_path: Path) -> None:
    fill(store)
    assert store.release_pages(100) == 0, "nothing is free"
    submit(store, Batch(deletes=[invocation_id(number) for number in range(RUNS - 2)]))
    released = []
    while given := store.release_pages(100):
        assert given <= 100
        released.append(given)
        submit(store, Batch(entries=[entry(number := 1000 + len(released), 0)]))
    assert len(released) > 5
    size_max = 3_000_000 + RELEASE_PAGES_MIN * 4096
    deadline = time.monotonic() + 10
    while size_of(tmp_path) >= size_max and time.monotonic() < deadline:
        number += 1
        submit(store, Batch(entries=[entry(number, 0)]))  # The next commit finishes what the checkpoint left.
    assert size_of(tmp_path) < size_max
    assert store._connection.execute("pragma integrity_check").get == "ok"  # noqa: SLF001
    assert [row.payload for row in store.reader.journal(invocation_id(RUNS - 1))] == [
        random.Random(RUNS - 1).randbytes(200_000)
    ]


def test_compact_gives_back_all_of_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path, now_ms=NOW_MS)
    fill(store)
    submit(store, Batch(deletes=[invocation_id(number) for number in range(1, RUNS)]))
    with pytest.raises(RewakeError, match="RW5001"):
        upkeep.compact(tmp_path, NOW_MS)
    store.close()
    before, after = upkeep.compact(tmp_path, NOW_MS)
    assert before > 8_000_000
    assert after == size_of(tmp_path) < 600_000
    store = Store.open(tmp_path, now_ms=NOW_MS)
    assert store.reader.invocation(invocation_id(0)) is not None
    assert store._connection.pragma("auto_vacuum") == 2  # noqa: SLF001
    store.close()


def test_what_cannot_be_upgraded_is_reported_and_left_alone(tmp_path: Path) -> None:
    Store.open(tmp_path / "data", now_ms=NOW_MS).close()
    assert upkeep.check_upgrade(tmp_path / "data") == (VERSION, VERSION)
    shutil.copytree(tmp_path / "data", tmp_path / "newer")
    with closing(sqlite3.connect(tmp_path / "newer" / "rewake.db")) as other:
        other.execute(f"pragma user_version = {VERSION + 1}")
    for data, code in (("newer", ErrorCode.STORE_NEWER), ("nothing", ErrorCode.BACKUP_REFUSED)):
        for attempt in (upkeep.check_upgrade, lambda folder: upkeep.upgrade(folder, NOW_MS)):
            with pytest.raises(RewakeError) as caught:
                attempt(tmp_path / data)
            assert caught.value.code is code
