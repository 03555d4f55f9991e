"""The callers: a closed loop of HTTP/1.1 requests from one thread, every answer checked.

Each caller has one connection and sends its next request when the answer to the last has come. One epoll loop over
plain sockets keeps the cost at some 30 us a request, so that the peers, not the callers, use the machine. Runs as its
own process, `python -m bench.load`: a `Spec` as JSON on stdin, an `Outcome` as JSON on stdout. The same for every peer;
what is sent is in works.py.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass

from bench.works import Spec, Work, make_work

ANSWER_SECONDS_MAX = 30.0
ERRORS_KEPT_MAX = 5
RECEIVE_BYTES_MAX = 65536


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came back. `latencies_us` has one number for each right answer; `cpu_seconds` is the callers' own.

    answered_at_ms: when each of these answers came, by the clock of the machine.
    counts, ids: what the work learned for the next one (see works.py).
    """

    seconds: float
    latencies_us: list[int]
    answered_at_ms: list[int]
    error_count: int
    errors: list[str]
    cpu_seconds: float
    counts: dict[str, int]
    ids: list[str]


class Caller:
    """One connection and the request that is under way on it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.tag = ""
        self.sent_at_ns = 0

    def send(self, request: bytes, tag: str) -> None:
        """Starts the clock and sends; a request is small enough to fit the socket's buffer."""
        self.received, self.tag = b"", tag
        self.sent_at_ns = time.perf_counter_ns()
        self.socket.sendall(request)

    def receive(self) -> tuple[int, bytes, bool] | None:
        """What `parse_response` makes of all that has come so far."""
        data = self.socket.recv(RECEIVE_BYTES_MAX)
        self.received += data
        response = parse_response(self.received)
        if response is None and not data:
            raise ConnectionError("the connection was closed before the answer")
        return response


class Loop:
    """Drives all callers until the spec is fulfilled and every answer has come or is overdue."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.work: Work = make_work(spec)
        self.callers: dict[int, Caller] = {}
        self.poll = select.epoll()
        self.sent_count = 0
        self.ends_at = 0.0
        self.latencies_us: list[int] = []
        self.answered_at_ms: list[int] = []
        self.errors: list[str] = []
        self.error_count = 0

    def run(self) -> Outcome:
        """Runs it all and gives the outcome."""
        cpu_before = time.process_time()
        started = time.perf_counter()
        self.ends_at = started + self.spec.seconds
        for _ in range(self.spec.callers):
            self.open_caller()
        while self.callers:
            ready = self.poll.poll(ANSWER_SECONDS_MAX)
            if not ready:
                self.fail(f"no answer within {ANSWER_SECONDS_MAX:.0f} s to {len(self.callers)} requests")
                break
            for fd, _ in ready:
                self.on_readable(self.callers[fd])
        seconds = time.perf_counter() - started
        cpu_seconds = time.process_time() - cpu_before
        for error in self.work.finish():
            self.fail(error)
        return Outcome(
            seconds=seconds,
            latencies_us=self.latencies_us,
            answered_at_ms=self.answered_at_ms,
            error_count=self.error_count,
            errors=self.errors,
            cpu_seconds=cpu_seconds,
            counts=self.work.counts,
            ids=self.work.ids,
        )

    @property
    def is_over(self) -> bool:
        """Whether no further request is to be sent."""
        return self.sent_count >= self.work.requests_max or time.perf_counter() >= self.ends_at

    def on_readable(self, caller: Caller) -> None:
        """Takes in an answer, checks it, and lets the caller go on."""
        try:
            response = caller.receive()
            latency_us = (time.perf_counter_ns() - caller.sent_at_ns) // 1000
            if response is None:
                return
            status, body, stays_open = response
            if self.work.is_right(caller.tag, status, body):
                self.latencies_us.append(latency_us)
                self.answered_at_ms.append(time.time_ns() // 1_000_000)
            else:
                self.fail(f"{self.spec.work} {caller.tag}: {status} {body[:200]!r}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.fail(f"{self.spec.work} {caller.tag}: {error!r}")
            stays_open = False
        if stays_open:
            self.send_next(caller)
        else:
            self.close_caller(caller)
            self.open_caller()

    def open_caller(self) -> None:
        """A caller with a connection of its own, unless nothing is left to send."""
        if self.is_over:
            return
        try:
            caller = Caller(self.spec.port)
        except OSError as error:
            self.fail(f"cannot connect: {error!r}")
            return
        self.callers[caller.socket.fileno()] = caller
        self.poll.register(caller.socket.fileno(), select.EPOLLIN)
        self.send_next(caller)

    def send_next(self, caller: Caller) -> None:
        """The caller's next request, or its end."""
        if self.is_over:
            self.close_caller(caller)
            return
        request, tag = self.work.request(self.sent_count)
        self.sent_count += 1
        try:
            caller.send(request, tag)
        except OSError as error:
            self.fail(f"{self.spec.work} {tag}: {error!r}")
            self.close_caller(caller)

    def close_caller(self, caller: Caller) -> None:
        """Forgets the caller and closes its connection."""
        fd = caller.socket.fileno()
        self.poll.unregister(fd)
        del self.callers[fd]
        caller.socket.close()

    def fail(self, error: str) -> None:
        """Counts an error and keeps the text of the first few."""
        self.error_count += 1
        if len(self.errors) < ERRORS_KEPT_MAX:
            self.errors.append(error)


def parse_response(data: bytes) -> tuple[int, bytes, bool] | None:
    """Status, body and whether the connection stays open, or None while bytes are missing.

    Both peers send a content-length with every answer, so chunks are not understood.
    """
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = data[:head_end].lower()
    start = head.find(b"\r\ncontent-length:")
    if start < 0:
        raise ValueError(f"answer without content-length: {data[:200]!r}")
    length = int(head[start + len("\r\ncontent-length:") :].split(b"\r\n", 1)[0])
    body = data[head_end + 4 :]
    if len(body) < length:
        return None
    return int(head[len("http/1.1 ") :][:3]), body[:length], b"\r\nconnection: close" not in head


if __name__ == "__main__":
    json.dump(asdict(Loop(Spec(**json.load(sys.stdin))).run()), sys.stdout)
