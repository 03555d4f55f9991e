"""A backup of the database while it is in use, and putting one in place of what is there.

Both copy page by page through SQLite, so that commits which are still in the log come along; what arrives is checked,
flushed to disk, and gets a mark of its own, so that no other log is ever taken for its own (wal.py).
Called by the CLI, with or without a running engine. A running engine only keeps its log until the copy is made.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import apsw

from rewake.errors import ErrorCode, RewakeError
from rewake.store.connection import DATABASE_FILE, as_rewake_error, open_reader, require_known_version
from rewake.store.lock import DirectoryLock, is_in_use
from rewake.store.private import make_folder, make_private
from rewake.store.wal import index_of, log_of, mark_file, require_own_log

PART_SUFFIX: Final = ".part"


def back_up(data: Path, target: Path) -> int:
    """Copy the database in the folder `data` into the folder `target`; the size of the copy in bytes.

    An engine may use the database meanwhile. Raises RewakeError RW5014 when there is nothing to copy or `target` has
    a database already, else what opening the database raises.
    """
    source, copy = data / DATABASE_FILE, target / DATABASE_FILE
    if not source.is_file():
        raise no_database(source)
    if copy.exists():
        raise RewakeError(
            ErrorCode.BACKUP_REFUSED,
            f"There is a database already: {str(copy)!r}.\nA backup is not written over another one.",
            "Name a folder that is not there yet.",
        )
    _require_own_log_unless_in_use(source)
    try:
        make_folder(target)
        _copied(source, copy).rename(copy)
        _sync_folder(target)
    except OSError as error:
        raise as_rewake_error(error, copy) from error
    return copy.stat().st_size


def restore(backup: Path, data: Path, now_ms: int) -> Path | None:
    """Put a backup, a folder or a database file, in place of the database in `data`.

    The database from before is moved, log included, into a folder of its own in `data`, which is returned. Raises
    RewakeError RW5014 when there is no backup, RW5001 while an engine uses the folder, RW5002, RW5003 for a backup that
    cannot be used; nothing is changed then.
    """
    source = (backup / DATABASE_FILE if backup.is_dir() else backup).resolve()
    if not source.is_file():
        raise no_database(source)
    database = data / DATABASE_FILE
    try:
        make_folder(data)
        lock = DirectoryLock(data, now_ms)
        try:
            if source.resolve() == database.resolve():
                raise RewakeError(
                    ErrorCode.BACKUP_REFUSED,
                    f"{str(source)!r} is the database itself, not a backup of it.",
                    "Name the folder that `rewake backup` wrote.",
                )
            _require_own_log_unless_in_use(source)
            return _put_in_place(_copied(source, database), database, now_ms)
        finally:
            lock.release()
    except OSError as error:
        raise as_rewake_error(error, database) from error


def _put_in_place(part: Path, database: Path, now_ms: int) -> Path | None:
    """The order matters should we die in between: a new database beside the old log is refused at the next start."""
    old = [path for path in (database, log_of(database), index_of(database)) if path.exists()]
    aside = None
    if old:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_ms / 1000))
        aside = database.with_name(f"before-restore-{stamp}")
        make_folder(aside)
    if aside is not None and database.exists():
        _keep(database, aside / database.name)
    part.replace(database)
    for path in old:
        if aside is not None and path != database:
            path.replace(aside / path.name)
    _sync_folder(database.parent)
    return aside


def _keep(path: Path, kept: Path) -> None:
    """A second name for the file, or where the file system knows no links, a copy."""
    try:
        kept.hardlink_to(path)
    except OSError:
        shutil.copy2(path, kept)


def _copied(source: Path, target: Path) -> Path:
    """A checked copy of `source` beside `target`, flushed to disk."""
    part = target.with_name(target.name + PART_SUFFIX)
    for path in (part, log_of(part), index_of(part)):
        path.unlink(missing_ok=True)
    has_log = log_of(source).exists()
    try:
        with closing(open_reader(source)) as read:
            if has_log:  # A look leaves the source as it is: its log is not folded in when we are the last to close.
                read.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            require_known_version(read, source)
            make_private(part)
            with closing(apsw.Connection(str(part))) as written:
                written.execute("pragma synchronous = off")
                with written.backup("main", read, "main") as copying:
                    copying.step()
                require_sound(written, source)
                # One file that can be read anywhere; the engine turns its log on again when it starts.
                written.execute("pragma journal_mode = delete")
        mark_file(part)
    except apsw.Error as error:
        _discard(part)
        raise as_rewake_error(error, source) from error
    except BaseException:
        _discard(part)
        raise
    return part


def require_sound(connection: apsw.Connection, source: Path) -> None:
    """Raise RW5003 for a damaged database. Reads all of it."""
    found = connection.execute("pragma quick_check(1)").get
    if found != "ok":
        raise RewakeError(
            ErrorCode.STORE_CORRUPT,
            f"The database {str(source)!r} is damaged.\nSQLite says: {found}.",
            "Nothing has been changed. Use a backup, or another one.",
        )


def _require_own_log_unless_in_use(source: Path) -> None:
    """The log that an engine writes at this moment is its own; any other one is checked as at a start."""
    if not is_in_use(source.parent):
        require_own_log(source)


def _discard(part: Path) -> None:
    for path in (part, log_of(part), index_of(part)):
        with suppress(OSError):
            path.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def no_database(path: Path) -> RewakeError:
    """The error for a folder without a database."""
    return RewakeError(
        ErrorCode.BACKUP_REFUSED,
        f"There is no database {str(path)!r}.",
        "Name the folder that holds rewake.db.",
    )
