"""What outlives the tests: processes and temporary files, found at the end of a run, ended or removed, and reported.

Every process that a test starts inherits a mark in its environment, the name of the test (from pytest), and a folder
for temporary files that is empty when the run begins. conftest.py makes a run that leaves anything fail.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path

import psutil

MARK = "PYTEST_SESSION_MARK"
TEST = "PYTEST_CURRENT_TEST"
FOLDER = "TMPDIR"
PYTEST_FOLDERS = "PYTEST_DEBUG_TEMPROOT"
"""Where pytest makes the folders of `tmp_path`, which it keeps for a while: not in ours."""

LEAVES_WITHIN_S = 3.0
"""Time for those that are ending when the last test has passed."""


def mark_session() -> None:
    """Give this process, and all that it starts, what this module looks for; a worker of xdist has it already."""
    if MARK not in os.environ:
        os.environ[MARK] = secrets.token_hex(8)
        os.environ.setdefault(PYTEST_FOLDERS, tempfile.gettempdir())
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="rewake-tests-")
        tempfile.tempdir = None  # or tempfile would remember the other one


def leftovers() -> list[psutil.Process]:
    """Marked processes, but for this one and those that started it."""
    mark = os.environ[MARK]
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in psutil.process_iter() if process.pid not in own and _variable(process, MARK) == mark]


def _variable(process: psutil.Process, name: str) -> str | None:
    try:
        return process.environ().get(name)
    except (psutil.Error, OSError):
        return None


def end_leftovers() -> list[str]:
    """Kill what is left, and say what it was: one line each, with the test that started it."""
    _, left = psutil.wait_procs(leftovers(), timeout=LEAVES_WITHIN_S)
    lines = []
    for process in left:
        try:
            command = " ".join(process.cmdline())[:200]
            lines.append(f"{process.pid} of {_variable(process, TEST) or 'no test'}: {command}")
            process.kill()
        except psutil.Error:
            continue  # it has ended by now
    psutil.wait_procs(left, timeout=LEAVES_WITHIN_S)
    return lines


def remove_leftovers() -> list[str]:
    """Remove the folder for temporary files, and say what was in it."""
    folder = Path(os.environ[FOLDER])
    left = sorted(path.name for path in folder.iterdir())
    shutil.rmtree(folder)
    return left
