"""Processes that outlive the tests: found at the end of a run by a mark in their environment, ended, and reported.

Every process that a test starts inherits the mark, and from pytest the name of the test. conftest.py makes a run that
leaves any of them fail.
"""

from __future__ import annotations

import os
import secrets

import psutil

MARK = "PYTEST_SESSION_MARK"
TEST = "PYTEST_CURRENT_TEST"
LEAVES_WITHIN_S = 3.0
"""Time for those that are ending when the last test has passed."""


def mark_session() -> None:
    """Give this process, and with it all that it starts, a mark of their own; a worker of xdist has it already."""
    os.environ.setdefault(MARK, secrets.token_hex(8))


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
