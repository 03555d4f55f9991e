"""The line of the app that started a framework. The framework's own tasks begin with an empty stack, without that line.

A host of handlers looks here to report the line that made an entry; `rewake.ext` itself does not use it.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import Final

FRAMES_MAX: Final = 40
"""Innermost frames of the stack that are kept."""

started_at: ContextVar[tuple[tuple[CodeType, int], ...]] = ContextVar("rewake_started_at", default=())


def note_start() -> None:
    """Store the current stack, for this task and for the tasks that it starts."""
    frames: list[tuple[CodeType, int]] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and len(frames) < FRAMES_MAX:
        frames.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    started_at.set(tuple(frames))
