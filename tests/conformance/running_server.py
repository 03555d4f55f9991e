"""A real engine with a real server and the SDK's handlers, in a thread of its own, for tests that speak HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rewake.engine import Engine
from rewake.server import Server, new_event_loop

STARTED_SECONDS_MAX = 20.0

_Value = TypeVar("_Value")


class RunningServer:
    """Where it listens, and a way to run coroutines beside it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine, server: Server) -> None:
        self.loop = loop
        self.engine = engine
        self.server = server
        self.ingress_port = server.ingress_port
        self.admin_port = server.admin_port

    def run(self, coroutine: Coroutine[Any, Any, _Value]) -> _Value:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(STARTED_SECONDS_MAX)


@contextmanager
def running_server(path: Path, app: Any, **options: Any) -> Iterator[RunningServer]:
    """Serve `app` until the block ends."""
    ready = threading.Event()
    found: list[RunningServer | BaseException] = []
    stop: list[asyncio.Event] = []

    async def main() -> None:
        stop.append(asyncio.Event())
        async with Engine(path, app) as engine, Server(engine, ingress_port=0, admin_port=0, **options) as server:
            found.append(RunningServer(asyncio.get_running_loop(), engine, server))
            ready.set()
            await stop[0].wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(main())
        except BaseException as error:
            found.append(error)
            ready.set()
            raise

    thread = threading.Thread(target=run, name="running_server")
    thread.start()
    try:
        assert ready.wait(STARTED_SECONDS_MAX)
        first = found[0]
        if not isinstance(first, RunningServer):
            raise first
        yield first
    finally:
        if found and isinstance(found[0], RunningServer):
            found[0].loop.call_soon_threadsafe(stop[0].set)
        thread.join(STARTED_SECONDS_MAX)
        assert not thread.is_alive()
