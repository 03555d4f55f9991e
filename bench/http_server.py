"""`python -m bench.http_server`: what one small request costs the process that serves it, ours beside uvicorn.

The same ASGI app (21 bytes in, 41 out) on uvloop, on loopback. Rounds alternate between the servers; the median of the
processor time counts, as others may use the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Callable, Coroutine
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import psutil
import uvicorn
import uvloop

from rewake.http_server.listening import listening_socket
from rewake.http_server.server import BACKLOG, HttpServer

REQUEST_BODY, ANSWER_BODY = b"x" * 21, b"y" * 41
REQUEST = (
    b"POST /Steps/route HTTP/1.1\r\nhost: 127.0.0.1:8080\r\naccept: */*\r\nuser-agent: bench\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(REQUEST_BODY), REQUEST_BODY)
)
WARM_UP_S = 0.5


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Reads the request, and answers."""
    is_over = False
    while not is_over:
        is_over = not (await receive()).get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER_BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER_BODY})


async def serve_ours(listener: Any) -> None:
    server = HttpServer(app, cancels=True)
    await server.start(listener)
    await asyncio.Event().wait()


async def serve_uvicorn(listener: Any) -> None:
    config = uvicorn.Config(
        app, loop="none", http="httptools", ws="none", lifespan="off", log_config=None, access_log=False
    )
    await uvicorn.Server(config).serve([listener])


SERVERS: dict[str, Callable[[Any], Coroutine[Any, Any, None]]] = {"rewake": serve_ours, "uvicorn": serve_uvicorn}


def serve(name: str, port_to: Connection) -> None:
    """Serve until killed."""
    listener = listening_socket("127.0.0.1", 0, backlog=BACKLOG)
    port_to.send(listener.getsockname()[1])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(SERVERS[name](listener))


class Caller(asyncio.Protocol):
    """Asks again as soon as it has its answer."""

    answers = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._received = b""
        transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._received.endswith(ANSWER_BODY):
            self._received = b""
            Caller.answers += 1
            self._transport.write(REQUEST)


async def load(port: int, process: psutil.Process, caller_count: int, seconds: float) -> tuple[float, float]:
    """Processor time for a request in microseconds, and requests a second."""
    loop = asyncio.get_running_loop()
    callers = [(await loop.create_connection(Caller, "127.0.0.1", port))[0] for _ in range(caller_count)]
    await asyncio.sleep(WARM_UP_S)
    answers, times, begun = Caller.answers, process.cpu_times(), time.perf_counter()
    await asyncio.sleep(seconds)
    answers, after, took = Caller.answers - answers, process.cpu_times(), time.perf_counter() - begun
    for caller in callers:
        caller.abort()
    return (after.user + after.system - times.user - times.system) / answers * 1e6, answers / took


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.http_server", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(options.rounds):
        for name in SERVERS:
            here, there = get_context("spawn").Pipe()
            process = get_context("spawn").Process(target=serve, args=(name, there), daemon=True)
            process.start()
            port = here.recv()
            for caller_count in (64, 1):
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    row = runner.run(load(port, psutil.Process(process.pid), caller_count, options.seconds))
                found.setdefault((name, caller_count), []).append(row)
            process.kill()
            process.join()
    print(f"load of the machine {os.getloadavg()[0]:.1f}")
    for (name, caller_count), rows in sorted(found.items()):
        cpu_us, per_second = (statistics.median(each) for each in zip(*rows, strict=True))
        print(f"{name:8} {caller_count:3} callers: {cpu_us:5.1f} us of processor time, {per_second:6.0f} requests/s")


if __name__ == "__main__":
    main()
