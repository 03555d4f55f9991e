"""What steps in a worker say over its socket: frame by frame, bounded, from any thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.ext.kernel.door import Door

from rewake.deployments import mux
from rewake.deployments.speech import UNSENT_BYTES_MAX, Hearing, Speech
from rewake.ext import direct

HEAD = {"step": "Desk: model", "kind": "model"}


class Wire(mux.MuxProtocol):
    """The child's link, whose frames go straight to the engine's end. transport: itself, with so many unsent bytes."""

    def __init__(self) -> None:
        super().__init__(asyncio.new_event_loop())
        self.transport: Any = self
        self.unsent_bytes = 0
        self.hearing = Hearing()
        self.kinds: list[int] = []

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def write_frame(self, kind: int, stream_id: int, payload: bytes = b"") -> None:
        self.kinds.append(kind)
        self.hearing.take(kind, stream_id, payload)


@pytest.fixture
def door() -> Iterator[Door]:
    found = Door()
    direct.doors["engine"] = found.open
    yield found
    del direct.doors["engine"]


@pytest.fixture
def wire() -> Iterator[Wire]:
    found = Wire()
    yield found
    found.loop.close()


def opened(wire: Wire, capability: str = "cap") -> direct.Writing:
    writing = Speech(wire).open(f"direct:engine/{capability}", HEAD)
    assert writing is not None
    return writing


@pytest.mark.parametrize("end", ["end", "cut"])
def test_a_step_speaks_and_ends_or_fails(wire: Wire, door: Door, end: str) -> None:
    writing = opened(wire)
    writing.put([b'"a"', b'"b"'])
    getattr(writing, end)()
    assert door.heard == [("cap", HEAD), b'"a"', b'"b"', end]
    writing.put([b'"late"'])
    wire.hearing.lost()
    assert door.heard[-1] == end


def test_a_worker_that_is_lost_cuts_what_it_said(wire: Wire, door: Door) -> None:
    opened(wire).put([b'"a"'])
    wire.hearing.lost()
    assert door.heard[-1] == "cut"


def test_an_attempt_that_is_over_is_not_heard(wire: Wire, door: Door) -> None:
    writing = opened(wire, "over")
    writing.put([b'"a"'])
    writing.end()
    assert door.heard == [("over", HEAD)]


def test_what_is_too_much_is_dropped(wire: Wire, door: Door) -> None:
    assert Speech(wire).open("direct:engine/cap", {"step": "x" * mux.CHUNK_BYTES_MAX}) is None
    writing = opened(wire)
    writing.put([b"x" * (mux.CHUNK_BYTES_MAX + 1), b'"fits"'])
    wire.unsent_bytes = UNSENT_BYTES_MAX + 1
    writing.put([b'"dropped"'])
    writing.end()
    assert door.heard == [("cap", HEAD), b'"fits"', "end"]


def test_a_body_on_a_loop_of_its_own_speaks_on_that_of_the_link(wire: Wire, door: Door) -> None:
    writing = opened(wire)
    thread = threading.Thread(target=lambda: writing.put([b'"a"']))
    thread.start()
    thread.join()
    assert door.heard == [("cap", HEAD)]
    wire.loop.run_until_complete(asyncio.sleep(0))
    assert door.heard == [("cap", HEAD), b'"a"']


@pytest.mark.parametrize(("kind", "payload"), [(mux.SPEAK, b"["), (mux.SPEAK, b"[1, 2]"), (mux.CUT + 1, b"")])
def test_what_no_worker_says_ends_the_link(wire: Wire, kind: int, payload: bytes) -> None:
    with pytest.raises(mux.MuxError):
        wire.hearing.take(kind, 1, payload)
