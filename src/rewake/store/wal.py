"""The write-ahead log and its database: a check that they belong together, and the mark that makes it possible.

SQLite replays `rewake.db-wal` over whatever `rewake.db` lies beside it. Over a copy of another moment, such as a
restored backup, that gives a mixture of both and spoils the copy. So each commit adds one to the application id in the
database's header; it begins at a random number whenever an engine starts. A log continues a database if the number in
the database's own header is in the log too, or comes right before its first. SQLite's own copies (`.backup`, `VACUUM
INTO`) keep the number and raise the schema cookie, which must be equal. File format:
https://sqlite.org/fileformat2.html
"""

from __future__ import annotations

import mmap
import os
import random
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw
import structlog

from rewake.errors import ErrorCode, RewakeError

_LOG_HEADER: Final = struct.Struct(">IIIIII")
"""Magic, version, page size, checkpoint sequence, two salts."""

_FRAME_HEADER: Final = struct.Struct(">IIII")
"""Page number, size of the database after a commit, two salts."""

_LOG_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_MAGICS: Final = (0x377F0682, 0x377F0683)
_COOKIE_AT: Final = 40
_MARK_AT: Final = 68
_DATABASE_HEADER_BYTES: Final = 100
_NUMBER_MAX: Final = (1 << 31) - 1

Mark = tuple[int, int]
"""Schema cookie and number of a first page."""

log = structlog.get_logger("rewake.store")


def advance_mark(connection: apsw.Connection) -> None:
    """Count one up, as part of the transaction that is open or as a commit of its own."""
    number = _next(connection.pragma("application_id"))
    connection.execute(f"pragma application_id = {number}", can_cache=False)


def renew_mark(connection: apsw.Connection) -> None:
    """Begin at a new number: whoever goes on from an earlier copy of the same database counts elsewhere."""
    connection.pragma("application_id", _random_number())


def _next(number: int) -> int:
    return number % _NUMBER_MAX + 1


def _random_number() -> int:
    return random.SystemRandom().randint(1, _NUMBER_MAX)


def mark_file(path: Path) -> None:
    """Give a database that nobody has open, and that has no log, a number of its own."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.pwrite(descriptor, _random_number().to_bytes(4, "big"), _MARK_AT)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def index_of(path: Path) -> Path:
    return path.with_name(path.name + "-shm")


def require_own_log(path: Path) -> None:
    """Raise RW5013 when the log beside a database does not continue it. Nobody may have the database open.

    A log without any first page has no commit of ours: another program folded ours in and began the log anew. It is
    moved aside, since replaying it could spoil a restored copy.
    """
    wal, own = log_of(path), _mark_of(path)
    marks = list(_marks_in(wal))
    if marks and own is not None and (own in marks or (own[0], _next(own[1])) == marks[0]):
        return
    if not marks:
        if own is not None and wal.exists() and wal.stat().st_size:
            _move_aside(wal)
        return
    raise RewakeError(
        ErrorCode.STORE_LOG_FOREIGN,
        f"The log {str(wal)!r} does not belong to the database beside it.\n"
        f"{path.name!r} was put in its place, or removed, while the log of an earlier one stayed. "
        "Nothing has been changed.",
        f"To start from this {path.name}, move {wal.name} and {index_of(path).name} out of the folder.\n"
        "To put a backup in place with its log out of the way: rewake restore BACKUP",
    )


def _move_aside(wal: Path) -> None:
    aside = wal.with_name(wal.name + ".unused")
    wal.replace(aside)
    log.warning("log_of_another_program_moved_aside", path=str(aside))


def _mark_of(path: Path) -> Mark | None:
    """Of the database file itself, whatever its log says; None for a file without a header."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        return _mark_in(file.read(_DATABASE_HEADER_BYTES))
    return None


def _mark_in(page: bytes) -> Mark | None:
    if len(page) < _DATABASE_HEADER_BYTES:
        return None
    cookie, mark = (int.from_bytes(page[at : at + 4], "big") for at in (_COOKIE_AT, _MARK_AT))
    return cookie, mark


def _marks_in(wal: Path) -> Iterator[Mark]:
    """The marks of all first pages in a log, in order."""
    with suppress(FileNotFoundError), wal.open("rb") as file:
        if os.fstat(file.fileno()).st_size <= _LOG_HEADER_BYTES:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            magic, _, page_size, _, *salts = _LOG_HEADER.unpack_from(content)
            if magic in _MAGICS and page_size >= _DATABASE_HEADER_BYTES:
                yield from _first_pages(content, page_size, salts)


def _first_pages(content: mmap.mmap, page_size: int, salts: list[int]) -> Iterator[Mark]:
    """Frames of an earlier life of the log, behind the end of this one, have other salts."""
    frame_bytes = _FRAME_HEADER_BYTES + page_size
    for at in range(_LOG_HEADER_BYTES, len(content) - frame_bytes + 1, frame_bytes):
        page_number, _, *frame_salts = _FRAME_HEADER.unpack_from(content, at)
        if frame_salts != salts:
            return
        if page_number == 1:
            start = at + _FRAME_HEADER_BYTES
            mark = _mark_in(content[start : start + _DATABASE_HEADER_BYTES])
            assert mark is not None
            yield mark
