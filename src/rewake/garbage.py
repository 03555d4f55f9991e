"""Garbage: sets how often a process collects cycles, and returns free memory to the system."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

GC_THRESHOLD: Final = (20_000, 10, 10)
"""Attempts are short and many. With Python's default of 700, collections take a tenth of a small attempt's time."""


def give_back() -> None:
    """Return free memory to the system. Only glibc needs and has this call."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
