"""The data folder is its owner's alone: modes 0700 and 0600 whatever the umask, and no file in it is a symbolic link.

Journals hold what callers send, `authorization` headers included. A link in the place of the lock or the database would
have us overwrite what it points to. A folder that exists keeps its mode, which somebody may have chosen; its files do
not. Called by store.py, lock.py and backup.py.
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
"""How to choose it, at the end of a hint: the reader has a command or an embedded engine."""

log = structlog.get_logger("rewake.store")


def make_folder(path: Path) -> None:
    """Make the folder if it is missing, for its owner alone; a warning if others may read the one that is there."""
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
    """A descriptor to read and write the file, which is made if it is missing. Raises OSError; RW5004 for a link."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    except OSError:
        if path.is_symlink():
            raise _is_link(path) from None
        raise
    with suppress(PermissionError):  # another user's file: whoever made it chose its mode
        os.fchmod(descriptor, FILE_MODE)
    return descriptor


def make_private(*paths: Path) -> None:
    """Make the first of the files if it is missing, and all of them private. Nobody may have them open.

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
