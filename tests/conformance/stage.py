"""What the engine's conformance tests stand on: an engine on a directory, marks and gates, and cuts.

A Stage is one directory with its database, the marks handlers left there and the gates they wait at. `Cut` stands
between engine and deployment, hands messages over one at a time and does damage after a chosen one.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
from http_service import ServerKind, Service

from rewake.core import ids
from rewake.core.model import HandlerOptions, Invocation, RetryPolicy, Status
from rewake.core.writes import EntryRow
from rewake.deployments.base import (
    AttemptFailure,
    AttemptHandle,
    AttemptSink,
    AttemptStart,
    DeploymentClient,
    DiscoveryResponse,
    ReceivedMessage,
)
from rewake.deployments.framed_attempt import FramedAttempt
from rewake.deployments.http.address import parse_address
from rewake.deployments.http.client import HttpDeployment
from rewake.deployments.in_process import InProcessDeployment
from rewake.deployments.worker import WorkerOptions, WorkerStream
from rewake.deployments.worker_pool import WorkerPool
from rewake.engine import Engine, EngineOptions
from rewake.protocol.framing import Oversized
from rewake.protocol.messages import Message, MessageType, ProposeRunCompletion, RunCommand

Transport = Literal["in_process", "worker", "http2", "http1"]
TRANSPORTS: tuple[Transport, ...] = ("in_process", "worker", "http2", "http1")
SERVERS: dict[Transport, ServerKind] = {"http2": "hypercorn", "http1": "uvicorn"}
VERSIONS = (5, 6, 7)
HERE = Path(__file__).parent
APP = "durable_app:app"
DEADLINE_S = 50.0
POLL_S = 0.003
FAST_RETRY = RetryPolicy(initial_interval_ms=2, exponentiation_factor=1.0, max_interval_ms=2, max_attempts=70)
DEFAULTS = HandlerOptions(retry=FAST_RETRY)
QUICK_SUSPENSION = HandlerOptions(retry=FAST_RETRY, inactivity_timeout_ms=10)


def run(main: Coroutine[Any, Any, None], deadline_s: float = DEADLINE_S) -> None:
    """Run a test's coroutine, with a deadline."""

    async def within_deadline() -> None:
        async with asyncio.timeout(deadline_s):
            await main

    asyncio.run(within_deadline())


async def until(is_so: Callable[[], Any]) -> Any:
    """Wait for something another process or the engine does; what `is_so` returned at last."""
    while not (found := is_so()):
        await asyncio.sleep(POLL_S)
    return found


class Stage:
    """One engine directory and what its handlers left in it. usual: what reaches the handlers when a test says nothing.

    service: the process with the handlers, while they are reached over HTTP.
    """

    def __init__(self, path: Path, usual: Transport = "in_process") -> None:
        self.path = path
        self.data = path / "data"
        self.usual = usual
        self.service: Service | None = None

    @property
    def marks(self) -> list[str]:
        file = self.path / "marks"
        return file.read_text().splitlines() if file.exists() else []

    def count(self, text: str) -> int:
        return self.marks.count(text)

    def counts(self, prefix: str) -> Counter[str]:
        return Counter(line.removeprefix(prefix) for line in self.marks if line.startswith(prefix))

    async def marked(self, prefix: str, times: int = 1) -> str:
        """Wait until a mark has been left so many times; the rest of the last such line."""

        def found() -> list[str]:
            lines = [line for line in self.marks if line.startswith(prefix)]
            return lines if len(lines) >= times else []

        lines: list[str] = await until(found)
        return lines[-1].removeprefix(prefix).strip()

    def open_gate(self, name: str) -> None:
        (self.path / f"open.{name}").touch()

    def hold(self, name: str) -> None:
        (self.path / f"hold.{name}").touch()

    def release(self, name: str) -> None:
        (self.path / f"hold.{name}").unlink()

    @asynccontextmanager
    async def deployment(
        self, transport: Transport | None = None, *, app: Any = APP, workers: int = 1
    ) -> AsyncIterator[DeploymentClient]:
        """An app that is reached so. app: `module:attribute` of this folder, or the app itself, and then in process."""
        transport = transport or self.usual
        service, outer_service = None, self.service
        client: DeploymentClient
        if not isinstance(app, str):
            client = InProcessDeployment(app)
        elif transport in SERVERS:
            self.service = service = Service(app, SERVERS[transport])
            client = HttpDeployment(
                parse_address(service.uri), http_version="HTTP/1.1" if transport == "http1" else "HTTP/2.0"
            )
        else:
            module, _, attribute = app.partition(":")
            if transport == "worker":
                file = HERE / f"{module}.py"
                client = pool = WorkerPool(
                    WorkerOptions(app_ref=f"{file}:{attribute}", loop="asyncio"), workers=workers
                )
                await pool.start()
            else:
                client = InProcessDeployment(getattr(importlib.import_module(module), attribute))
        try:
            yield client
        finally:
            await client.close()
            self.service = outer_service
            if service is not None:
                service.kill()

    @asynccontextmanager
    async def engine(
        self,
        transport: Transport | None = None,
        *,
        version: int = 6,
        defaults: HandlerOptions = DEFAULTS,
        app: Any = APP,
        cut: Cut | None = None,
        concurrency_max: int = 1_000,
        workers: int = 1,
        eager_state_bytes_max: int | None = None,
    ) -> AsyncIterator[Engine]:
        """An engine on this stage's directory, with `app` as its only deployment."""
        transport = transport or self.usual
        options = EngineOptions(defaults=defaults, protocol_version_max=version, concurrency_max=concurrency_max)
        engine = Engine(self.data, options=options)
        if eager_state_bytes_max is not None:
            engine.settings = msgspec.structs.replace(engine.settings, eager_state_bytes_max=eager_state_bytes_max)
        async with self.deployment(transport, app=app, workers=workers) as client:
            try:
                await engine.start()
                await engine.add_deployment(
                    cut.around(client) if cut is not None else client, uri=f"{transport}:durable_app", kind=transport
                )
                engine.drive()
                yield engine
            finally:
                await engine.stop()


# Looking inside


def row(engine: Engine, invocation_id: str) -> Invocation | None:
    """The stored row of an invocation."""
    return engine._store.reader.invocation(ids.invocation_id_from_str(invocation_id))


def status(engine: Engine, invocation_id: str) -> Status | None:
    found = row(engine, invocation_id)
    return found.status if found else None


async def reaches(engine: Engine, invocation_id: str, wanted: Status) -> Invocation:
    """Wait until the stored row has this status, and nothing of it is in flight."""
    await until(lambda: status(engine, invocation_id) is wanted)
    found = row(engine, invocation_id)
    assert found is not None
    return found


def entries(engine: Engine, invocation_id: str) -> list[EntryRow]:
    return engine._store.reader.journal(ids.invocation_id_from_str(invocation_id))


def journal(engine: Engine, invocation_id: str) -> list[str]:
    """The stored journal, an entry as `TYPE` or `TYPE name`."""
    return [f"{MessageType(entry.type_id).name} {entry.name or ''}".strip() for entry in entries(engine, invocation_id)]


async def settles_in_memory(engine: Engine) -> None:
    """Wait until nothing of any invocation is held in memory; keys that are free may be remembered."""
    await until(lambda: engine.stats()["invocations_in_memory"] == 0)
    state = engine._loop.state
    busy = [each for each in state.instances.values() if each.holder is not None or each.queue]
    assert not busy and not state.promises and not state._held, (busy, state.promises)


# Cutting


class Cut:
    """A deployment in between. `action(attempt)` happens once the engine has been handed the `at`-th message, from 1.

    After it this attempt is silent, or all are (`is_total`).   settled: names of the steps whose results were handed
    over before; only others may ever run again.   last: the message after which it happened.
    """

    def __init__(self, at: int, action: Callable[[CutAttempt], None], *, is_total: bool = False) -> None:
        self.action = action
        self.is_total = is_total
        self.happened = asyncio.Event()
        self.arm(at)

    def arm(self, at: int) -> None:
        """Count from here."""
        self.at = at
        self.seen = 0
        self.settled: set[str] = set()
        self.last: Message | Oversized | None = None
        self.is_mute = False
        self.happened.clear()

    def around(self, client: DeploymentClient) -> DeploymentClient:
        return _CutDeployment(self, client)


class _CutDeployment:
    def __init__(self, cut: Cut, client: DeploymentClient) -> None:
        self._cut = cut
        self.client = client
        self.protocol_type = client.protocol_type

    async def discover(self) -> DiscoveryResponse:
        found = await self.client.discover()
        self.protocol_type = self.client.protocol_type
        return found

    def start_attempt(self, start: AttemptStart, sink: AttemptSink) -> AttemptHandle:
        attempt = CutAttempt(self._cut, sink, self.client)
        attempt.handle = self.client.start_attempt(start, attempt)
        return attempt.handle

    async def close(self) -> None:
        await self.client.close()


class CutAttempt:
    """The sink of one attempt that passes on what the real one says, until the cut."""

    def __init__(self, cut: Cut, sink: AttemptSink, client: DeploymentClient) -> None:
        self.handle: AttemptHandle
        self.sink = sink
        self.client = client
        self.is_mute = False
        self._cut = cut
        self._runs: dict[int, str] = {}

    def on_messages(self, messages: list[ReceivedMessage]) -> None:
        cut = self._cut
        for received in messages:
            if self.is_mute or cut.is_mute:
                return
            self._note(received[0])
            cut.seen += 1
            self.sink.on_messages([received])
            if cut.seen == cut.at:
                self.is_mute = True
                cut.is_mute = cut.is_total
                cut.last = received[0]
                cut.happened.set()
                cut.action(self)

    def _note(self, message: Message | Oversized) -> None:
        if self._cut.happened.is_set():
            return
        if isinstance(message, RunCommand):
            self._runs[message.completion_id] = message.name
        elif isinstance(message, ProposeRunCompletion) and message.completion_id in self._runs:
            self._cut.settled.add(self._runs[message.completion_id])

    def on_failure(self, failure: AttemptFailure) -> None:
        if not self._cut.is_mute:
            self.sink.on_failure(failure)

    def on_closed(self) -> None:
        if self.is_mute and self._cut.action is kill_worker:
            self.on_failure(BROKEN)  # the terminal message was on its way and did not arrive
        elif not (self.is_mute or self._cut.is_mute):
            self.sink.on_closed()


BROKEN = AttemptFailure(code="RT0010", status=500, message="cut")


def fail_attempt(attempt: CutAttempt) -> None:
    """As if the connection broke."""
    attempt.handle.abort()
    attempt.sink.on_failure(BROKEN)


def kill_worker(attempt: CutAttempt) -> None:
    """kill -9 of the process that runs this attempt's handler."""
    assert isinstance(attempt.handle, FramedAttempt)
    stream = attempt.handle.stream
    assert isinstance(stream, WorkerStream)
    assert stream.process is not None
    os.kill(stream.process.pid, 9)


def nothing(attempt: CutAttempt) -> None:
    """Only silence; the test does the rest."""
