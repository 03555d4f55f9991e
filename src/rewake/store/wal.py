"""The write-ahead log and its database: a check that they belong together, and the marks for that check.

SQLite replays `rewake.db-wal` into any `rewake.db` beside it. If that is an older or newer copy, such as a restored
backup, the result is a damaged mixture of both. So each commit adds one to the application id in the database's header,
which starts at a random number at each start of an engine. A log continues a database if the number in the database's
own header is also in the log, or comes right before the log's first. SQLite's own copies (`.backup`, `VACUUM INTO`)
keep the number and raise the schema cookie, so the cookies must be equal too. File format:
https://sqlite.org/fileformat2.html
"""

from __future__ import annotations

import fcntl
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

_CHECKSUM: Final = struct.Struct(">II")
_LOG_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_MAGICS: Final = (0x377F0682, 0x377F0683)
_COOKIE_AT: Final = 40
_MARK_AT: Final = 68
_DATABASE_HEADER_BYTES: Final = 100
_IN_USE_LOCK: Final = 128
"""https://sqlite.org/walformat.html#locks: the byte behind those of the log's locks."""

_NUMBER_MAX: Final = (1 << 31) - 1

Mark = tuple[int, int]
"""Schema cookie and application id in a first page."""

log = structlog.get_logger("rewake.store")


def advance_mark(connection: apsw.Connection) -> None:
    """Add one to the number, in the open transaction or as a commit of its own."""
    number = _next(connection.pragma("application_id"))
    connection.execute(f"pragma application_id = {number}", can_cache=False)


def renew_mark(connection: apsw.Connection) -> None:
    """Begin at a new random number, so that engines on different copies of a database use different numbers."""
    connection.pragma("application_id", _random_number())


def _next(number: int) -> int:
    return number % _NUMBER_MAX + 1


def _random_number() -> int:
    return random.SystemRandom().randint(1, _NUMBER_MAX)


def mark_file(path: Path) -> None:
    """Give a database a new number. It must not be open anywhere, and must have no log."""
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
    """Raise RW5013 if the log beside a database does not continue it. The database must not be open anywhere.

    A log without a first page has no commit of ours: another program moved our log into the database and started it
    again. Such a log is moved aside, because replaying it could damage a restored copy. It stays while a program has
    the database open, as Litestream does, and goes on with the log. SQLite ignores a log without a whole commit. A
    power cut leaves one when the log had just started again; its frames are from before.
    """
    wal, own = log_of(path), _mark_of(path)
    marks = list(_marks_in(wal))
    if marks and own is not None and (own in marks or (own[0], _next(own[1])) == marks[0]):
        return
    if not _has_commit(wal):
        return
    if not marks:
        if own is not None and not _is_in_use(path):
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


def _is_in_use(path: Path) -> bool:
    """Whether another process has the database open: each one that does holds a lock on a byte of the log's index."""
    with suppress(FileNotFoundError), index_of(path).open("r+b") as index:
        try:
            fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _IN_USE_LOCK)
        except OSError:
            return True
    return False


def _move_aside(wal: Path) -> None:
    aside = wal.with_name(wal.name + ".unused")
    wal.replace(aside)
    log.warning("log_of_another_program_moved_aside", path=str(aside))


def _mark_of(path: Path) -> Mark | None:
    """The mark in the database file itself, without its log; None for a file without a header."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        return _mark_in(file.read(_DATABASE_HEADER_BYTES))
    return None


def _mark_in(page: bytes) -> Mark | None:
    if len(page) < _DATABASE_HEADER_BYTES:
        return None
    cookie, mark = (int.from_bytes(page[at : at + 4], "big") for at in (_COOKIE_AT, _MARK_AT))
    return cookie, mark


def _has_commit(wal: Path) -> bool:
    """Whether the log begins with a whole transaction: frames with valid checksums up to one that commits."""
    content = wal.read_bytes() if wal.exists() else b""
    if len(content) <= _LOG_HEADER_BYTES:
        return False
    magic, _, page_size, _, *salts = _LOG_HEADER.unpack_from(content)
    if magic not in _MAGICS or page_size < _DATABASE_HEADER_BYTES:
        return False
    words = "<>"[magic & 1]
    sums = _checksum(words, content[: _LOG_HEADER.size], (0, 0))
    if sums != _CHECKSUM.unpack_from(content, _LOG_HEADER.size):
        return False
    for at in range(_LOG_HEADER_BYTES, len(content), _FRAME_HEADER_BYTES + page_size):
        start, stop = at + _FRAME_HEADER_BYTES, at + _FRAME_HEADER_BYTES + page_size
        if stop > len(content):
            return False
        _, size_after, *frame_salts = _FRAME_HEADER.unpack_from(content, at)
        sums = _checksum(words, content[start:stop], _checksum(words, content[at : at + _CHECKSUM.size], sums))
        if frame_salts != salts or sums != _CHECKSUM.unpack_from(content, at + _FRAME_HEADER.size):
            return False
        if size_after:
            return True
    return False


def _checksum(words: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """SQLite's checksum over 32-bit words in the log's byte order, continued from earlier sums."""
    first, second = sums
    for one, other in struct.iter_unpack(f"{words}II", data):
        first = (first + one + second) & 0xFFFF_FFFF
        second = (second + other + first) & 0xFFFF_FFFF
    return first, second


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
    """The first pages in the log's frames. Frames with other salts are left over from before the log's last start."""
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
