"""Upkeep of a database while no engine uses it: compacting and upgrading.

A running engine releases part of its free pages by itself (`Store.release_pages`), and upgrades at its start. Called by
the CLI.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from rewake.store.backup import no_database, require_sound
from rewake.store.connection import DATABASE_FILE, as_rewake_error, open_reader, open_writer, require_known_version
from rewake.store.lock import DirectoryLock, is_in_use
from rewake.store.schema import VERSION
from rewake.store.wal import advance_mark, require_own_log


def compact(data: Path, now_ms: int) -> tuple[int, int]:
    """Rewrite the database in the folder; returns its size in bytes before and after. Needs free disk for the result.

    Raises RewakeError RW5001 while an engine uses it, RW5014 without a database, and the errors of opening it.
    """
    with _alone(data, now_ms) as (path, connection):
        _fold(connection)
        before = path.stat().st_size
        connection.execute("pragma auto_vacuum = incremental")
        connection.execute("vacuum")
        advance_mark(connection)
        _fold(connection)
        return before, path.stat().st_size


def upgrade(data: Path, now_ms: int) -> tuple[int, int]:
    """Migrate the database to this release's version; returns the versions before and after. Raises like `compact`."""
    before, _ = check_upgrade(data)
    with _alone(data, now_ms) as (_, connection):
        _fold(connection)
    return before, VERSION


def check_upgrade(data: Path) -> tuple[int, int]:
    """The version of the database, which is read through for damage, and the one this release would make of it.

    Changes nothing, and may run beside an engine. Raises RewakeError RW5002 for a database of a newer release, RW5003
    for a damaged one, RW5013, and RW5014 when there is no database.
    """
    path = _database_in(data)
    if not is_in_use(data):
        require_own_log(path)
    try:
        with closing(open_reader(path)) as connection:
            require_known_version(connection, path)
            require_sound(connection, path)
            version: int = connection.pragma("user_version")
    except apsw.Error as error:
        raise as_rewake_error(error, path) from error
    return version, VERSION


@contextmanager
def _alone(data: Path, now_ms: int) -> Iterator[tuple[Path, apsw.Connection]]:
    """The database, open for writing, with the folder locked."""
    path = _database_in(data)
    lock = DirectoryLock(data, now_ms)
    try:
        require_own_log(path)
        with closing(open_writer(path)) as connection:
            yield path, connection
    except (OSError, apsw.Error) as error:
        raise as_rewake_error(error, path) from error
    finally:
        lock.release()


def _database_in(data: Path) -> Path:
    path = data / DATABASE_FILE
    if not path.is_file():
        raise no_database(path)
    return path


def _fold(connection: apsw.Connection) -> None:
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
