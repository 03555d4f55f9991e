"""Makes the data folder private: modes 0700 and 0600 with any umask, and no symbolic link as a file.

Journals hold callers' data, including `authorization` headers. If the lock or the database were a link, the engine
would overwrite the link's target. An existing folder keeps its mode, which somebody may have chosen; its files do not.
Called by store.py, lock.py and backup.py.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from rewake.errors import ErrorCode, RewakeError

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
_OTHERS: Final = 0o077

OTHER_DIRECTORY: Final = "--data DIR, or Engine(path=DIR) in a program"
"""The end of a hint: how to choose another directory, for a command and for an embedded engine."""

log = structlog.get_logger("rewake.store")


def make_folder(path: Path) -> None:
    """Make the folder for its owner alone if it is missing; warn if others may read an existing one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(FOLDER_MODE)
    except FileExistsError:
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir() and mode & _OTHERS:
            log.warning("data_folder_open_to_others", path=str(path), mode=f"{mode:03o}", hint=f"chmod 700 {path}")
    else:
        path.chmod(FOLDER_MODE)


def open_private(path: Path) -> int:
    """A descriptor to read and write the file; a missing one is made. Raises OSError; RW5004 for a link."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    except OSError:
        if path.is_symlink():
            raise _is_link(path) from None
        raise
    with suppress(PermissionError):  # another user's file: its owner chose the mode
        os.fchmod(descriptor, FILE_MODE)
    return descriptor


def make_private(*paths: Path) -> None:
    """Make the first file if it is missing, and all of them private. They must not be open anywhere.

    Raises OSError; RW5004 for a link.
    """
    for path in paths:
        if path.is_symlink():
            raise _is_link(path)
    if not paths[0].exists():
        os.close(open_private(paths[0]))
    for path in paths:
        with suppress(PermissionError, FileNotFoundError):
            if path.stat().st_mode & _OTHERS:
                path.chmod(FILE_MODE)


def _is_link(path: Path) -> RewakeError:
    return RewakeError(
        ErrorCode.STORE_NOT_WRITABLE,
        f"{str(path)!r} is a symbolic link.\nWhat it points to would be overwritten.",
        "Put the file itself there, or make the data folder the link: " + OTHER_DIRECTORY,
    )
