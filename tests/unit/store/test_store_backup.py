"""Backups, and databases that were put beside the log of another: what SQLite would spoil is refused, untouched."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from store_samples import NOW_MS, entry, invocation, invocation_id, submit

from rewake.core.writes import Batch
from rewake.errors import ErrorCode, RewakeError
from rewake.store.backup import back_up, restore
from rewake.store.store import Store

_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}

CRASHED_ENGINE = """
import sys, threading
from pathlib import Path
import apsw
from store_samples import NOW_MS, invocation, submit
from rewake.core.writes import Batch
from rewake.store.store import Store

store = Store.open(sys.argv[1], now_ms=NOW_MS)
number = store.reader._connection().execute("select count(*) from invocation").get
for line in sys.stdin:
    word, _, argument = line.strip().partition(" ")
    if word == "write":
        for number in range(number + 1, number + 1 + int(argument)):
            submit(store, Batch(inserts=[invocation(number)]))
    elif word == "fold":
        other = apsw.Connection(str(store.path))
        other.pragma("schema_version")
        assert other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART) != (-1, -1)
        other.close()
    print("done", flush=True)
"""


REPLICATOR = """
import sys
import apsw

own = apsw.Connection(sys.argv[1] + "/rewake.db")
own.execute("create table replicator (value)")
for line in sys.stdin:
    assert own.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART) != (-1, -1)
    own.execute("insert into replicator values (1)")
    print("done", flush=True)
"""
"""As Litestream does: it begins the log anew by itself, with a row of its own."""


class CrashedEngine:
    """A process with an open store that writes on demand, and is killed. script: another one's that reads orders."""

    def __init__(self, directory: Path, script: str = CRASHED_ENGINE) -> None:
        self.directory = directory
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_ENVIRONMENT,
            text=True,
        )

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def kill(self) -> None:
        with self._process:
            self._process.send_signal(signal.SIGKILL)


def by_sqlite(database: Path, copy: Path) -> None:
    """As `sqlite3 rewake.db ".backup copy"` does it."""
    with (
        closing(apsw.Connection(str(database))) as source,
        closing(apsw.Connection(str(copy))) as target,
        target.backup("main", source, "main") as copying,
    ):
        copying.step()


def by_vacuum(database: Path, copy: Path) -> None:
    with closing(apsw.Connection(str(database))) as source:
        source.execute("vacuum into ?", (str(copy),))


def by_pages(database: Path, copy: Path) -> None:
    """As Litestream restores: the database file with the committed pages of its log laid over it."""
    pages = bytearray(database.read_bytes())
    log = Path(f"{database}-wal").read_bytes()
    page_size, salts = struct.unpack_from(">I", log, 8)[0], log[16:24]
    committed: list[tuple[int, bytes]] = []
    waiting: list[tuple[int, bytes]] = []
    for at in range(32, len(log), 24 + page_size):
        number, size_after = struct.unpack_from(">II", log, at)
        if log[at + 8 : at + 16] != salts:
            break
        waiting.append((number, log[at + 24 : at + 24 + page_size]))
        if size_after:
            committed += waiting
            waiting = []
            pages_after = size_after
    for number, page in committed:
        end = number * page_size
        pages.extend(bytes(max(0, end - len(pages))))
        pages[end - page_size : end] = page
    copy.write_bytes(bytes(pages[: pages_after * page_size]))


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name.startswith("rewake.db")}


def count_of(directory: Path) -> int:
    store = Store.open(directory, now_ms=NOW_MS)
    try:
        found: int = store.reader._connection().execute("select count(*) from invocation").get  # noqa: SLF001
        assert store.reader._connection().execute("pragma integrity_check").get == "ok"  # noqa: SLF001
    finally:
        store.close()
    return found


@pytest.mark.parametrize("make_copy", [by_sqlite, by_vacuum, by_pages])
def test_a_copy_beside_the_log_of_a_later_moment_is_refused_and_not_spoilt(
    tmp_path: Path, make_copy: Callable[[Path, Path], None]
) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy.db"
    engine = CrashedEngine(data)
    engine.tell("write 5")
    make_copy(data / "rewake.db", copy)
    engine.tell("write 200")
    engine.tell("fold")
    engine.tell("write 3")
    engine.kill()
    shutil.copy(copy, data / "rewake.db")
    before = files_of(data)
    with pytest.raises(RewakeError) as caught:
        Store.open(data, now_ms=NOW_MS)
    assert caught.value.code is ErrorCode.STORE_LOG_FOREIGN
    assert "rewake restore" in caught.value.hint
    assert files_of(data) == before
    for name in ("rewake.db-wal", "rewake.db-shm"):
        (data / name).unlink()
    assert count_of(data) == 5


@pytest.mark.parametrize("make_copy", [by_sqlite, by_vacuum])
def test_a_copy_of_the_same_life_of_the_log_is_refused_too(
    tmp_path: Path, make_copy: Callable[[Path, Path], None]
) -> None:
    engine = CrashedEngine(tmp_path / "data")
    engine.tell("write 5")
    make_copy(tmp_path / "data" / "rewake.db", tmp_path / "copy.db")
    engine.tell("write 3")
    engine.kill()
    shutil.copy(tmp_path / "copy.db", tmp_path / "data" / "rewake.db")
    with pytest.raises(RewakeError, match="RW5013"):
        Store.open(tmp_path / "data", now_ms=NOW_MS)


def test_the_log_of_a_removed_database_is_kept(tmp_path: Path) -> None:
    """SQLite alone would begin an empty database and delete the log."""
    engine = CrashedEngine(tmp_path)
    engine.tell("write 5")
    engine.kill()
    aside = tmp_path / "aside.db"
    (tmp_path / "rewake.db").rename(aside)
    with pytest.raises(RewakeError, match="RW5013"):
        Store.open(tmp_path, now_ms=NOW_MS)
    aside.rename(tmp_path / "rewake.db")
    assert count_of(tmp_path) == 5


@pytest.mark.parametrize(
    "orders", [[], ["write 5"], ["write 5", "fold"], ["write 5", "fold", "write 3", "fold", "write 2"]]
)
def test_the_own_log_of_a_killed_engine_is_replayed(tmp_path: Path, orders: list[str]) -> None:
    """Whether it was folded in by us or by another program, and again after a second crash."""
    engine = CrashedEngine(tmp_path)
    for order in orders:
        engine.tell(order)
    engine.tell("write 1")
    engine.kill()
    shutil.copytree(tmp_path, tmp_path / "moved")  # A stopped engine's folder may be moved or copied as it is.
    expected = 1 + sum(int(order.split()[1]) for order in orders if order.startswith("write"))
    assert count_of(tmp_path) == expected
    again = CrashedEngine(tmp_path / "moved")
    again.tell("fold")
    again.kill()
    assert count_of(tmp_path / "moved") == expected


def test_a_log_that_only_another_program_wrote_is_moved_aside(tmp_path: Path) -> None:
    """As a replicator does that begins the log itself: it holds nothing of ours."""
    engine = CrashedEngine(tmp_path)
    engine.tell("write 5")
    with closing(apsw.Connection(str(tmp_path / "rewake.db"))) as other:
        other.execute("create table other (value)")
        other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        other.execute("insert into other values (1)")
        engine.kill()
        shutil.copy(tmp_path / "rewake.db-wal", tmp_path / "copy-wal")
    shutil.copy(tmp_path / "copy-wal", tmp_path / "rewake.db-wal")
    assert count_of(tmp_path) == 5
    assert (tmp_path / "rewake.db-wal.unused").read_bytes() == (tmp_path / "copy-wal").read_bytes()


def test_a_log_that_another_program_goes_on_with_stays_in_its_place(tmp_path: Path) -> None:
    """Moved aside, that program and the engine would write two logs with one index."""
    engine = CrashedEngine(tmp_path)
    engine.tell("write 5")
    replicator = CrashedEngine(tmp_path, REPLICATOR)
    replicator.tell("fold")
    engine.kill()
    again = CrashedEngine(tmp_path)
    again.tell("write 3")
    replicator.tell("fold")
    again.tell("write 2")
    replicator.kill()
    again.kill()
    assert not (tmp_path / "rewake.db-wal.unused").exists()
    with closing(apsw.Connection(str(tmp_path / "rewake.db"))) as both:
        assert both.execute("select count(*) from replicator").get == 2


def test_a_log_that_a_power_cut_left_without_a_whole_commit_is_nothing(tmp_path: Path) -> None:
    """It had just begun anew: its head and a frame's head are on the disk, the frame's page is one from before."""
    engine = CrashedEngine(tmp_path)
    engine.tell("write 5")
    engine.tell("fold")
    log = tmp_path / "rewake.db-wal"
    before = log.read_bytes()
    engine.tell("write 1")
    engine.kill()
    log.write_bytes(log.read_bytes()[: 32 + 24] + before[32 + 24 :])
    assert count_of(tmp_path) == 5


# rewake backup, rewake restore


def test_a_backup_of_a_running_engine_is_its_moment(store: Store, tmp_path: Path) -> None:
    submit(store, Batch(inserts=[invocation(1)], entries=[entry(1, 0)]))
    size = back_up(tmp_path, tmp_path / "copy")
    submit(store, Batch(inserts=[invocation(2)]))
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["rewake.db"]
    assert size == (tmp_path / "copy" / "rewake.db").stat().st_size
    copied = Store.open(tmp_path / "copy", now_ms=NOW_MS)
    assert copied.reader.journal(invocation_id(1)) == [entry(1, 0)]
    assert copied.reader.invocation(invocation_id(2)) is None
    copied.close()


def test_a_backup_of_a_killed_engine_has_the_commits_in_its_log_and_leaves_it_alone(tmp_path: Path) -> None:
    engine = CrashedEngine(tmp_path / "data")
    engine.tell("write 5")
    engine.kill()
    before = files_of(tmp_path / "data")
    back_up(tmp_path / "data", tmp_path / "copy")
    after = files_of(tmp_path / "data")
    assert after["rewake.db"] == before["rewake.db"]
    assert after["rewake.db-wal"] == before["rewake.db-wal"]
    assert count_of(tmp_path / "copy") == 5


@pytest.mark.parametrize("is_folder", [True, False])
def test_restore_puts_a_backup_in_place_and_keeps_what_was_there(tmp_path: Path, is_folder: bool) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    engine = CrashedEngine(data)
    engine.tell("write 5")
    back_up(data, copy)
    engine.tell("write 3")
    engine.kill()
    before = files_of(data)
    kept = restore(copy if is_folder else copy / "rewake.db", data, NOW_MS)
    assert kept is not None
    assert files_of(kept) == before
    assert count_of(data) == 5
    assert count_of(kept) == 8
    assert restore(copy, tmp_path / "elsewhere", NOW_MS) is None
    assert count_of(tmp_path / "elsewhere") == 5


def test_a_restore_that_dies_half_way_is_refused_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    engine = CrashedEngine(data)
    engine.tell("write 5")
    back_up(data, copy)
    engine.tell("write 3")
    engine.kill()
    replace = Path.replace

    def dying(path: Path, target: Path) -> Path:
        if path.name == "rewake.db-wal":
            raise OSError(28, "No space left on device")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        with pytest.raises(RewakeError):
            restore(copy, data, NOW_MS)
    with pytest.raises(RewakeError, match="RW5013"):
        Store.open(data, now_ms=NOW_MS)
    restore(copy, data, NOW_MS + 1_000)
    assert count_of(data) == 5


def test_what_cannot_be_backed_up_or_restored(store: Store, tmp_path: Path) -> None:
    back_up(tmp_path, tmp_path / "copy")
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes((tmp_path / "copy" / "rewake.db").read_bytes()[:-4096])
    newer = tmp_path / "newer.db"
    shutil.copy(tmp_path / "copy" / "rewake.db", newer)
    with closing(apsw.Connection(str(newer))) as other:
        other.execute("pragma user_version = 999")
    refused: list[tuple[ErrorCode, Callable[[], object]]] = [
        (ErrorCode.BACKUP_REFUSED, lambda: back_up(tmp_path / "nothing", tmp_path / "x")),
        (ErrorCode.BACKUP_REFUSED, lambda: back_up(tmp_path, tmp_path / "copy")),
        (ErrorCode.BACKUP_REFUSED, lambda: restore(tmp_path / "nothing", tmp_path / "x", NOW_MS)),
        (ErrorCode.BACKUP_REFUSED, lambda: restore(tmp_path / "copy", tmp_path / "copy", NOW_MS)),
        (ErrorCode.STORE_LOCKED, lambda: restore(tmp_path / "copy", tmp_path, NOW_MS)),
        (ErrorCode.STORE_CORRUPT, lambda: restore(damaged, tmp_path / "x", NOW_MS)),
        (ErrorCode.STORE_NEWER, lambda: restore(newer, tmp_path / "x", NOW_MS)),
    ]
    for code, attempt in refused:
        with pytest.raises(RewakeError) as caught:
            attempt()
        assert caught.value.code is code, caught.value
    assert not list(tmp_path.rglob("*.part*"))
    assert not (tmp_path / "x" / "rewake.db").exists()
