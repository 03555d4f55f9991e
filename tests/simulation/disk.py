"""A disk that forgets: an SQLite VFS whose power can be cut, and whose writes and syncs can fail.

Files lie on the real disk, so everything works as ever. Beside that, the disk knows of each file what was synced last
and what was written since. `cut` makes the files as they may be after a power cut: of what was not synced, each write
is there, missing, or there up to some sector. That order means nothing to a disk is the point.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

SECTOR_BYTES: Final = 512
REAL: Final = "unix"
NAME: Final = "rewake-forgetting"

Write = tuple[int, bytes | None]
"""An offset and what was written there; None for a truncation to that length."""


class _Kept:
    """One file: as it was synced, and what was written since."""

    def __init__(self, synced: bytes) -> None:
        self.synced = bytearray(synced)
        self.since: list[Write] = []

    def sync(self) -> None:
        for write in self.since:
            _apply(self.synced, write)
        self.since = []

    def after_cut(self, chance: random.Random) -> bytes:
        content = bytearray(self.synced)
        for offset, data in self.since:
            fate = chance.random()
            if data is None or fate < 0.4:
                if fate < 0.7:
                    _apply(content, (offset, data))
            elif fate < 0.6:
                _apply(content, (offset, data[: chance.randrange(len(data) // SECTOR_BYTES + 1) * SECTOR_BYTES]))
        return bytes(content)


def _apply(content: bytearray, write: Write) -> None:
    offset, data = write
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class ForgettingDisk(apsw.VFS):
    """before: called ahead of each write, truncation and sync with its kind; what it raises is what the disk says.

    lock: held by each of them, since checkpoints have a thread of their own.
    """

    def __init__(self) -> None:
        super().__init__(NAME, REAL)
        self.files: dict[str, _Kept] = {}
        self.before: Callable[[str], None] = lambda _: None
        self.lock = threading.RLock()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  SQLite's
        return _File(self, name, flags)

    def xDelete(self, name: str, sync_folder: bool) -> None:  # noqa: N802, FBT001  SQLite's
        with self.lock:
            super().xDelete(name, sync_folder)
            self.files.pop(name, None)

    def cut(self, folder: Path, chance: random.Random) -> dict[str, bytes]:
        """The files of a folder by name, as they may be after a power cut at this moment."""
        with self.lock:
            inside = {Path(name): kept for name, kept in self.files.items() if Path(name).parent == folder}
            return {path.name: kept.after_cut(chance) for path, kept in inside.items()}

    def forget(self, folder: Path) -> None:
        """The files of a folder are gone."""
        with self.lock:
            self.files = {name: kept for name, kept in self.files.items() if Path(name).parent != folder}


class _File(apsw.VFSFile):
    def __init__(self, disk: ForgettingDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(REAL, name, flags)
        self._disk = disk
        place = name.filename() if isinstance(name, apsw.URIFilename) else name
        if place is None:
            self._kept = _Kept(b"")
        else:
            found = Path(place)
            self._kept = disk.files.setdefault(place, _Kept(found.read_bytes() if found.exists() else b""))

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  SQLite's
        with self._disk.lock:
            self._disk.before("write")
            super().xWrite(data, offset)
            self._kept.since.append((offset, bytes(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802  SQLite's
        with self._disk.lock:
            self._disk.before("truncate")
            super().xTruncate(size)
            self._kept.since.append((size, None))

    def xSync(self, flags: int) -> None:  # noqa: N802  SQLite's
        with self._disk.lock:
            self._disk.before("sync")
            super().xSync(flags)
            self._kept.sync()


@contextmanager
def forgetting_disk() -> Iterator[ForgettingDisk]:
    """The disk that every database is opened on until the `with` ends. Close them before."""
    disk = ForgettingDisk()
    apsw.set_default_vfs(NAME)
    try:
        yield disk
    finally:
        apsw.set_default_vfs(REAL)
        disk.unregister()
