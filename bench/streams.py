"""Live streams: what they cost, and whether others notice. `python -m bench.streams`, and a work of `python -m bench`.

Handlers run in workers of `rewake run` and say what time it is; readers take server-sent events from the ingress, or
the stream of a chat. What a delta costs is the processor time of the same runs with and without speaking, the median of
ROUNDS pairs. Neighbours are callers of route2, beside runs that speak in every other half second and are silent in the
others: each window is compared with the next one, and the median of these ratios counts. A busy machine slows both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from bench import callers, processes
from bench.npm import PeerError
from bench.peers import Rewake, free_port
from bench.report import percentile
from bench.streams_app import WINDOW_MS, How, is_spoken_at
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
SETTLE_MS = 50
Part = Literal["first", "chat", "cost", "neighbours", "readers", "deaf"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The figures; None: not asked for. first_ms: from put_delta to a reader, of the first delta of a run.

    later_ms: of the others.   chat_ms: of the first one in a chat.   chat_asks_ms: from a message in a chat until its
    model is asked.   engine_us, worker_us: processor time of one delta.   alone_ms, beside_ms: 99th percentile of
    neighbours' calls while the runs are silent and while they speak; added: the median of the ratios, less 1.
    readers_ms: median lag with many readers of one run.   deaf_mib: memory that the engine took on for readers that do
    not read.
    """

    first_ms: float | None = None
    later_ms: float | None = None
    chat_ms: float | None = None
    chat_asks_ms: float | None = None
    engine_us: float | None = None
    worker_us: float | None = None
    alone_ms: float | None = None
    beside_ms: float | None = None
    added: float | None = None
    readers_ms: float | None = None
    readers_cores: float | None = None
    readers_missing: int = 0
    deaf_mib: float | None = None

    @property
    def errors(self) -> list[str]:
        """What must not be."""
        return [f"{self.readers_missing} deltas did not reach their readers"] if self.readers_missing else []

    def lines(self) -> list[str]:
        """The figures for the reader, goals behind them."""
        found = []
        if self.first_ms is not None:
            found.append(
                f"first delta {self.first_ms:.2f} ms after it was said ({_goal_ms(self.first_ms)}), "
                f"later ones {self.later_ms:.2f} ms"
            )
        if self.chat_ms is not None:
            found.append(
                f"in a chat the first delta {self.chat_ms:.2f} ms after it was said ({_goal_ms(self.chat_ms)}); "
                f"its model was asked {self.chat_asks_ms:.1f} ms after the message was sent"
            )
        if self.engine_us is not None:
            found.append(
                f"a delta costs {self.engine_us:.0f} us in the engine and {self.worker_us:.0f} us in the worker"
            )
        if self.added is not None:
            found.append(
                f"{SPEAKERS} runs at {DELTAS_PER_SECOND:.0f} deltas/s: p99 of other calls {self.alone_ms:.1f} ms beside"
                f" silent ones, {self.beside_ms:.1f} ms beside speaking ones, {self.added:+.0%} in the median of pairs"
                f" (goal {NEIGHBOURS_ADDED_MAX:.0%}: {_verdict(self.added <= NEIGHBOURS_ADDED_MAX)})"
            )
        if self.readers_ms is not None:
            found.append(
                f"{READERS} readers of one run at {READERS_PER_SECOND:.0f} deltas/s: {self.readers_ms:.0f} ms late at "
                f"the median, {self.readers_cores:.2f} cores in the engine, {self.readers_missing} deltas missing"
            )
        if self.deaf_mib is not None:
            found.append(
                f"{DEAF_READERS} readers that do not read a run of {FLOOD_BYTES >> 20} MiB take {self.deaf_mib:.0f} MiB"
            )
        return [f"streams: {line}" for line in found]


class StreamsPeer(Rewake):
    """`rewake run` with an app that speaks."""

    name = "rewake-streams"
    app = "bench/streams_app.py"

    def __init__(self) -> None:
        super().__init__()
        self.web_port = 0

    def launch(self) -> None:
        self.web_port = free_port()
        self.options = ["--web-port", str(self.web_port)]
        super().launch()


def measure(seconds: float, parts: Sequence[Part] = PARTS) -> Streams:
    """The figures of these parts, on an engine of its own. Raises PeerError when it does not start."""
    peer = StreamsPeer()
    figures: dict[str, Any] = {}
    try:
        peer.start()
        asyncio.run(first_deltas(peer, 5))
        if "first" in parts:
            firsts, laters = asyncio.run(first_deltas(peer, FIRST_RUNS))
            figures |= {"first_ms": statistics.median(firsts), "later_ms": statistics.median(laters)}
        if "chat" in parts:
            asyncio.run(chat_deltas(peer, 5))
            lags, waits = asyncio.run(chat_deltas(peer, FIRST_RUNS))
            figures |= {"chat_ms": statistics.median(lags), "chat_asks_ms": statistics.median(waits)}
        if "cost" in parts:
            engine_us, worker_us = zip(*(delta_us(peer, seconds) for _ in range(ROUNDS)), strict=True)
            figures |= {"engine_us": statistics.median(engine_us), "worker_us": statistics.median(worker_us)}
        if "neighbours" in parts:
            figures |= neighbours(peer, seconds * 2 * ROUNDS)
        if "readers" in parts:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                lags, cores, missing = runner.run(many_readers(peer, seconds))
            figures |= {"readers_ms": statistics.median(lags), "readers_cores": cores, "readers_missing": missing}
        if "deaf" in parts:
            asyncio.run(deaf_readers(peer))  # what the run itself takes
            figures["deaf_mib"] = asyncio.run(deaf_readers(peer))
    finally:
        peer.stop()
    return Streams(**figures)


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
        async with Events(peer, "POST", "/Speaker/say", [0.1, DELTAS_PER_SECOND, "aloud"]) as events:
            first, *later = await events.lags_ms()
            firsts.append(first)
            laters += later
    return firsts, laters


async def chat_deltas(peer: StreamsPeer, count: int) -> tuple[list[float], list[float]]:
    """Of first turns of chats, one after the other: the lag of the first delta, and when the model was asked."""
    lags, waits = [], list[float]()
    for number in range(count):
        message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "What time is it?"}]}
        body = json.dumps({"id": f"{count}/{number}", "messages": [message]}).encode()
        head = "POST /api/chat HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", peer.web_port)
        sent_ns = time.time_ns()
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        while line := await reader.readline():
            if b'"text-delta"' in line:
                now_ns = time.time_ns()
                asked_ns, said_ns = map(int, json.loads(line.removeprefix(b"data: "))["delta"].split())
                lags.append((now_ns - said_ns) / 1e6)
                waits.append((asked_ns - sent_ns) / 1e6)
                break
        await reader.read()  # up to the end of the turn
        writer.close()
    if len(lags) < count:
        raise PeerError(f"only {len(lags)} of {count} turns of the chat said something")
    return lags, waits


def speakers(peer: StreamsPeer, seconds: float, how: How) -> None:
    """Start them."""
    body = json.dumps([seconds, DELTAS_PER_SECOND, how]).encode()
    for _ in range(SPEAKERS):
        status, answer = peer.call("POST", "/Speaker/say/send", body)
        if status != 202:
            raise PeerError(f"a send answered {status} {answer!r}")


def delta_us(peer: StreamsPeer, seconds: float) -> tuple[float, float]:
    """What a delta costs the engine, and the worker: of the same runs speaking, and silent."""

    def cpu() -> tuple[float, float]:
        engine, *workers = peer.processes()
        return processes.cpu_seconds_of([engine]), processes.cpu_seconds_of(workers)

    def taken(how: How) -> tuple[float, float]:
        before = cpu()
        speakers(peer, seconds, how)
        time.sleep(seconds + 0.5)
        there, here = cpu(), before
        return there[0] - here[0], there[1] - here[1]

    silent, aloud = taken("silent"), taken("aloud")
    count = SPEAKERS * DELTAS_PER_SECOND * seconds
    return (aloud[0] - silent[0]) / count * 1e6, (aloud[1] - silent[1]) / count * 1e6


def neighbours(peer: StreamsPeer, seconds: float) -> dict[str, float]:
    """Others' calls beside runs that speak in turns."""
    speakers(peer, seconds + 2.0, "in turns")
    time.sleep(1.0)  # their beginning is a load of its own
    outcome = callers.load(Spec(port=peer.ingress_port, work="route2", callers=NEIGHBOURS, seconds=seconds))
    time.sleep(1.5)
    return compared(outcome.answered_at_ms, outcome.latencies_us)


def compared(answered_at_ms: Sequence[int], latencies_us: Sequence[int]) -> dict[str, float]:
    """The 99th percentile of calls in windows of silence and of speech, and the median of the ratios of neighbours.

    The first and the last window are not whole, and the beginning of each one belongs to the one before.
    """
    windows: dict[int, list[int]] = {}
    for at_ms, latency_us in zip(answered_at_ms, latencies_us, strict=True):
        number, into_ms = divmod(at_ms, WINDOW_MS)
        if into_ms >= SETTLE_MS:
            windows.setdefault(number, []).append(latency_us)
    whole = sorted(windows)[1:-1]
    p99_ms = {number: percentile(windows[number], 99) / 1000 for number in whole}
    spoken = [number for number in whole if is_spoken_at(number * WINDOW_MS)]
    silent = [number for number in whole if not is_spoken_at(number * WINDOW_MS)]
    ratios = [p99_ms[here] / p99_ms[there] for here in spoken for there in (here - 1, here + 1) if there in p99_ms]
    return {
        "alone_ms": statistics.median(p99_ms[number] for number in silent),
        "beside_ms": statistics.median(p99_ms[number] for number in spoken),
        "added": statistics.median(ratios) - 1,
    }


async def many_readers(peer: StreamsPeer, seconds: float) -> tuple[list[float], float, int]:
    """Lags at many readers of one run, the engine's cores meanwhile, and how many deltas did not come."""
    async with contextlib.AsyncExitStack() as stack:
        given = [seconds, READERS_PER_SECOND, "aloud"]
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


def _goal_ms(found: float) -> str:
    return f"goal {FIRST_MS_MAX:.0f}: {_verdict(found < FIRST_MS_MAX)}"


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "NOT met"


def main(say: Callable[[str], None] = print) -> None:
    """The streams alone."""
    parser = argparse.ArgumentParser(prog="python -m bench.streams")
    parser.add_argument("seconds", type=float, nargs="?", default=3.0)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="these figures alone")
    options = parser.parse_args()
    measured = measure(options.seconds, options.only)
    for line in [*measured.lines(), *(f"error: {error}" for error in measured.errors)]:
        say(line)


if __name__ == "__main__":
    main()
