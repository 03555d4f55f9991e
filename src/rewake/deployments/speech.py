"""Streams of steps in a worker, over the worker's socket: without HTTP and without further connections.

SPEAK opens the stream of a step, with the URL in its attempt's header and the first line of a request. SAID is a delta.
ALL_SAID and CUT end it. The child numbers these streams. Both ends use rewake.ext.direct. Used by worker_main.py in the
child and worker.py in the engine.
"""

from __future__ import annotations

import itertools
import json
import threading
from typing import Any, Final

from rewake.deployments import mux
from rewake.ext import direct

UNSENT_BYTES_MAX: Final = 256 * 1024
"""Waiting bytes of attempts and deltas in the socket, above which deltas are dropped."""


class Speech:
    """The child's end, for `direct.relay`."""

    def __init__(self, link: mux.MuxProtocol) -> None:
        self.link = link
        self.thread = threading.get_ident()
        self._numbers = itertools.count(1)

    def open(self, url: str, head: dict[str, Any]) -> direct.Writing | None:
        """The stream of a step; None if its head is too long or the link is closed."""
        if self.link.loop.is_closed():
            return None
        payload = json.dumps([url, head]).encode()
        if len(payload) > mux.CHUNK_BYTES_MAX:
            return None
        spoken = _Spoken(self, next(self._numbers))
        spoken.write(mux.SPEAK, payload)
        return spoken


class _Spoken:
    """One try of a step."""

    def __init__(self, speech: Speech, number: int) -> None:
        self._speech = speech
        self._number = number

    def put(self, deltas: list[bytes]) -> None:
        """Send deltas, or drop them."""
        transport = self._speech.link.transport
        if transport is None or transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            return
        for delta in deltas:
            if len(delta) <= mux.CHUNK_BYTES_MAX:
                self.write(mux.SAID, delta)

    def end(self) -> None:
        """The step's output is complete."""
        self.write(mux.ALL_SAID)

    def cut(self) -> None:
        """The try failed."""
        self.write(mux.CUT)

    def write(self, kind: int, payload: bytes = b"") -> None:
        """Write a frame, from any thread: a body may run on its own event loop."""
        link = self._speech.link
        if threading.get_ident() == self._speech.thread:
            link.write_frame(kind, self._number, payload)
        else:
            link.loop.call_soon_threadsafe(link.write_frame, kind, self._number, payload)


class Hearing:
    """The engine's end of one worker."""

    def __init__(self) -> None:
        self._writings: dict[int, direct.Writing] = {}

    def take(self, kind: int, number: int, payload: bytes) -> None:
        """Process a frame of kind SPEAK or above. Raises MuxError if it is not valid."""
        if kind == mux.SPEAK:
            self._open(number, payload)
        elif kind not in (mux.SAID, mux.ALL_SAID, mux.CUT):
            raise mux.MuxError(f"a frame of kind {kind} came from the worker")
        elif (writing := self._writings.get(number)) is None:
            return  # The attempt was over before the stream began.
        elif kind == mux.SAID:
            writing.put([payload])
        else:
            del self._writings[number]
            (writing.end if kind == mux.ALL_SAID else writing.cut)()

    def lost(self) -> None:
        """The worker died: cut its streams."""
        writings, self._writings = self._writings, {}
        for writing in writings.values():
            writing.cut()

    def _open(self, number: int, payload: bytes) -> None:
        try:
            url, head = json.loads(payload)
            writing = direct.open_direct(url, head)
        except (ValueError, AttributeError, TypeError) as problem:
            raise mux.MuxError(f"a worker sent an invalid stream head: {payload[:80]!r}") from problem
        if writing is not None:
            self._writings[number] = writing
