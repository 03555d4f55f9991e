"""Outlets: standard output and error that never block the writer, even if nobody reads the pipe.

A write to a full pipe waits for its reader, so a log collector that hangs would stop the engine or a worker. An Outlet
puts writes into a bounded queue, and a thread writes them to the descriptor. Lines that do not fit are dropped and
counted; the count is written once there is room again. Terminals and files get no outlet. Used by cli/logs.py for this
process and by deployments/worker.py for the output of its children.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

QUEUE_BYTES_MAX: Final = 4 * 1024 * 1024
LINE_BYTES_MAX: Final = 64 * 1024
"""A longer line of a child is passed on in pieces."""

CLOSE_WITHIN_S: Final = 1.0
"""How long the end of the process waits until the last lines are read."""

Notice = Callable[[int], str]


def _plain_notice(count: int) -> str:
    return f"{count} writes to this output were dropped, because nobody read them\n"


class Outlet:
    """A descriptor with a queue before it. notice: makes the line that reports dropped writes."""

    def __init__(self, fd: int, *, queue_bytes_max: int = QUEUE_BYTES_MAX) -> None:
        self.fd = fd
        self.notice: Notice = _plain_notice
        self._queue_bytes_max = queue_bytes_max
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # an outlet lives as long as its process

    def _reset(self) -> None:
        """Start again in a forked child, which does not have the thread."""
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def write(self, data: bytes) -> None:
        """Queue data, or drop it if the queue is full. Never waits for the reader."""
        with self._changed:
            if self._size + len(data) > self._queue_bytes_max:
                self._dropped += 1
                return
            self._queue.append(data)
            self._size += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._drain, name=f"outlet-{self.fd}", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout_s: float = CLOSE_WITHIN_S) -> None:
        """Wait until all is written, for at most `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            self._changed.wait_for(lambda: not self._size, max(deadline_s - time.monotonic(), 0))

    def _drain(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._dropped)
                data = b"".join(self._queue)
                self._queue.clear()
                dropped, self._dropped = self._dropped, 0
            if dropped:
                data += self.notice(dropped).encode()
            with contextlib.suppress(OSError):  # the reader has closed the pipe
                self._write_all(data)
            with self._changed:
                self._size = sum(map(len, self._queue))
                self._changed.notify_all()

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view[:LINE_BYTES_MAX]) :]


_outlets: Final[dict[int, Outlet]] = {}


def outlet_of(fd: int) -> Outlet | None:
    """The outlet for this descriptor; None for a file or a terminal, where writes do not wait for a reader."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return None
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return None
    if fd not in _outlets:
        _outlets[fd] = Outlet(fd)
    return _outlets[fd]


class OutletStream(io.TextIOBase):
    """A text stream on an outlet, to replace sys.stdout or sys.stderr."""

    encoding = "utf-8"

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    def write(self, text: str) -> int:
        self._outlet.write(text.encode(errors="backslashreplace"))
        return len(text)

    def fileno(self) -> int:
        return self._outlet.fd

    def flush(self) -> None:
        """Nothing to do: the outlet writes by itself, and this must not wait for the reader."""


def release_output(notice: Notice | None = None) -> None:
    """Put outlets before this process's output and error, if a reader could block them."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        outlet = outlet_of(fd)
        if outlet is not None and getattr(sys, name) is getattr(sys, f"__{name}__"):
            outlet.notice = notice or outlet.notice
            setattr(sys, name, OutletStream(outlet))


def flush_output() -> None:
    """Wait a moment for the last lines, at the end of the process."""
    for outlet in _outlets.values():
        outlet.flush()


class ChildOutput:
    """What a child process writes to one of its descriptors, passed on line by line through an outlet of ours.

    fd: the descriptor that the child inherits. Then call start() or, without a child, discard().
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._read_end, self.fd = os.pipe()

    def start(self) -> None:
        """The child has its end: read until it, and all that it started, are gone."""
        os.close(self.fd)
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until all it wrote has been passed on; what it started may hold its end open for longer."""
        self._thread.join(timeout_s)

    def discard(self) -> None:
        """The child was not started."""
        os.close(self.fd)
        os.close(self._read_end)

    def _pass_on(self) -> None:
        rest = b""
        with io.FileIO(self._read_end) as pipe:
            while data := pipe.read(LINE_BYTES_MAX):
                lines, found, after = (rest + data).rpartition(b"\n")
                if found:
                    self._outlet.write(lines + found)
                rest = after
                if len(rest) > LINE_BYTES_MAX:
                    self._outlet.write(rest)
                    rest = b""
        if rest:
            self._outlet.write(rest)
