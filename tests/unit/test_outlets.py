"""Outlets: a pipe that nobody reads blocks nobody, and what was dropped is counted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rewake.outlets import LINE_BYTES_MAX, QUEUE_BYTES_MAX, ChildOutput, Outlet, OutletStream, outlet_of

ROOT = Path(__file__).parents[2]
PIPE_BYTES = 64 * 1024


class Pipe:
    """A pipe with an outlet before it. Nobody reads until `read` does."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.outlet = Outlet(self.write_end, queue_bytes_max=10 * PIPE_BYTES)

    def read(self, until: bytes) -> bytes:
        data = b""
        while not data.endswith(until):
            data += os.read(self.read_end, PIPE_BYTES)
        return data


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    opened = Pipe()
    yield opened
    opened.outlet.flush()
    os.close(opened.write_end)
    os.close(opened.read_end)


def test_lines_arrive_in_order(pipe: Pipe) -> None:
    stream = OutletStream(pipe.outlet)
    for number in range(1000):
        print(number, file=stream)
    print("end \udcff", file=stream, flush=True)
    assert pipe.read(b"end \\udcff\n").split()[:1000] == [b"%d" % number for number in range(1000)]


def test_nobody_reads(pipe: Pipe) -> None:
    """The writer is never kept waiting; the reader who comes at last is shown how much it missed."""
    pipe.outlet.notice = lambda count: f"missed {count}\n"
    for _ in range(100):
        pipe.outlet.write(bytes(PIPE_BYTES))
    pipe.outlet.flush(0)  # gives up at once
    received, kept, missed = b"", 0, 0
    while kept + missed < 100:
        received += pipe.read(b"\n")
        kept = received.count(0) // PIPE_BYTES
        missed = sum(map(int, re.findall(rb"missed (\d+)", received)))
    assert kept + missed == 100 and 10 <= kept <= 12
    pipe.outlet.flush()  # what has been read counts as written a moment later
    pipe.outlet.write(b"and on\n")
    assert pipe.read(b"\n") == b"and on\n"


def test_a_reader_that_has_gone_is_no_error() -> None:
    read_end, write_end = os.pipe()
    outlet = Outlet(write_end)
    os.close(read_end)
    outlet.write(b"to nobody")
    outlet.flush()
    os.close(write_end)


def test_terminals_and_files_are_left_as_they_are(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        assert outlet_of(file.fileno()) is None
    assert outlet_of(os.open(os.devnull, os.O_WRONLY)) is None
    assert outlet_of(2**20) is None, "closed"


def test_output_of_a_child_is_passed_on_by_whole_lines(pipe: Pipe) -> None:
    output = ChildOutput(pipe.outlet)
    code = "import os; [os.write(1, part) for part in (b'one\\ntw', b'o\\n', b'three')]; os.write(1, b'x' * 100_000)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=output.fd):
        output.start()
        received = pipe.read(b"x" * 1000)
        while len(received) < len("one\ntwo\nthree") + 100_000:
            received += os.read(pipe.read_end, LINE_BYTES_MAX)
    output.join(5)
    assert received == b"one\ntwo\nthree" + b"x" * 100_000


def test_a_child_that_was_not_started_leaves_nothing_open(pipe: Pipe) -> None:
    process = psutil.Process()
    before = threading.active_count(), process.num_fds()
    ChildOutput(pipe.outlet).discard()
    assert (threading.active_count(), process.num_fds()) == before


def test_a_process_whose_output_nobody_reads_goes_on_and_ends() -> None:
    """Printing, logging, in a child of a fork as well."""
    code = f"""
import os, sys
from rewake.cli.logs import configure_logging
configure_logging("info", "auto")
import structlog
for stream in (sys.stdout, sys.stderr):
    for _ in range(80):
        print("x" * 100_000, file=stream)
structlog.get_logger().info("logged", size={QUEUE_BYTES_MAX})
if pid := os.fork():
    os.waitpid(pid, 0)
print("more" * 100_000)
os._exit(7)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) as process:  # type: ignore[call-overload]
        assert process.wait(30) == 7
