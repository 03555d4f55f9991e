"""Live streams: what they cost, and whether others notice. `python -m bench.streams`, and a work of `python -m bench`.

Handlers run in workers of `rewake run` and say what time it is; readers take server-sent events from the ingress. What
a delta costs is the processor time of the same runs with and without speaking. Neighbours are callers of route2. Both
are measured in ROUNDS pairs of a silent and a speaking window, and the medians count: a busy machine slows both.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from bench import callers, processes
from bench.npm import PeerError
from bench.peers import Rewake
from bench.report import percentile
from bench.works import Spec
from rewake.server import new_event_loop

FIRST_MS_MAX = 3.0
NEIGHBOURS_ADDED_MAX = 0.10
SPEAKERS = 64
DELTAS_PER_SECOND = 50.0
READERS = 1_000
READERS_PER_SECOND = 50.0
DEAF_READERS = 200
FLOOD_BYTES = 6 * 1024 * 1024
FIRST_RUNS = 60
NEIGHBOURS = 4
ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The figures. first_ms: from put_delta to a reader, of the first delta of a run.   later_ms: of the others.

    engine_us, worker_us: processor time of one delta.   alone_ms, beside_ms: 99th percentile of neighbours' calls while
    the runs are silent and while they speak.   readers_ms: median lag with many readers of one run.
    deaf_mib: memory that the engine took on for readers that do not read.
    """

    first_ms: float
    later_ms: float
    engine_us: float
    worker_us: float
    alone_ms: float
    beside_ms: float
    readers_ms: float
    readers_cores: float
    readers_missing: int
    deaf_mib: float
    errors: list[str]

    def lines(self) -> list[str]:
        """The figures for the reader, goals behind them."""
        added = self.beside_ms / self.alone_ms - 1 if self.alone_ms else 0.0
        return [
            f"streams: first delta {self.first_ms:.2f} ms after it was said (goal {FIRST_MS_MAX:.0f}: "
            f"{_verdict(self.first_ms < FIRST_MS_MAX)}), later ones {self.later_ms:.2f} ms",
            f"streams: a delta costs {self.engine_us:.0f} us in the engine and {self.worker_us:.0f} us in the worker",
            f"streams: {SPEAKERS} runs at {DELTAS_PER_SECOND:.0f} deltas/s: p99 of other calls {self.alone_ms:.1f} ms "
            f"beside silent ones, {self.beside_ms:.1f} ms beside speaking ones, {added:+.0%} "
            f"(goal {NEIGHBOURS_ADDED_MAX:.0%}: {_verdict(added <= NEIGHBOURS_ADDED_MAX)})",
            f"streams: {READERS} readers of one run at {READERS_PER_SECOND:.0f} deltas/s: {self.readers_ms:.0f} ms late"
            f" at the median, {self.readers_cores:.2f} cores in the engine, {self.readers_missing} deltas missing",
            f"streams: {DEAF_READERS} readers that do not read a run of {FLOOD_BYTES >> 20} MiB take "
            f"{self.deaf_mib:.0f} MiB",
        ]


class StreamsPeer(Rewake):
    """`rewake run` with an app that speaks."""

    name = "rewake-streams"
    app = "bench/streams_app.py"


def measure(seconds: float) -> Streams:
    """All figures, on an engine of its own. Raises PeerError when it does not start."""
    peer = StreamsPeer()
    errors: list[str] = []
    try:
        peer.start()
        asyncio.run(first_deltas(peer, 5))
        firsts, laters = asyncio.run(first_deltas(peer, FIRST_RUNS))
        silent, spoken = zip(*(pair(peer, seconds) for _ in range(ROUNDS)), strict=True)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            lags, cores, missing = runner.run(many_readers(peer, seconds))
        asyncio.run(deaf_readers(peer))  # what the run itself takes
        deaf_mib = asyncio.run(deaf_readers(peer))
    finally:
        peer.stop()
    if missing:
        errors.append(f"{missing} deltas did not reach their readers")
    return Streams(
        first_ms=statistics.median(firsts),
        later_ms=statistics.median(laters),
        engine_us=statistics.median(
            there.engine_us - here.engine_us for here, there in zip(silent, spoken, strict=True)
        ),
        worker_us=statistics.median(
            there.worker_us - here.worker_us for here, there in zip(silent, spoken, strict=True)
        ),
        alone_ms=statistics.median(window.others_ms for window in silent),
        beside_ms=statistics.median(window.others_ms for window in spoken),
        readers_ms=statistics.median(lags),
        readers_cores=cores,
        readers_missing=missing,
        deaf_mib=deaf_mib,
        errors=errors,
    )


_DELTA = b'data: {"type":"delta"'
_DATA = b'"data":"'
_ENDED = b'data: {"type":"ended"'


class Events:
    """Server-sent events of one request."""

    def __init__(self, peer: StreamsPeer, method: str, path: str, body: object = None) -> None:
        self._peer, self._method, self._path, self._body = peer, method, path, body
        self.invocation_id = ""

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._peer.ingress_port)
        body = b"" if self._body is None else json.dumps(self._body).encode()
        kind = "content-type: application/json\r\n" if body else ""
        head = f"{self._method} {self._path} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n{kind}"
        self._writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        if " 200 " not in answer.split("\r\n", 1)[0]:
            raise PeerError(f"{self._path} answered {answer}")
        self.invocation_id = answer.partition("x-restate-id: ")[2].partition("\r\n")[0]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def lags_ms(self) -> list[float]:
        """How long each delta was under way, up to the end of the run."""
        lags: list[float] = []
        rest = b""
        while data := await self._reader.read(1 << 16):
            now_ns = time.time_ns()
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:  # not parsed as JSON: a thousand readers would be slower than the engine
                if line.startswith(_DELTA):
                    lags.append((now_ns - int(line.partition(_DATA)[2].partition(b'"')[0])) / 1e6)
                elif line.startswith(_ENDED):
                    return lags
        return lags


async def first_deltas(peer: StreamsPeer, count: int) -> tuple[list[float], list[float]]:
    """Lags of first deltas, and of those after them, of runs one after the other."""
    firsts, laters = [], list[float]()
    for _ in range(count):
        async with Events(peer, "POST", "/Speaker/say", [0.1, DELTAS_PER_SECOND, False]) as events:
            first, *later = await events.lags_ms()
            firsts.append(first)
            laters += later
    return firsts, laters


@dataclass(frozen=True, slots=True)
class Window:
    """Many runs at work. engine_us, worker_us: processor time a delta, said or not.   others_ms: p99 of calls."""

    engine_us: float
    worker_us: float
    others_ms: float


def pair(peer: StreamsPeer, seconds: float) -> tuple[Window, Window]:
    """The same runs silent, and speaking."""
    return speaking(peer, seconds, is_silent=True), speaking(peer, seconds, is_silent=False)


def speaking(peer: StreamsPeer, seconds: float, *, is_silent: bool) -> Window:
    """Many runs alone, for their processor time, and then with others' calls beside them."""

    def cpu() -> tuple[float, float]:
        engine, *workers = peer.processes()
        return processes.cpu_seconds_of([engine]), processes.cpu_seconds_of(workers)

    def send() -> None:
        body = json.dumps([seconds, DELTAS_PER_SECOND, is_silent]).encode()
        for _ in range(SPEAKERS):
            status, answer = peer.call("POST", "/Speaker/say/send", body)
            if status != 202:
                raise PeerError(f"a send answered {status} {answer!r}")

    before = cpu()
    send()
    time.sleep(seconds + 0.5)
    count = SPEAKERS * DELTAS_PER_SECOND * seconds
    engine_us, worker_us = (1e6 * (there - here) / count for there, here in zip(cpu(), before, strict=True))
    send()
    time.sleep(seconds * 0.15)  # their beginning is a load of its own
    outcome = callers.load(Spec(port=peer.ingress_port, work="route2", callers=NEIGHBOURS, seconds=seconds * 0.75))
    time.sleep(seconds * 0.2 + 0.5)
    return Window(engine_us, worker_us, percentile(outcome.latencies_us, 99) / 1000)


async def many_readers(peer: StreamsPeer, seconds: float) -> tuple[list[float], float, int]:
    """Lags at many readers of one run, the engine's cores meanwhile, and how many deltas did not come."""
    async with contextlib.AsyncExitStack() as stack:
        given = [seconds, READERS_PER_SECOND, False]
        first = await stack.enter_async_context(Events(peer, "POST", "/Crowd/readers/run", given))
        path = f"/restate/stream/{first.invocation_id}"
        others = [await stack.enter_async_context(Events(peer, "GET", path)) for _ in range(READERS - 1)]
        await asyncio.to_thread(peer.call, "POST", "/Crowd/readers/begin")
        engine = peer.processes()[:1]
        before, began = processes.cpu_seconds_of(engine), time.perf_counter()
        found = await asyncio.gather(*(events.lags_ms() for events in (first, *others)))
        cores = (processes.cpu_seconds_of(engine) - before) / (time.perf_counter() - began)
    expected = max(map(len, found))
    lags = [lag for each in found for lag in each]
    return lags, cores, sum(expected - len(each) for each in found)


async def deaf_readers(peer: StreamsPeer) -> float:
    """Memory of the engine for readers that take nothing of a run that says much."""
    engine = peer.processes()[:1]
    async with contextlib.AsyncExitStack() as stack:
        status, answer = await asyncio.to_thread(
            peer.call, "POST", "/Speaker/flood/send", json.dumps(FLOOD_BYTES).encode()
        )
        if status != 202:
            raise PeerError(f"a send answered {status} {answer!r}")
        path = f"/restate/stream/{json.loads(answer)['invocationId']}"
        before = processes.memory_of(engine).mib
        for _ in range(DEAF_READERS):
            await stack.enter_async_context(Events(peer, "GET", path))
        await asyncio.to_thread(peer.call, "GET", path.replace("/stream/", "/attach/"))
        await asyncio.sleep(1.0)
        return processes.memory_of(engine).mib - before


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "NOT met"


def main(say: Callable[[str], None] = print) -> None:
    """The streams alone."""
    measured = measure(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)
    for line in [*measured.lines(), *(f"error: {error}" for error in measured.errors)]:
        say(line)


if __name__ == "__main__":
    main()
