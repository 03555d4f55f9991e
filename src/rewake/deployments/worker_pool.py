"""Workers under supervision: N child processes that are restarted when they die and replaced when code changes.

The DeploymentClient of `rewake run`. When a child dies, its attempts fail (RT0010) and the next child starts at once;
while children die young, the delay grows. While no child is ready, attempts wait, within limits, so a crash costs
milliseconds. Attempts under which children keep dying run separately, see quarantine.py. worker.py has the single
WorkerProcess.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from rewake.core.model import Blame
from rewake.deployments import mux
from rewake.deployments.base import AttemptHandle, AttemptSink, AttemptStart, DiscoveryResponse, ProtocolType
from rewake.deployments.framed_attempt import FramedAttempt, invoke_path, protocol_type_of, request_headers
from rewake.deployments.quarantine import QUARANTINE_AFTER, Quarantine
from rewake.deployments.watched_handlers import WatchedHandlers
from rewake.deployments.worker import WorkerOptions, WorkerProcess, WorkerStream, describe_exit
from rewake.errors import ErrorCode, RewakeError

RESTART_DELAY_FIRST_MS: Final = 100
RESTART_DELAY_MAX_MS: Final = 5_000
"""Longest delay between tries to start a child that does not become ready."""

RESTART_DELAY_WELL_MAX_MS: Final = 400
"""The same if children become ready and die young: callers wait for them."""

HEALTHY_AFTER_S: Final = 10.0
"""If a child lived at least so long, its death has a new cause, and its successor starts at once."""

START_TRIES: Final = 3
"""Tries to get the first child of each slot ready, while the pool starts."""

RELOAD_GRACE_S: Final = 3.0
"""Time for attempts on replaced code to suspend or finish."""

WAITING_ATTEMPTS_MAX: Final = 10_000
WAITING_MS_MAX: Final = 10_000
"""Limits on attempts that wait for a worker; above them they fail with RT0010."""

WAITED_RETRY_MS: Final = 1_000
"""Delay before the retry of an attempt that found no worker."""

PING_INTERVAL_S: Final = 1.0

log = structlog.get_logger("rewake.deployments")


class WorkerEvents(msgspec.Struct, kw_only=True):
    """Callbacks for the engine, on the loop's thread: on_ready(pid, discovery_changed), on_exit(pid, returncode).

    on_start_failed(error): a replacing child did not become ready; the pool keeps trying.
    """

    on_ready: Callable[[int, bool], None] | None = None
    on_exit: Callable[[int, int], None] | None = None
    on_start_failed: Callable[[RewakeError], None] | None = None


class WorkerPool:
    """DeploymentClient over `workers` children that all serve the same app."""

    def __init__(self, options: WorkerOptions, *, workers: int = 1, events: WorkerEvents | None = None) -> None:
        self.protocol_type: ProtocolType = "bidi"
        self._options = options
        self._events = events or WorkerEvents()
        self._living: set[WorkerProcess] = set()
        self._slots = [_Slot(self) for _ in range(workers)]
        self._watched = WatchedHandlers()
        self._quarantine = Quarantine(self.spawn, self._on_handlers_lost)
        self._available: list[WorkerProcess] = []
        self._waiting: deque[tuple[WorkerStream, float]] = deque()
        self._discovery: DiscoveryResponse | None = None
        self._last_traceback = ""
        self._reloading = asyncio.Lock()
        self._ticker: asyncio.TimerHandle | None = None
        self._is_closed = False

    # Starting and ending

    async def start(self) -> DiscoveryResponse:
        """Start all children and wait for them. One ready child is enough; the others are tried again.

        Raises RewakeError if no child becomes ready; the error of the user's code is on stderr. The caller may then
        close the pool, or call reload() after a change of the code.
        """
        self._loop = asyncio.get_running_loop()
        self._tick()
        started = await asyncio.gather(*(slot.start() for slot in self._slots), return_exceptions=True)
        for slot, result in zip(self._slots, started, strict=True):
            if isinstance(result, BaseException) and (self._discovery is None or not isinstance(result, RewakeError)):
                raise result
            if isinstance(result, RewakeError):
                slot.restart_later()
        assert self._discovery is not None
        return self._discovery

    async def reload(self) -> None:
        """Replace every child by one with the current code.

        New attempts go to the new children; open attempts have RELOAD_GRACE_S to suspend or finish. Raises RewakeError,
        and changes nothing, if the new code does not become ready.
        """
        async with self._reloading:
            first, *others = self._slots
            await first.replace()
            await asyncio.gather(*(slot.replace() for slot in others))
            self._quarantine.retire(RELOAD_GRACE_S)

    async def close(self) -> None:
        """Abort running attempts and end the children. Idempotent."""
        self._is_closed = True
        if self._ticker is not None:
            self._ticker.cancel()
        waiting, self._waiting = self._waiting, deque()
        for stream, _ in waiting:
            stream.attempt.is_over = True
        self._quarantine.close()
        await asyncio.gather(*(slot.close() for slot in self._slots))
        await asyncio.gather(*(process.close() for process in list(self._living)))

    @property
    def missing_keys(self) -> list[str]:
        """Missing variables of the app's model clients, as reported by the child of the first slot."""
        process = self._slots[0].process
        return [] if process is None else process.missing_keys

    @property
    def has_web(self) -> bool:
        """Whether the app's module has a web app, as reported by the child of the first slot."""
        process = self._slots[0].process
        return process is not None and process.has_web

    # DeploymentClient

    async def discover(self) -> DiscoveryResponse:
        """The manifest of the child that became ready last. Raises RewakeError RW2001 before the first one."""
        if self._discovery is None:
            raise RewakeError(
                ErrorCode.WORKER_START_FAILED,
                f"No worker process for {self._options.app_ref!r} has become ready yet.",
                "What it printed above may say why.",
            )
        return self._discovery

    def start_attempt(self, start: AttemptStart, sink: AttemptSink) -> AttemptHandle:
        """Begin one attempt on the least loaded child, or wait for a ready one. Suspects go to quarantine."""
        stream = WorkerStream(start.loss_count)
        stream.attempt = attempt = FramedAttempt(start, sink, stream)
        stream.hold(mux.encode_open(invoke_path(start), request_headers(start), start.frames))
        if start.loss_count >= QUARANTINE_AFTER:
            log.info(
                "attempt_quarantined",
                invocation_id=start.invocation_id,
                handler=f"{start.service}/{start.handler}",
                workers_lost=start.loss_count,
            )
            self._quarantine.take(stream)
        elif self._watched and self._watched.is_watched(stream.handler, self._loop.time()):
            stream.group = stream.handler
            self._quarantine.take(stream)
        elif (process := self._choose()) is not None:
            stream.bind(process)
        else:
            self._wait(stream)
        return attempt

    def _choose(self) -> WorkerProcess | None:
        available = self._available
        if len(available) <= 1:
            return available[0] if available else None
        return min(available, key=_load)

    # Attempts that wait for a worker

    def _wait(self, stream: WorkerStream) -> None:
        if self._is_closed or len(self._waiting) >= WAITING_ATTEMPTS_MAX:
            report = stream.attempt.on_error
            text = "No worker process is ready."
            asyncio.get_running_loop().call_soon(report, text, WAITED_RETRY_MS, Blame.NOBODY)
            return
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + WAITING_MS_MAX / 1000
        if not self._waiting:
            loop.call_at(deadline_s, self._expire_waiting)
        self._waiting.append((stream, deadline_s))

    def _expire_waiting(self) -> None:
        now_s = self._loop.time()
        while self._waiting and self._waiting[0][1] <= now_s:
            stream, _ = self._waiting.popleft()
            text = f"No worker process became ready within {WAITING_MS_MAX} ms."
            stream.attempt.on_error(text, WAITED_RETRY_MS, Blame.NOBODY)
        if self._waiting:
            self._loop.call_at(self._waiting[0][1], self._expire_waiting)

    def _bind_waiting(self) -> None:
        while self._waiting and (process := self._choose()) is not None:
            stream, _ = self._waiting.popleft()
            if not stream.attempt.is_over:
                stream.bind(process)

    # Processes

    def spawn(self, on_dead: Callable[[WorkerProcess], None], *, is_quarantine: bool = False) -> WorkerProcess:
        """A new child. Raises RewakeError RW2001 if the system refuses a process."""
        try:
            process = WorkerProcess(self._options, on_dead, is_quarantine=is_quarantine)
        except OSError as error:
            raise RewakeError(
                ErrorCode.WORKER_START_FAILED,
                f"No worker process could be started.\n{error}",
                "Check the limits of processes, memory and open files.",
            ) from error
        self._living.add(process)
        process.exited.add_done_callback(lambda exited: self._on_exit(process, exited.result()))
        return process

    # What the slots report

    def _on_available(self, process: WorkerProcess, discovery: DiscoveryResponse) -> None:
        has_changed = self._discovery is None or self._discovery.body != discovery.body
        self._discovery = discovery
        self.protocol_type = protocol_type_of(discovery)
        self._last_traceback = ""
        self._update_available()
        log.info("worker_became_ready", pid=process.pid, discovery_changed=has_changed)
        if self._events.on_ready is not None:
            self._events.on_ready(process.pid, has_changed)
        self._bind_waiting()

    def _on_handlers_lost(self, process: WorkerProcess) -> None:
        """A process died under attempts of several handlers."""
        handlers = [stream.handler for stream in process.streams.values()]
        for handler in self._watched.on_death(handlers, self._loop.time()):
            log.warning("handler_watched", handler=handler, reason="it was running whenever a worker died of late")

    def _update_available(self) -> None:
        self._available = [slot.process for slot in self._slots if slot.process is not None]

    def _on_start_failed(self, error: RewakeError) -> None:
        """Log the user's traceback, unless it equals the last one."""
        text = error.facts.get("traceback", "")
        if text and text != self._last_traceback:
            self._last_traceback = text
            log.error("app_not_loaded", exception=text)
        if self._events.on_start_failed is not None and not self._is_closed:
            self._events.on_start_failed(error)

    def _on_exit(self, process: WorkerProcess, returncode: int) -> None:
        self._living.discard(process)
        was_expected = process.is_retired or self._is_closed
        report = log.info if was_expected else log.warning
        report(
            "worker_exited",
            pid=process.pid,
            reason=describe_exit(returncode),
            lived_ms=round((self._loop.time() - process.started_at_s) * 1000),
            restart_in_ms=None if was_expected or process.is_quarantine else process.restart_delay_ms,
        )
        if self._events.on_exit is not None:
            self._events.on_exit(process.pid, returncode)

    def _tick(self) -> None:
        """Ping the children, so that new attempts avoid those that do not answer."""
        for process in self._available:
            if process.streams:
                process.ping()
        self._quarantine.tick()
        self._ticker = self._loop.call_later(PING_INTERVAL_S, self._tick)


class _Slot:
    """One slot of the pool: its child, and the restart after that child's death."""

    def __init__(self, pool: WorkerPool) -> None:
        self.process: WorkerProcess | None = None
        self._pool = pool
        self._delay_ms = 0
        self._timer: asyncio.TimerHandle | None = None
        self._restarting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the first child; try again if it dies before it is ready. Raises RewakeError like replace()."""
        for left in reversed(range(START_TRIES)):
            try:
                await self.replace()
                break
            except RewakeError as error:
                if not left or "returncode" not in error.facts:
                    raise
                log.warning("worker_start_failed", code=error.code.value, reason=error.message)

    async def replace(self) -> None:
        """Replace the child, if there is one, by a new child. Raises RewakeError if that does not become ready."""
        self._cancel_restart()
        try:
            process = self._pool.spawn(self._on_dead)
            discovery = await asyncio.shield(process.ready)
            if process.is_dead:  # it died after it was ready; on_dead is not called again
                raise process.died_young()
        except RewakeError as error:
            self._pool._on_start_failed(error)
            raise
        old, self.process = self.process, process
        self._pool._on_available(process, discovery)
        if old is not None:
            old.retire(RELOAD_GRACE_S)

    def _on_dead(self, process: WorkerProcess) -> None:
        if process is not self.process or self._pool._is_closed:
            return
        self.process = None
        self._pool._quarantine.on_death(stream.loss_count for stream in process.streams.values())
        self._pool._on_handlers_lost(process)
        self._pool._update_available()
        if self._pool._loop.time() - process.started_at_s >= HEALTHY_AFTER_S:
            self._delay_ms = 0
        process.restart_delay_ms = self._delay_ms = min(self._delay_ms, RESTART_DELAY_WELL_MAX_MS)
        self.restart_later()

    # Restarts

    def restart_later(self) -> None:
        delay_s = self._delay_ms / 1000
        self._delay_ms = min(max(self._delay_ms * 2, RESTART_DELAY_FIRST_MS), RESTART_DELAY_MAX_MS)
        self._timer = self._pool._loop.call_later(delay_s, self._restart)

    def _restart(self) -> None:
        self._timer = None
        self._restarting = asyncio.ensure_future(self._restart_once())

    async def _restart_once(self) -> None:
        try:
            await self.replace()
        except RewakeError as error:
            log.warning("worker_restart_failed", code=error.code.value, retry_in_ms=self._delay_ms)
            if not self._pool._is_closed and self.process is None:
                self.restart_later()

    def _cancel_restart(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def close(self) -> None:
        self._cancel_restart()
        if self._restarting is not None:
            self._restarting.cancel()
            with contextlib.suppress(asyncio.CancelledError, RewakeError):
                await self._restarting


def _load(process: WorkerProcess) -> tuple[bool, int, float]:
    """Sort key for the choice. Of two with equal streams, the one that sent last is less likely to be blocked."""
    return (process.is_busy, len(process.streams), -process.heard_at_s)
