"""Writers: the try of a step as it speaks, and how the lines of its request become deltas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from rewake.streams.marks import Step
from rewake.streams.run_log import RunLog

DELTA_BYTES_MAX: Final = 64 * 1024
"""Longest line; longer ones are dropped."""


EARLY_BYTES_MAX: Final = 256 * 1024
"""Deltas of a step whose command is not stored yet."""


class Sink(Protocol):
    """What takes what writers say."""

    def append_deltas(self, run_log: RunLog, step: Step, deltas: list[bytes]) -> None: ...

    def cut(self, run_log: RunLog, step: Step) -> None: ...

    def rest(self, run_log: RunLog) -> None: ...


class Writing:
    """One try of a step as it speaks. is_over: nothing more is taken.

    A step is shown once its command is stored; what its body says before that waits here, up to EARLY_BYTES_MAX.
    is_kept: also when the body has ended by then.
    """

    def __init__(self, sink: Sink, run_log: RunLog, name: str, kind: str | None, agent: str | None) -> None:
        self.name, self.kind, self.agent = name, kind, agent
        self.is_kept = True
        self.is_over = False
        self._sink = sink
        self._log = run_log
        self._step: Step | None = None
        self._early: list[bytes] = []
        self._early_bytes = 0
        self._on_over: Callable[[], None] | None = None

    def put(self, deltas: list[bytes]) -> None:
        """Take deltas, each valid JSON without line breaks."""
        if self.is_over or not deltas:
            return
        if self._step is not None:
            self._sink.append_deltas(self._log, self._step, deltas)
        elif self._early_bytes <= EARLY_BYTES_MAX:
            self._early += deltas
            self._early_bytes += sum(map(len, deltas))

    def attach(self, step: Step) -> None:
        """The step is stored: show what it said."""
        self._step = step
        if self._early:
            self._sink.append_deltas(self._log, step, self._early)
            self._early = []
        if self.is_over:
            self._leave()

    def end(self) -> None:
        """The step's body has said all."""
        self.is_over = True
        if self._step is not None or not self.is_kept:
            self._leave()

    def cut(self) -> None:
        """The try failed: what it said is void."""
        if not self.is_over and self._step is not None:
            self._sink.cut(self._log, self._step)
        self.is_over = True
        self._leave()

    def on_over(self, call: Callable[[], None]) -> None:
        """Call when nothing more is taken."""
        self._on_over = call

    def close(self) -> None:
        """The attempt is over, or its run."""
        if not self.is_over:
            self.is_over = True
            if self._on_over is not None:
                self._on_over()

    def _leave(self) -> None:
        if self in self._log.writers:
            self._log.writers.discard(self)
            if self in self._log.early:
                self._log.early.remove(self)
            if self._step is not None:
                self._step.writers = max(0, self._step.writers - 1)
            self._sink.rest(self._log)


class Lines:
    """Splits what comes into lines of JSON. Lines that are too long or no JSON are left out."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, as JSON without line breaks."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if whole and self._is_skipping:
            del whole[0]
            self._is_skipping = False
        if len(self._rest) > DELTA_BYTES_MAX:
            self._rest, self._is_skipping = b"", True
        return [line for each in whole if (line := _json_line(each)) is not None]


def head_of(line: bytes) -> Any:
    """The first line of a request, None when it is no JSON."""
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _json_line(line: bytes) -> bytes | None:
    line = line.strip()
    if not line or len(line) > DELTA_BYTES_MAX:
        return None
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return msgspec.json.encode(value) if b"\r" in line else line
