"""Opens the database file: version checks, settings, migrations, and SQLite's errors as errors for users.

All connections to the store are made here. It refuses an SQLite with the WAL-reset bug, a database of a newer release,
and a file that is not a sound database. Called by store.py, rewake.sql and rewake.runs; schema.py has the tables.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

import apsw

from rewake.errors import ErrorCode, RewakeError
from rewake.store.large_values import register_functions
from rewake.store.private import OTHER_DIRECTORY
from rewake.store.schema import MIGRATIONS, VERSION
from rewake.store.wal import advance_mark, renew_mark

DatabaseError: Final = apsw.Error
"""Any error of the database, for callers that do not know which one it is."""

DATABASE_FILE: Final = "rewake.db"

SQLITE_VERSION_MIN: Final = (3, 51, 3)
"""Before 3.51.3 a reset of the write-ahead log could corrupt the database when two connections checkpoint."""

PAGE_CACHE_KIB: Final = 64 * 1024
BUSY_TIMEOUT_MS: Final = 5_000
STATEMENT_CACHE_COUNT: Final = 128

LOG_KEPT_BYTES: Final = 16 * 1024 * 1024
"""When a log starts again, it is cut to this size."""


def require_safe_sqlite() -> None:
    """Raise RW5007 if the installed SQLite can corrupt a database."""
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")[:3]) < SQLITE_VERSION_MIN:
        raise RewakeError(
            ErrorCode.SQLITE_TOO_OLD,
            f"This Python's apsw brings SQLite {version}.\n"
            "Versions before 3.51.3 can corrupt a database in the mode the store uses.",
            "Upgrade it: pip install --upgrade 'apsw>=3.51.3'",
        )


def open_writer(path: Path, *, page_count_max: int | None = None) -> apsw.Connection:
    """The writing connection: WAL, every commit flushed to disk, migrated to our version.

    page_count_max: bound of the file in pages, to imitate a small disk.
    """
    connection = _connection(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    require_known_version(connection, path)
    register_functions(connection)
    connection.execute("pragma auto_vacuum = incremental")  # Only takes effect in a new file.
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    # On macOS fsync alone leaves data in the drive's cache; other systems ignore this setting.
    connection.execute("pragma fullfsync = on")
    connection.execute(f"pragma cache_size = -{PAGE_CACHE_KIB}")
    connection.execute("pragma temp_store = memory")
    connection.execute(f"pragma journal_size_limit = {LOG_KEPT_BYTES}")
    if page_count_max is not None:
        connection.execute(f"pragma max_page_count = {page_count_max}")
    connection.wal_autocheckpoint(0)
    advance_mark(connection)
    _migrate(connection)
    renew_mark(connection)
    return connection


def open_reader(path: Path) -> apsw.Connection:
    """A connection that cannot write. The file must exist."""
    connection = _connection(path, apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    register_functions(connection)
    connection.execute("pragma query_only = on")
    connection.execute("pragma temp_store = memory")
    connection.wal_autocheckpoint(0)
    return connection


def _connection(path: Path, flags: int) -> apsw.Connection:
    """A connection to the file. The path to its folder may have links, but the file itself must not be one."""
    place = path.parent.resolve() / path.name
    return apsw.Connection(
        str(place), flags=flags | apsw.SQLITE_OPEN_NOFOLLOW, statementcachesize=STATEMENT_CACHE_COUNT
    )


def require_known_version(connection: apsw.Connection, path: Path) -> None:
    """Raise RW5002 for a database of a newer release, RW5003 for one of another program. An empty file passes."""
    version = connection.pragma("user_version")
    if version > VERSION:
        raise RewakeError(
            ErrorCode.STORE_NEWER,
            f"The database {str(path)!r} has version {version}; this release knows versions up to {VERSION}.\n"
            "A newer release of Rewake has used it.",
            "Upgrade Rewake, or start with another directory: " + OTHER_DIRECTORY,
        )
    has_tables = connection.execute("select count(*) from sqlite_schema").get > 0
    if version == 0 and has_tables:
        raise RewakeError(
            ErrorCode.STORE_CORRUPT,
            f"The file {str(path)!r} is an SQLite database, but not one of Rewake's.",
            "Start with another directory: " + OTHER_DIRECTORY,
        )


def _migrate(connection: apsw.Connection) -> None:
    """Apply the missing migrations, each in one transaction with its number."""
    for number in range(connection.pragma("user_version"), VERSION):
        connection.execute("begin immediate")
        try:
            connection.execute(MIGRATIONS[number])
            connection.execute(f"pragma user_version = {number + 1}")
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise


def _has_no_descriptors() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    return False


def as_rewake_error(error: BaseException, path: Path) -> RewakeError:
    """An error of SQLite or of the operating system as an error for the person who runs the engine."""
    if isinstance(error, RewakeError):
        return error
    where = repr(str(path))
    match error:
        case apsw.CantOpenError() | OSError() if _has_no_descriptors():
            code = ErrorCode.DESCRIPTORS_EXHAUSTED
            what = f"The database {where} could not be opened: this process has no file descriptors left."
            hint = (
                "Raise the limit: ulimit -n 65536, or LimitNOFILE= of the service.\n"
                "Look for clients that keep connections open."
            )
        case apsw.FullError():
            code, hint = ErrorCode.STORE_FULL, "Free some space; the engine goes on by itself once a write succeeds."
            what = f"The disk that holds {where} is full.\nNothing that was not stored has been acknowledged."
        case apsw.CorruptError() | apsw.NotADBError():
            code = ErrorCode.STORE_CORRUPT
            what = f"The database {where} is damaged.\nSQLite says: {error}."
            hint = (
                "Stop the engine, copy the directory, then try: sqlite3 rewake.db .recover\n"
                "or restore a backup, or start with another directory: " + OTHER_DIRECTORY
            )
        case apsw.ReadOnlyError() | apsw.CantOpenError() | apsw.PermissionsError() | PermissionError():
            code = ErrorCode.STORE_NOT_WRITABLE
            what = f"The database {where} cannot be written.\n{type(error).__name__}: {error}."
            hint = "Check the owner and permissions of the directory, and that its disk is not mounted read-only."
        case OSError():
            code = ErrorCode.STORE_NOT_WRITABLE
            what = f"The data directory of {where} cannot be used.\n{error}."
            hint = "Check the path and its permissions, or choose another directory: " + OTHER_DIRECTORY
        case _:
            code = ErrorCode.STORE_FAILED
            what = f"A write to {where} failed.\n{type(error).__name__}: {error}."
            hint = "Check the disk. The engine acknowledges nothing until a write succeeds again."
    return RewakeError(code, what, hint)
