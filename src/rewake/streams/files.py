"""The side log on disk: a folder with one file for each run, to which events are appended as server-sent events.

A record is `id: OFFSET`, `data: EVENT` and an empty line, so a reader gets the bytes of the file unchanged. Files are
not synced: they survive a killed process, but may lose their end if the machine fails. Opening a file cuts off a broken
last record. Size is bounded per run and in all; past a bound the oldest unused files are deleted. Writes happen on the
event loop and go to the page cache: a few microseconds each, against hundreds for a commit.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Container
from pathlib import Path
from typing import Final

import msgspec
import structlog

from rewake.core.ids import InvalidId, InvocationId, invocation_id_from_str, invocation_id_to_str

FOLDER: Final = "streams"
RUN_BYTES_MAX: Final = 8 * 1024 * 1024
TOTAL_BYTES_MAX: Final = 512 * 1024 * 1024
RUNS_MAX: Final = 50_000
"""Files in the folder."""

OPEN_FILES_MAX: Final = 256
"""Files kept open; the others are opened again when they are used."""

READ_BYTES: Final = 16 * 1024
EVICT_TO: Final = 0.9
"""Eviction stops at this share of the bound that was passed."""

_ID: Final = re.compile(rb"^id: (\d+)$", re.MULTILINE)

log = structlog.get_logger("rewake.streams")


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How much the side log may hold. run_bytes: a run's deltas above it are dropped, its marks kept.   runs: files."""

    run_bytes: int = RUN_BYTES_MAX
    total_bytes: int = TOTAL_BYTES_MAX
    runs: int = RUNS_MAX


class RunFile:
    """The events of one run. first_offset, last_offset: of its events, 0 when it is empty.   size: in bytes."""

    __slots__ = ("_folder", "_path", "descriptor", "first_offset", "is_detached", "last_offset", "run", "size")

    def __init__(self, folder: Folder, run: InvocationId, path: Path) -> None:
        self.run = run
        self.size = self.first_offset = self.last_offset = 0
        self.descriptor: int | None = None
        self.is_detached = False
        self._folder = folder
        self._path = path

    def append(self, records: bytes, first_offset: int, last_offset: int) -> None:
        """Add whole records. Raises OSError."""
        written = os.write(self._opened(create=True), records)
        if written != len(records):  # a full disk
            os.ftruncate(self._opened(create=True), self.size)
            raise OSError(f"{written} of {len(records)} bytes written")
        self.size += written
        self.first_offset = self.first_offset or first_offset
        self.last_offset = last_offset
        self._folder.grown(self, written)

    def read(self, position: int) -> bytes:
        """About READ_BYTES of whole records from a position on, but at least one record; b"" at the end."""
        length = READ_BYTES
        while position < self.size:
            data = os.pread(self._opened(), min(length, self.size - position), position)
            end = len(data) if position + len(data) == self.size else data.rfind(b"\n\n") + 2
            if end > 1:
                return data[:end]
            if not data:
                break
            length *= 2
        return b""

    def position_after(self, offset: int) -> int:
        """Where the first record with a greater offset begins, or the end of the file."""
        low, high = 0, self.size  # all records before `low` have an offset of at most `offset`
        while high - low > READ_BYTES:
            middle = (low + high) // 2
            found = self._record_at(middle, high)
            if found is None or found[0] > offset:
                high = middle
            else:
                low = found[1]
        while data := self.read(low):
            for match in _ID.finditer(data):
                if int(match[1]) > offset:
                    return low + match.start()
            low += len(data)
        return low

    def position_behind(self, offset: int) -> int | None:
        """Where the record with exactly this offset ends; None if there is no such record."""
        position = self.position_after(offset - 1)
        data = self.read(position)
        match = _ID.match(data)
        if match is None or int(match[1]) != offset:
            return None
        return position + data.index(b"\n\n") + 2

    def _record_at(self, position: int, end: int) -> tuple[int, int] | None:
        """Offset and place of the first record that begins in `position` .. `end` - 1."""
        length = 4 * 1024
        while True:
            data = os.pread(self._opened(), length, position - 2)
            begin = data.find(b"\n\nid: ") + 2
            match = _ID.match(data, begin) if begin > 1 else None
            if match is not None and match.end() < len(data):  # the number is whole
                place = position - 2 + begin
                return (int(match[1]), place) if place < end else None
            if position - 2 + len(data) >= end:
                return None
            length *= 2

    def restore(self) -> None:
        """Read size and offsets from the file, and cut off a broken last record. Raises OSError."""
        self.size = os.fstat(self._opened()).st_size
        data = b""
        begin = self.size
        while begin and not _is_whole(data):  # from the end: normally the last record is whole
            begin = max(0, begin - READ_BYTES)
            data = os.pread(self._opened(), self.size - begin, begin)
            end = data.rfind(b"\n\n") + 2
            if end > 1 and begin + end < self.size:
                os.ftruncate(self._opened(), begin + end)
                self._folder.grown(self, begin + end - self.size)
                self.size = begin + end
                data = data[:end]
        if not _is_whole(data):
            self._folder.grown(self, -self.size)
            os.ftruncate(self._opened(), 0)
            self.size = 0
            return
        self.last_offset = int(_ID.findall(data)[-1])
        first = _ID.match(os.pread(self._opened(), 64, 0))
        self.first_offset = int(first[1]) if first else self.last_offset

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def remove(self) -> None:
        self.close()
        self.size = 0
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _opened(self, *, create: bool = False) -> int:
        if self.descriptor is None:
            flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if create else 0)
            self.descriptor = os.open(self._path, flags, 0o600)
        if not self.is_detached:
            self._folder.used(self)
        return self.descriptor

    def detach(self) -> None:
        """Keep the content readable after the file is unlinked."""
        if self.size:
            self._opened()
        self.is_detached = True


class Folder:
    """All files of the side log. in_use: runs that must not be evicted.   sizes: bytes per run, oldest first."""

    def __init__(self, path: Path, bounds: Bounds, in_use: Container[InvocationId]) -> None:
        self.path = path / FOLDER
        self.bounds = bounds
        self.total_bytes = 0
        self.sizes: OrderedDict[InvocationId, int] = OrderedDict()
        self._in_use = in_use
        self._open: OrderedDict[InvocationId, RunFile] = OrderedDict()
        self.on_evicted: Callable[[InvocationId], None] | None = None

    def open(self) -> None:
        """Make the folder if it is missing, and add up its files. Raises OSError."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        found = []
        with os.scandir(self.path) as entries:
            for entry in entries:
                with contextlib.suppress(InvalidId, OSError):
                    if entry.is_file(follow_symlinks=False):
                        stat = entry.stat(follow_symlinks=False)
                        found.append((stat.st_mtime_ns, invocation_id_from_str(entry.name), stat.st_size))
        for _, run, size in sorted(found):
            self.sizes[run] = size
            self.total_bytes += size

    def file(self, run: InvocationId) -> RunFile:
        """The file of a run; one from before is restored. Raises OSError."""
        if (before := self._open.pop(run, None)) is not None:
            before.close()
        found = RunFile(self, run, self.path / invocation_id_to_str(run))
        if run in self.sizes:
            found.restore()
        return found

    def detach(self, file: RunFile) -> None:
        """Leave a file to its readers; the next drop unlinks it."""
        with contextlib.suppress(OSError):
            file.detach()
        self._open.pop(file.run, None)

    def drop(self, run: InvocationId) -> None:
        """Delete a run's file."""
        file = self._open.pop(run, None) or RunFile(self, run, self.path / invocation_id_to_str(run))
        file.remove()
        self.total_bytes -= self.sizes.pop(run, 0)

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    # RunFile

    def used(self, file: RunFile) -> None:
        self._open[file.run] = file
        self._open.move_to_end(file.run)
        if len(self._open) > OPEN_FILES_MAX:
            self._open.popitem(last=False)[1].close()

    def grown(self, file: RunFile, by: int) -> None:
        self.sizes[file.run] = self.sizes.get(file.run, 0) + by
        self.sizes.move_to_end(file.run)
        self.total_bytes += by
        if self.total_bytes > self.bounds.total_bytes or len(self.sizes) > self.bounds.runs:
            self._evict()

    def _evict(self) -> None:
        """Drop unused runs, those written longest ago first."""
        bytes_left, runs_left = self.bounds.total_bytes * EVICT_TO, self.bounds.runs * EVICT_TO
        dropped = 0
        for run in list(self.sizes):
            if self.total_bytes <= bytes_left and len(self.sizes) <= runs_left:
                break
            if run not in self._in_use:
                self.drop(run)
                dropped += 1
        if dropped:
            log.info("streams_evicted", run_count=dropped, total_bytes=self.total_bytes)


def record(offset: int, event: bytes) -> bytes:
    """An event as it is stored and sent. event: JSON without line breaks."""
    return b"id: %d\ndata: %b\n\n" % (offset, event)


def events_in(records: bytes) -> list[bytes]:
    """The JSON of whole records."""
    return [each.partition(b"\ndata: ")[2] for each in records.split(b"\n\n") if each]


def _is_whole(data: bytes) -> bool:
    """Whether data ends with a whole record and includes that record's first line."""
    return data.endswith(b"\n\n") and _ID.search(data) is not None
