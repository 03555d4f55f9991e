"""Makes a backup of the database, even while it is in use, and restores one.

Both copy page by page through SQLite, so commits that are still in the log are included. The copy is checked, flushed
to disk, and gets its own mark, so that SQLite never uses another database's log with it (wal.py). Called by the CLI,
with or without a running engine. A running engine keeps its log until the copy is made.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import apsw

from rewake.errors import ErrorCode, RewakeError
from rewake.store.connection import DATABASE_FILE, as_rewake_error, open_reader, require_known_version
from rewake.store.lock import DirectoryLock, is_in_use
from rewake.store.private import make_folder, make_private, open_private
from rewake.store.wal import index_of, log_of, mark_file, require_own_log

PART_SUFFIX: Final = ".part"


def back_up(data: Path, target: Path, beside: Iterable[str] = ()) -> int:
    """Copy the database in the folder `data` into the folder `target`; returns the size of the copy in bytes.

    beside: names of small files of `data` to copy too, if they exist. An engine may use the database meanwhile.
    Raises RewakeError RW5014 if there is no database or `target` already has one, and the errors of opening it.
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
        part = _copied(source, copy)
        for name in beside:
            if (data / name).is_file():
                _copy_file(data / name, target / name)
        part.rename(copy)
        _sync_folder(target)
    except OSError as error:
        raise as_rewake_error(error, copy) from error
    return copy.stat().st_size


def restore(
    backup: Path, data: Path, now_ms: int, *, replaced: Iterable[str] = (), completed: Iterable[str] = ()
) -> Path | None:
    """Replace the database in `data` by a backup, which is a folder or a database file.

    replaced: names of small files that are replaced together with the database.   completed: names of small files that
    are copied only if `data` does not have them.

    The old database moves, with its log, into a new folder in `data`, which is returned. Raises RewakeError RW5014 if
    there is no backup, RW5001 while an engine uses the folder, RW5002 and RW5003 for a backup that cannot be used;
    then nothing changes.
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
            aside = _put_in_place(_copied(source, database), database, now_ms)
            if backup.is_dir():
                for name in replaced:
                    _put_beside(source.with_name(name), data / name, aside)
                for name in completed:
                    if not (data / name).exists():
                        _put_beside(source.with_name(name), data / name, aside)
            return aside
        finally:
            lock.release()
    except OSError as error:
        raise as_rewake_error(error, database) from error


def _put_in_place(part: Path, database: Path, now_ms: int) -> Path | None:
    """Move the files in an order that survives a crash: the next start refuses a new database beside the old log."""
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


def _put_beside(source: Path, target: Path, aside: Path | None) -> None:
    if not source.is_file():
        return
    if target.exists() and aside is not None and target.read_bytes() != source.read_bytes():
        _keep(target, aside / target.name)
    _copy_file(source, target)


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file, readable by its owner alone, and flush it to disk."""
    part = target.with_name(target.name + PART_SUFFIX)
    part.unlink(missing_ok=True)
    with os.fdopen(open_private(part), "wb") as file:
        file.write(source.read_bytes())
        file.flush()
        os.fsync(file.fileno())
    part.replace(target)


def _keep(path: Path, kept: Path) -> None:
    """Make a second name for the file, or a copy if the file system has no links."""
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
            if has_log:  # Without this, closing the source as the last one would change it.
                read.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            require_known_version(read, source)
            make_private(part)
            with closing(apsw.Connection(str(part))) as written:
                written.execute("pragma synchronous = off")
                with written.backup("main", read, "main") as copying:
                    copying.step()
                require_sound(written, source)
                # A single file that can be read anywhere; the engine turns the log on again at its start.
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
    """Raise RW5003 for a damaged database. Reads the whole database."""
    found = connection.execute("pragma quick_check(1)").get
    if found != "ok":
        raise RewakeError(
            ErrorCode.STORE_CORRUPT,
            f"The database {str(source)!r} is damaged.\nSQLite says: {found}.",
            "Nothing has been changed. Use a backup, or another one.",
        )


def _require_own_log_unless_in_use(source: Path) -> None:
    """Check the log of a database, as at a start, unless an engine uses it: then the log is its own."""
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
