"""VirtualEngine: a whole engine for tests, in this process, on a clock that skips sleeps and timeouts.

It runs on its own thread and event loop, so plain and async tests use it alike, and handlers go on while a test blocks.
A test sees what a user sees: answers, failures, journals, state. The `rewake_engine` fixture gives one.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Coroutine, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec
import restate

from rewake.core.ids import awakeable_id_parse, invocation_id_from_str
from rewake.core.model import HandlerOptions
from rewake.engine.observer import Observer
from rewake.engine.options import EngineOptions
from rewake.engine.results import encode_body
from rewake.protocol.messages import Failure, SignalResult, Success
from rewake.runs.facts import OPEN_STATUSES, STATUSES
from rewake.runs.filters import RunFilter
from rewake.runs.local.database import DatabaseReading, local_reading
from rewake.runs.mismatch import Mismatch, mismatch_of
from rewake.runs.records import record_from
from rewake.runs.steps import steps_of
from rewake.runs.waits import awaited_in
from rewake.testing.journals import Journal, expect_journal, journal_of
from rewake.testing.loop_thread import shared_loop
from rewake.testing.virtual_time import NeverEnds, SkippedDeployment, SkippingEngine

if TYPE_CHECKING:
    from rewake.deployments.base import DeploymentClient
    from rewake.server import Server

T = TypeVar("T")

TIMEOUT_S: Final = 30.0
SETTLES_WITHIN_S: Final = 1.0
"""Time that handlers get to suspend when a wait is given up, so that the error can say what they wait for."""

SERVICES: Final = (restate.Service, restate.VirtualObject, restate.Workflow)


class VirtualEngine:
    """An engine for tests; a context manager.

    path: its folder, made if missing.   timeout_s: real time for one wait.   always_replay: handlers suspend at every
    await, so that each await is replayed.   options: of the engine; always_replay changes their defaults.

    Example:
        >>> import restate, tempfile
        >>> greeter = restate.Service("Greeter")
        >>> @greeter.handler()
        ... async def greet(ctx: restate.Context, name: str) -> str:
        ...     return f"Hello {name}"
        >>> with tempfile.TemporaryDirectory() as folder, VirtualEngine(folder) as engine:
        ...     engine.serve(greeter).call("Greeter", "greet", "Ada")
        'Hello Ada'
    """

    def __init__(
        self,
        path: str | Path,
        *,
        timeout_s: float = TIMEOUT_S,
        always_replay: bool = False,
        options: EngineOptions | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.path = Path(path)
        self.timeout_s = timeout_s
        self.aio = AsyncCalls(self)
        self.last_run: str | None = None
        self._options = _replaying(options or EngineOptions()) if always_replay else options or EngineOptions()
        self._observer = observer
        self._apps: dict[str, Any] = {}
        self._engine: SkippingEngine | None = None
        self._skipped_ms = 0

    # Start and stop

    def start(self) -> None:
        """Open the folder and resume its runs. The first use of the engine calls it."""
        if self._engine is None:
            self._submit(self._start()).result(self.timeout_s)

    def stop(self) -> None:
        """Stop at once; open runs go on at the next start. Safe to call twice."""
        if self._engine is not None:
            self._submit(self._stop()).result(self.timeout_s)

    def restart(self) -> None:
        """Stop at once and start again on the same folder, as after a crash: attempts are cut off and resume."""
        self._run(self._restart())

    async def _start(self) -> None:
        engine = SkippingEngine(self.path, self._options, self._observer, self._skipped_ms)
        await engine.start()
        self._engine = engine
        for uri, app in self._apps.items():
            await engine.add_deployment(self._deployment(app), uri=uri, kind="in_process")
        engine.drive()

    async def _stop(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            self._skipped_ms = engine.skipped_ms
            await engine.stop()

    def _deployment(self, app: Any) -> DeploymentClient:
        return SkippedDeployment(app, self._running)

    async def _restart(self) -> None:
        await self._stop()
        await self._start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # Serving

    def serve(self, *served: Any) -> Self:
        """Register an app, or services. A second call is a deploy: only new calls run on it, open runs do not."""
        apps = [each for each in served if not isinstance(each, SERVICES)]
        services = [each for each in served if isinstance(each, SERVICES)]
        for app in [*apps, *([restate.app(services)] if services else [])]:
            self._run(self._serve(app))
        return self

    async def _serve(self, app: Any) -> None:
        uri = "in-process:app" + (f"-{len(self._apps)}" if self._apps else "")
        await self._running.add_deployment(self._deployment(app), uri=uri, kind="in_process")
        self._apps[uri] = app

    # Calls

    def call(
        self,
        service: str,
        handler: str,
        body: Any = None,
        *,
        key: str | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Call a handler and return its decoded result; the clock skips meanwhile.

        body: bytes unchanged, None for no body, any other value as JSON.
        Raises InvocationFailed for a terminal error; TimeoutError if the run does not end and NeverEnds if it is
        paused, both with the reason; RewakeError RW3002 for an unknown handler.
        """
        return self._run(self._call(service, handler, body, key, idempotency_key))

    def send(
        self,
        service: str,
        handler: str,
        body: Any = None,
        *,
        key: str | None = None,
        idempotency_key: str | None = None,
        delay: timedelta | float = 0,
    ) -> str:
        """Enqueue a call and return its invocation id. delay: seconds, or a timedelta."""
        return self._run(self._send(service, handler, body, key, idempotency_key, _ms(delay)))

    def result(self, invocation_id: str) -> Any:
        """Wait for a run, and return its decoded result; the clock skips. Raises as `call`, and KeyError if unknown."""
        return self._run(self._result(invocation_id))

    def cancel(self, invocation_id: str) -> None:
        """Cancel a run: its handler gets a terminal error 409 at its next await."""
        self._run(self._running.cancel(invocation_id))

    async def _call(self, service: str, handler: str, body: Any, key: str | None, idempotency_key: str | None) -> Any:
        return await self._result(await self._send(service, handler, body, key, idempotency_key, 0))

    async def _send(
        self, service: str, handler: str, body: Any, key: str | None, idempotency_key: str | None, delay_ms: int
    ) -> str:
        self.last_run = await self._running.send(
            service, handler, body, key=key, idempotency_key=idempotency_key, delay_ms=delay_ms
        )
        return self.last_run

    async def _result(self, invocation_id: str) -> Any:
        return await self._running.skipping(self._running.result(invocation_id), invocation_id_from_str(invocation_id))

    # Time

    @property
    def now_ms(self) -> int:
        """The engine's clock, in milliseconds since 1970."""
        return self._running.now_ms()

    def advance(self, by: timedelta | float) -> None:
        """Move the clock, through every timer on the way. by: seconds, or a timedelta."""
        self._run(self._running.advance(_ms(by)))

    def settle(self) -> None:
        """Return when no handler runs: all have ended or wait. The clock does not move."""
        self._run(self._running.settled())

    # Answers from outside

    def awakeables(self) -> list[str]:
        """Ids of the awakeables that open runs wait for, after `settle`."""
        self.settle()
        return self._awaited()

    def resolve(self, awakeable_id: str, value: Any = None) -> None:
        """Resolve an awakeable. value: like the body of a call."""
        self._complete(awakeable_id, Success(encode_body(value)))

    def reject(self, awakeable_id: str, message: str, code: int = 500) -> None:
        """Reject an awakeable: its handler gets a TerminalError."""
        self._complete(awakeable_id, Failure(code, message, ()))

    def _complete(self, awakeable_id: str, result: SignalResult) -> None:
        invocation_id, signal = awakeable_id_parse(awakeable_id)
        self._run(self._running.complete_awakeable(invocation_id, signal, result))

    def state(self, service: str, key: str) -> dict[str, Any]:
        """The state of a virtual object or workflow, decoded; a value that is not JSON stays bytes."""
        self._flush()
        with self._reading() as reading:
            found: Mapping[bytes, bytes] = reading.state(service, key)
        return {name.decode(): _decoded(value) for name, value in found.items()}

    # Journals

    def journal(self, invocation_id: str | None = None) -> Journal:
        """The journal of a run, by default of the last call or send. Raises KeyError if unknown."""
        run = invocation_id or self.last_run
        if run is None:
            raise KeyError("Nothing has been called yet.")
        self._flush()
        with self._reading() as reading:
            return journal_in(reading, run)

    def mismatches(self) -> list[Mismatch]:
        """The mismatch reports of all attempts."""
        self._flush()
        with self._reading() as reading:
            return list(_mismatches(reading))

    def expect_journal(self, expected: str, invocation_id: str | None = None) -> None:
        """Raise an AssertionError with a diff unless a journal has these lines; see journals.expect_journal."""
        __tracebackhide__ = True
        expect_journal(self.journal(invocation_id), expected)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[DatabaseReading]:
        with local_reading(self.path, self.now_ms, dict(self._running.services)) as reading:
            yield reading

    def _awaited(self) -> list[str]:
        with self._reading() as reading:
            return list(awaited_in(reading))

    def _flush(self) -> None:
        self._run(self._running.flush())

    @contextlib.contextmanager
    def serving(self) -> Iterator[Server]:
        """Serve an ingress and an admin API on free ports of loopback, for HTTP clients."""
        from rewake.server import Server

        server = Server(self._running, ingress_port=0, admin_port=0, drain_s=0)
        self._run(server.start())
        try:
            yield server
        finally:
            self._run(server.stop())

    # Across threads

    @property
    def _running(self) -> SkippingEngine:
        self.start()
        assert self._engine is not None
        return self._engine

    def _submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(work, shared_loop())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        self.start()
        future = self._submit(work)
        try:
            return future.result(self.timeout_s)
        except concurrent.futures.TimeoutError:
            if future.done():
                raise  # raised by the work itself
            future.cancel()
            raise TimeoutError(f"Nothing came of it within {self.timeout_s:g} s. {self._why_it_waits()}") from None
        except NeverEnds as error:
            raise NeverEnds(f"{error} {self._why_it_waits()}") from None

    def _why_it_waits(self) -> str:
        """The open runs, each with what it waits for."""
        with contextlib.suppress(concurrent.futures.TimeoutError):  # a suspended run has stored what it waits for
            self._submit(self._running.settled()).result(SETTLES_WITHIN_S)
        lines = ["Open runs:"]
        with self._reading() as reading:
            for run in reading.find(RunFilter(status=OPEN_STATUSES), dict.fromkeys(STATUSES, 0)).runs:
                problem = f": {run.problem}" if run.problem else ""
                lines.append(f"  {run.target} {run.id} is {run.status}{problem}")
        if awaited := self._awaited():
            lines.append(f"Awakeables that nobody has resolved: {', '.join(awaited)}")
        return "\n".join(lines)


class AsyncCalls:
    """The slow calls of a VirtualEngine, for async tests that do other work meanwhile."""

    def __init__(self, engine: VirtualEngine) -> None:
        self._engine = engine

    async def call(
        self,
        service: str,
        handler: str,
        body: Any = None,
        *,
        key: str | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """VirtualEngine.call."""
        call = self._engine.call
        return await asyncio.to_thread(call, service, handler, body, key=key, idempotency_key=idempotency_key)

    async def result(self, invocation_id: str) -> Any:
        """VirtualEngine.result."""
        return await asyncio.to_thread(self._engine.result, invocation_id)

    async def settle(self) -> None:
        """VirtualEngine.settle."""
        await asyncio.to_thread(self._engine.settle)

    async def advance(self, by: timedelta | float) -> None:
        """VirtualEngine.advance."""
        await asyncio.to_thread(self._engine.advance, by)


def journal_in(reading: DatabaseReading, run: str) -> Journal:
    """The journal of a run, as lines. Raises KeyError if unknown."""
    invocation = reading.invocation(invocation_id_from_str(run))
    if invocation is None:
        raise KeyError(run)
    record = record_from(invocation, reading.entries(invocation.id, with_payload=True), reading.events(invocation.id))
    return journal_of(record)


def _mismatches(reading: DatabaseReading) -> Iterator[Mismatch]:
    for run in reading.find(RunFilter(), dict.fromkeys(STATUSES, 0)).runs:
        invocation_id = invocation_id_from_str(run.id)
        steps = steps_of(reading.entries(invocation_id))
        for event in reading.events(invocation_id):
            report = mismatch_of(event.data, steps)
            if report is not None:
                yield report


def _replaying(options: EngineOptions) -> EngineOptions:
    """Options with which handlers suspend at every await: their requests are closed at once."""
    defaults: HandlerOptions = msgspec.structs.replace(options.defaults, inactivity_timeout_ms=0)
    return msgspec.structs.replace(options, defaults=defaults)


def _ms(seconds: timedelta | float) -> int:
    return round((seconds.total_seconds() if isinstance(seconds, timedelta) else seconds) * 1000)


def _decoded(value: bytes) -> Any:
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value
