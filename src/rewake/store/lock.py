"""The lock on a data directory: one engine at a time, in any process.

The operating system locks `rewake.lock` and releases it with its holder, even after kill -9. The file's content only
names the holder for the error message. Called by store.py and backup.py.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path
from typing import Final

from rewake.errors import ErrorCode, RewakeError
from rewake.store.private import OTHER_DIRECTORY, open_private

LOCK_FILE: Final = "rewake.lock"


class DirectoryLock:
    """Held from construction until `release`. Raises RW5001 if another engine holds it."""

    def __init__(self, directory: Path, now_ms: int) -> None:
        self._descriptor = open_private(directory / LOCK_FILE)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            content = os.pread(self._descriptor, 4096, 0)
            os.close(self._descriptor)
            raise _locked(directory, content) from None
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "started_at_ms": now_ms}
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(holder).encode() + b"\n", 0)

    def release(self) -> None:
        """Release the lock. The file stays: if it were removed, two engines could lock two files."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_in_use(directory: Path) -> bool:
    """Whether an engine holds the directory now."""
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _locked(directory: Path, content: bytes) -> RewakeError:
    try:
        holder = json.loads(content)
        pid, host = int(holder["pid"]), str(holder["host"])
        who = f"process {pid}" + ("" if host == socket.gethostname() else f" on {host}")
    except (ValueError, KeyError, TypeError):
        pid, who = 0, "another process"
    return RewakeError(
        ErrorCode.STORE_LOCKED,
        f"The data directory {str(directory)!r} is in use by {who}.\n"
        "Two engines on one database would both run every invocation.",
        "Stop that engine, or give this one a directory of its own: " + OTHER_DIRECTORY,
        pid=pid,
    )
