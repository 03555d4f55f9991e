"""What goes wrong with files and disks: nothing is acknowledged that is not stored, and errors say what to do."""

from __future__ import annotations

import inspect
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import apsw
import pytest
from store_samples import NOW_MS, entry, invocation, invocation_id, submit

from rewake.core.ids import CompletionId
from rewake.core.writes import Batch
from rewake.engine import Engine
from rewake.errors import ErrorCode, RewakeError
from rewake.store import connection
from rewake.store.private import OTHER_DIRECTORY
from rewake.store.schema import MIGRATIONS, VERSION
from rewake.store.store import Store
from rewake.store.writing import BatchRefused

_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

SLEEP = CompletionId(1)


def open_error(directory: Path) -> RewakeError:
    with pytest.raises(RewakeError) as caught:
        Store.open(directory, now_ms=NOW_MS)
    return caught.value


def outcome_of(store: Store, batch: Batch) -> BaseException | None:
    outcomes: list[BaseException | None] = []
    store.submit(batch, outcomes.append)
    (outcome,) = outcomes
    return outcome


def test_a_second_engine_is_refused_with_the_holders_pid(store: Store, tmp_path: Path) -> None:
    error = open_error(tmp_path)
    assert error.code is ErrorCode.STORE_LOCKED
    assert f"process {os.getpid()}" in error.message
    assert error.hint.endswith(OTHER_DIRECTORY)
    assert "path" in inspect.signature(Engine).parameters, "the hint names it"


def test_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    code = (
        "import sys; from rewake.store.store import Store; "
        "store = Store.open(sys.argv[1], now_ms=1); print(1, flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_ENVIRONMENT
    )
    assert child.stdout is not None
    with child:
        assert child.stdout.readline() == b"1\n"
        assert f"process {child.pid}" in open_error(tmp_path).message
        child.send_signal(signal.SIGKILL)
    Store.open(tmp_path, now_ms=NOW_MS).close()


def test_a_failed_open_leaves_no_lock(tmp_path: Path) -> None:
    (tmp_path / "rewake.db").write_bytes(b"not a database at all, but long enough to have a header" * 100)
    assert open_error(tmp_path).code is ErrorCode.STORE_CORRUPT
    (tmp_path / "rewake.db").unlink()
    Store.open(tmp_path, now_ms=NOW_MS).close()


def test_a_database_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    Store.open(tmp_path, now_ms=NOW_MS).close()
    with sqlite3.connect(tmp_path / "rewake.db") as other:
        other.execute(f"pragma user_version = {VERSION + 1}")
    other.close()
    error = open_error(tmp_path)
    assert error.code is ErrorCode.STORE_NEWER
    assert f"version {VERSION + 1}" in error.message


def test_a_database_of_an_older_release_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, keeping what it has; a step that fails leaves the file as it was."""
    Store.open(tmp_path, now_ms=NOW_MS).close()
    later = "create table later (value integer) strict; insert into later select count(*) from sqlite_schema;"
    monkeypatch.setattr(connection, "MIGRATIONS", (*MIGRATIONS, later, "insert into later values ('no number')"))
    monkeypatch.setattr(connection, "VERSION", VERSION + 2)
    assert open_error(tmp_path).code.startswith("RW5")
    assert stored(tmp_path, "pragma user_version") == [(VERSION + 1,)]
    monkeypatch.setattr(connection, "VERSION", VERSION + 1)
    for _ in range(2):
        Store.open(tmp_path, now_ms=NOW_MS).close()
        assert stored(tmp_path, "select value > 0 from later") == [(1,)]


def stored(path: Path, sql: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path / "rewake.db") as other:
        found = other.execute(sql).fetchall()
    other.close()
    return found


def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "rewake.db") as other:
        other.execute("create table precious (value)")
    other.close()
    assert open_error(tmp_path).code is ErrorCode.STORE_CORRUPT
    with sqlite3.connect(tmp_path / "rewake.db") as other:
        assert other.execute("select name from sqlite_schema").fetchall() == [("precious",)]
    other.close()


def test_a_database_with_a_torn_schema_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path, now_ms=NOW_MS).close()
    file = tmp_path / "rewake.db"
    content = bytearray(file.read_bytes())
    content[100:1000] = os.urandom(900)
    file.write_bytes(content)
    error = open_error(tmp_path)
    assert error.code is ErrorCode.STORE_CORRUPT
    assert ".recover" in error.hint


def test_damage_met_later_stops_writing(tmp_path: Path) -> None:
    store = Store.open(tmp_path, now_ms=NOW_MS)
    for number in range(200):
        submit(store, Batch(entries=[entry(number, 0, payload=b"x" * 500)]))
    store.close()
    file = tmp_path / "rewake.db"
    content = bytearray(file.read_bytes())
    content[40 * 4096 :] = os.urandom(len(content) - 40 * 4096)
    file.write_bytes(content)
    store = Store.open(tmp_path, now_ms=NOW_MS)
    outcomes = [outcome_of(store, Batch(entries=[entry(number, 1, payload=b"x" * 500)])) for number in range(200)]
    errors = [outcome for outcome in outcomes if outcome is not None]
    assert errors
    assert all(isinstance(error, RewakeError) and error.code is ErrorCode.STORE_CORRUPT for error in errors)
    store.close()


_AS_NOBODY = """
import os, sys
from rewake.errors import RewakeError
from rewake.store.store import Store
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    Store.open(sys.argv[1], now_ms=1)
except RewakeError as error:
    print(error)
"""


@pytest.mark.parametrize("has_database", [False, True])
def test_a_read_only_directory(has_database: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if has_database:
            Store.open(directory, now_ms=NOW_MS).close()
            (directory / "rewake.db").chmod(0o444)
            (directory / "rewake.lock").chmod(0o666)  # so that the lock is not what fails
        directory.chmod(0o555)
        try:
            done = subprocess.run(
                [sys.executable, "-c", _AS_NOBODY, name], capture_output=True, text=True, env=_ENVIRONMENT, check=True
            )
        finally:
            directory.chmod(0o755)
    assert "\nRW5004" in "\n" + done.stdout, done.stdout
    assert "permissions" in done.stdout


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    error = open_error(tmp_path / "data")
    assert error.code is ErrorCode.STORE_NOT_WRITABLE
    assert "--data" in error.hint


def test_a_full_disk_stops_writing_until_there_is_space(tmp_path: Path) -> None:
    store = Store.open(tmp_path, now_ms=NOW_MS, page_count_max=100)
    stored = []
    failed: BaseException | None = None
    for number in range(100):
        failed = outcome_of(store, Batch(inserts=[invocation(number)], entries=[entry(number, 0, payload=b"x" * 9000)]))
        if failed is not None:
            break
        stored.append(number)
    assert isinstance(failed, RewakeError) and failed.code is ErrorCode.STORE_FULL
    assert stored
    assert outcome_of(store, Batch(state={("a", "b", b"c"): b"d"})) is failed
    assert store.reader.state("a", "b") == {}
    assert store.reader.invocation(invocation_id(len(stored))) is None
    probed = store.probe()
    assert probed is not None and probed.code is ErrorCode.STORE_FULL

    store._connection.pragma("max_page_count", 10_000)
    assert store.probe() is None
    store.resume()
    assert outcome_of(store, Batch(state={("a", "b", b"c"): b"d"})) is None
    assert [len(store.reader.journal(invocation_id(number))) for number in stored] == [1] * len(stored)
    store.close()


def test_a_value_that_cannot_be_stored_names_its_invocation(store: Store) -> None:
    """The batch is stored as little as on a full disk; by caller, if the invocation is new with the batch."""
    store.submit(Batch(inserts=[invocation(1)]), lambda error: None)
    batch = Batch(
        inserts=[invocation(2), invocation(3, traceparent="\ud800", invoked_by_id=invocation_id(1))],
        updates=[invocation(1, created_at_ms=2**63)],
        entries=[entry(2, 0), entry(4, 2**63)],
        timers=dict.fromkeys([(2**63, invocation_id(5), SLEEP), (NOW_MS, invocation_id(2), SLEEP)], True),
    )
    refused = outcome_of(store, batch)
    assert isinstance(refused, BatchRefused) and refused.code is ErrorCode.VALUE_NOT_STORABLE
    assert {key: reason.split(":")[0] for key, reason in refused.faulty.items()} == {
        invocation_id(1): "UnicodeEncodeError",
        invocation_id(4): "OverflowError",
        invocation_id(5): "OverflowError",
    }
    assert store.reader.invocation(invocation_id(2)) is None
    store.resume()
    assert outcome_of(store, Batch(inserts=[invocation(2)])) is None
    twice = outcome_of(store, Batch(inserts=[invocation(2)]))
    assert isinstance(twice, BatchRefused) and list(twice.faulty) == [invocation_id(2)]


_FILE_LIMIT = """
import resource, signal, sys
from store_samples import NOW_MS, entry
from rewake.core.writes import Batch
from rewake.store.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store.open(sys.argv[1], now_ms=NOW_MS)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
outcomes = []
for number in range(100):
    store.submit(Batch(entries=[entry(number, 0, payload=b"x" * 9000)]), outcomes.append)
good = outcomes.index(next(item for item in outcomes if item))
print(good, outcomes[good].code.value, all(item is outcomes[good] for item in outcomes[good:]), bool(store.probe()))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert store.probe() is None
store.resume()
store.submit(Batch(entries=[entry(200, 0)]), outcomes.append)
print(outcomes[-1], sum(len(store.reader.journal(entry(number, 0).invocation_id)) for number in range(100)))
"""


def test_a_write_the_system_refuses_in_the_middle_of_the_log(tmp_path: Path) -> None:
    """The log cannot grow: a real error of the file system at the moment of the commit."""
    environment = {**_ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", _FILE_LIMIT, str(tmp_path)], capture_output=True, text=True, env=environment, check=True
    )
    first, second = done.stdout.splitlines()
    good, code, later_failed_too, probe_failed = first.split()
    assert int(good) > 3
    assert (later_failed_too, probe_failed) == ("True", "True")
    assert code in ("RW5005", "RW5006")
    assert second == f"None {good}"


# Who may read it


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_the_data_folder_is_its_owners_alone(tmp_path: Path, umask: int) -> None:
    """Whatever the umask: it holds what callers sent."""
    before = os.umask(umask)
    try:
        store = Store.open(tmp_path / "data", now_ms=NOW_MS)
        submit(store, Batch(inserts=[invocation(1)]))
        modes = {path.name: mode(path) for path in (tmp_path / "data").iterdir()}
    finally:
        os.umask(before)
    assert mode(tmp_path / "data") == 0o700
    assert set(modes) >= {"rewake.db", "rewake.db-wal", "rewake.db-shm", "rewake.lock"}
    assert set(modes.values()) == {0o600}
    store.close()


def test_files_that_others_could_read_are_closed_to_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is there keeps its mode: somebody may have chosen it."""
    Store.open(tmp_path, now_ms=NOW_MS).close()
    tmp_path.chmod(0o755)
    for path in tmp_path.iterdir():
        path.chmod(0o644)
    Store.open(tmp_path, now_ms=NOW_MS).close()
    assert mode(tmp_path) == 0o755
    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}
    assert "data_folder_open_to_others" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["rewake.lock", "rewake.db", "rewake.db-wal", "rewake.db-shm"])
@pytest.mark.parametrize("is_there", [False, True])
def test_what_a_link_points_to_is_not_overwritten(tmp_path: Path, name: str, is_there: bool) -> None:
    victim, data = tmp_path / "victim", tmp_path / "data"
    data.mkdir()
    if is_there:
        victim.write_text("precious")
    (data / name).symlink_to(victim)
    error = open_error(data)
    assert error.code is ErrorCode.STORE_NOT_WRITABLE
    assert "symbolic link" in error.message
    assert victim.exists() is is_there and (not is_there or victim.read_text() == "precious")


def test_the_data_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    store = Store.open(tmp_path / "data", now_ms=NOW_MS)
    submit(store, Batch(inserts=[invocation(1)]))
    store.close()
    assert (tmp_path / "disk" / "rewake.db").exists()


_WRITE_FOR_EVER = """
import sys
from store_samples import NOW_MS, entry, invocation
from rewake.core.writes import Batch
from rewake.store.store import Store
store = Store.open(sys.argv[1], now_ms=NOW_MS)
number = 0
while True:
    number += 1
    entries = [entry(number, index, payload=b"x" * 300) for index in range(5)]
    store.submit(Batch(inserts=[invocation(number)], entries=entries), lambda error: print(error or number, flush=True))
"""


def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    environment = {**_ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    child = subprocess.Popen(
        [sys.executable, "-c", _WRITE_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert child.stdout is not None
    with child:
        acknowledged = 0
        while acknowledged < 300:
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = [int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        acknowledged = rest[-1] if rest else acknowledged
    store = Store.open(tmp_path, now_ms=NOW_MS)
    lengths = []
    for number in range(1, acknowledged + 3):
        found = store.reader.invocation(invocation_id(number))
        lengths.append(None if found is None else found.journal_length)
    assert lengths[:acknowledged] == [5] * acknowledged
    assert set(lengths[acknowledged:]) <= {5, None}, "a batch is stored whole or not at all"
    assert connection.open_reader(tmp_path / "rewake.db").pragma("integrity_check") == "ok"
    store.close()


def test_an_old_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    error = open_error(tmp_path)
    assert error.code is ErrorCode.SQLITE_TOO_OLD
    assert "3.51.2" in error.message


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path, now_ms=NOW_MS)
    store.close()
    store.close()
    error = outcome_of(store, Batch(timers={(1, invocation_id(1), SLEEP): True}))
    assert isinstance(error, RewakeError) and error.code is ErrorCode.STORE_CLOSED


_NO_DESCRIPTORS = """
import os, resource, sys
from pathlib import Path
from rewake.errors import RewakeError
from rewake.sql.query import run_query
from rewake.store.store import Store
Store.open(sys.argv[1], now_ms=1).close()
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
query = lambda: run_query(Path(sys.argv[1]), "select * from sys_service")
for attempt in (query, lambda: Store.open(sys.argv[1], now_ms=1)):
    try:
        attempt()
    except RewakeError as error:
        held and os.close(held.pop())
        print(error.code.value, flush=True)
        held.append(os.open(os.devnull, os.O_RDONLY))
"""


def test_no_descriptors_left_is_no_matter_of_permissions(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NO_DESCRIPTORS, str(tmp_path)],
        capture_output=True,
        text=True,
        env=_ENVIRONMENT,
        check=True,
    )
    assert done.stdout.split() == ["RW5015", "RW5015"], done.stderr
