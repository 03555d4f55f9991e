"""Live attempts: one small object per running handler, between its deployment and the core.

It turns the SDK's messages into commands, and committed notifications into frames. It keeps the inactivity and abort
timeouts, and queues attempts above the concurrency limit. Nothing here is durable: after a crash it is rebuilt from the
journal. `delivered` counts the journal entries written to the stream; the core needs it when the handler suspends.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from rewake.core.commands import AttemptFailed, AttemptWithdrawn, Command, MakeRoom, SdkMessages
from rewake.core.effects import CloseAttempt, CloseMode, Forward, StartAttempt
from rewake.core.failures import JOURNAL_MISMATCH
from rewake.core.ids import EntryIndex, invocation_id_to_str
from rewake.core.model import AttemptError, Blame
from rewake.core.reader import Reader
from rewake.deployments.base import (
    AttemptFailure,
    AttemptHandle,
    AttemptStart,
    DeploymentClient,
    ReceivedMessage,
)
from rewake.engine.attempt_queue import AttemptQueue
from rewake.engine.draws import Draws
from rewake.engine.mismatch import explain
from rewake.engine.observer import Observer
from rewake.engine.places import Places
from rewake.limits import WAITING_MAX, WAITING_PER_SERVICE_MAX
from rewake.protocol.codec import encode_message
from rewake.protocol.framing import MESSAGE_BYTES_MAX, encode_frame, encode_frames
from rewake.protocol.messages import Error, MessageType, Start

QUIET_AFTER_S = 0.05
"""An attempt without a message in either direction for so long may be asked to make room for others."""

STALLED_AFTER_S = 1.0
"""If no place becomes free for so long, attempts without a pending journal entry are asked too, if they were quiet for
as long: they wait for an awakeable or a signal, or run code between two steps."""

LEAVES_WITHIN_S = 1.0
"""Time that an attempt gets to suspend; meanwhile no other is asked for the same place."""

MESSAGES_PER_COMMAND_MAX = 8
"""A handler's messages are submitted in slices of this size, so that one which cancels 4,000 children blocks nobody."""

STREAM_HEADER = "x-rewake-stream"
"""Header of an attempt: the URL to which its handler may stream a step's output (rewake.streams)."""

RESUMED_HEADER: Final = ("x-rewake-resumed", "clean")
"""Header of an attempt after a stored suspension: all work of the attempt before has ended (rewake.ext.kernel.effects).

It must not be derived from a counter: an attempt that was cut by a crash of the engine must not get it.
"""

NOT_REACHED_USER_CODE = frozenset({"RT0011", "RT0013", "RT0014", "RT0015", "RT0019"})
log = structlog.get_logger("rewake.engine")

DEPLOYMENT_REMOVED = "the deployment '{}' was removed while this attempt ran on it"
CLIENT_MISSING = "the deployment '{}' is registered but not connected to this engine"


class LiveAttempt:
    """One running attempt; the AttemptSink of its deployment."""

    __slots__ = (
        "_attempts",
        "_backlog",
        "_failure",
        "_timer",
        "delivered",
        "effect",
        "frames",
        "handle",
        "is_half_closed",
        "last_activity",
        "room_asks",
        "started_at_ms",
    )

    def __init__(self, attempts: LiveAttempts, effect: StartAttempt) -> None:
        self._attempts = attempts
        self.effect = effect
        self.handle: AttemptHandle | None = None
        self.delivered = EntryIndex(0)
        self.frames: list[bytes] = []
        self.is_half_closed = False
        self.started_at_ms = attempts.now_ms()
        self.last_activity = attempts.loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.room_asks = 0
        self._backlog: list[ReceivedMessage] = []
        self._failure: AttemptFailure | None = None

    # From the deployment

    def on_messages(self, messages: list[ReceivedMessage]) -> None:
        self._note_activity()
        if isinstance(error := messages[-1][0], Error):
            messages[-1] = (self._attempts.explained(self.effect, error), *messages[-1][1:])
        if self._backlog:
            self._backlog.extend(messages)
        elif len(messages) <= MESSAGES_PER_COMMAND_MAX:
            self._submit(messages)
        else:
            self._backlog = messages
            self._submit_slice()

    def _submit_slice(self) -> None:
        """Submit a slice of the messages; the next slice follows after other tasks had a turn."""
        if self._attempts.running.get(self.effect.invocation_id) is not self:
            self._backlog = []
            return
        messages, self._backlog = self._backlog[:MESSAGES_PER_COMMAND_MAX], self._backlog[MESSAGES_PER_COMMAND_MAX:]
        self._submit(messages)
        if self._backlog:
            self._attempts.loop.call_soon(self._submit_slice)
        elif self._failure is not None:
            self.on_failure(self._failure)

    def _submit(self, messages: list[ReceivedMessage]) -> None:
        effect = self.effect
        self._attempts.submit(
            SdkMessages(
                now_ms=self._attempts.now_ms(),
                invocation_id=effect.invocation_id,
                epoch=effect.epoch,
                delivered=self.delivered,
                messages=messages,
                seed=self._attempts.draws.take(16),
            )
        )

    def on_failure(self, failure: AttemptFailure) -> None:
        if self._backlog:  # submit the messages that came before it
            self._failure = failure
            return
        self._fail(AttemptError(failure.status, failure.message, failure.code), failure.retry_after_ms, failure.blame)

    def on_closed(self) -> None:
        """The stream ended. Its terminal message has been submitted already."""

    def _fail(self, error: AttemptError, retry_after_ms: int | None = None, blame: Blame = Blame.OWN) -> None:
        self.stop_timer()
        self._attempts.fail(self.effect, error, retry_after_ms, blame)

    # To the deployment

    def begin(self, client: DeploymentClient, frames: bytes, delivered: EntryIndex) -> None:
        effect = self.effect
        self.delivered = delivered
        observer = self._attempts.observer
        traceparent = effect.traceparent if observer is None else observer.attempt_traceparent(effect)
        headers: tuple[tuple[str, str], ...] = (("traceparent", traceparent),) if traceparent else ()
        if (links := self._attempts.approval_header(effect)) is not None:
            headers += (links,)
        if (stream_url := self._attempts.stream_url(effect)) is not None:
            headers += ((STREAM_HEADER, stream_url),)
        if effect.is_resumed:
            headers += (RESUMED_HEADER,)
        start = AttemptStart(
            service=effect.target.service,
            handler=effect.target.handler,
            key=effect.target.key,
            invocation_id=invocation_id_to_str(effect.invocation_id),
            protocol_version=effect.version,
            frames=frames,
            headers=headers,
            loss_count=effect.loss_count,
            message_bytes_max=self._attempts.message_bytes_max,
        )
        self.handle = client.start_attempt(start, self)
        if client.protocol_type == "request_response" or effect.options.inactivity_timeout_ms == 0:
            self.half_close()
        else:
            self._arm(effect.options.inactivity_timeout_ms / 1000)

    def queue(self, forward: Forward) -> None:
        """Add a committed notification, unless the replay had it; flush() sends it."""
        if self.is_half_closed or self.handle is None:
            return
        if forward.is_ack or forward.index >= self.delivered:
            self.frames.append(encode_frame(forward.type_id, forward.payload))
            self.delivered = EntryIndex(max(self.delivered, forward.index + 1))

    def flush(self) -> None:
        """Send all queued frames at once: one chunk per commit."""
        if self.frames and self.handle is not None:
            self.handle.send(self.frames[0] if len(self.frames) == 1 else b"".join(self.frames))
            self._note_activity()
        self.frames = []

    def half_close(self) -> None:
        """Ask the handler to suspend: no notification follows."""
        if self.is_half_closed or self.handle is None:
            return
        self.flush()
        self.is_half_closed = True
        self.handle.half_close()
        self._note_activity()
        self._arm(self.effect.options.abort_timeout_ms / 1000)

    def may_make_room(self, now: float, quiet_s: float, *, is_urgent: bool) -> bool:
        """Whether it was quiet for so long, and has not been asked in this way since its last message."""
        return not self.is_half_closed and self.room_asks <= is_urgent and self.last_activity < now - quiet_s

    def make_room(self, *, is_urgent: bool) -> None:
        """Have the core suspend it, if it only waits for others; if urgent, also without a pending entry."""
        self.room_asks = 1 + is_urgent
        effect = self.effect
        self._attempts.submit(
            MakeRoom(
                now_ms=self._attempts.now_ms(),
                invocation_id=effect.invocation_id,
                epoch=effect.epoch,
                is_urgent=is_urgent,
            )
        )

    def _note_activity(self) -> None:
        self.last_activity = self._attempts.loop.time()
        self.room_asks = 0

    def abort(self) -> None:
        self.stop_timer()
        if self.handle is not None:
            self.handle.abort()

    # Timeouts: one timer, re-armed lazily, so that a message costs only the time stamp

    def stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, delay_s: float) -> None:
        self.stop_timer()
        self._timer = self._attempts.loop.call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        options = self.effect.options
        limit_ms = options.abort_timeout_ms if self.is_half_closed else options.inactivity_timeout_ms
        remaining = self.last_activity + limit_ms / 1000 - self._attempts.loop.time()
        if remaining > 0.001:
            self._arm(remaining)
        elif not self.is_half_closed:
            self.half_close()
        else:
            self.abort()
            message = f"the invocation stream was closed after the 'abort timeout' ({limit_ms} ms) fired."
            self._fail(AttemptError(500, message, "RT0001"))


class LiveAttempts:
    """All live attempts, by invocation; starts them within the concurrency limit, in turns: see attempt_queue.py.

    While attempts are queued, running ones that only wait for others are asked to suspend, the quietest first. Without
    that, callers could hold all places while their callees are queued. If no place becomes free, silent attempts are
    asked too: they may wait for an awakeable that a queued attempt would resolve.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        clients: dict[str, DeploymentClient],
        submit: Callable[[Command], None],
        now_ms: Callable[[], int],
        concurrency_max: int,
        waiting_max: int = WAITING_MAX,
        waiting_per_service_max: int = WAITING_PER_SERVICE_MAX,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        observer: Observer | None = None,
        approval_header: Callable[[StartAttempt], tuple[str, str] | None] = lambda _: None,
        stream_url: Callable[[StartAttempt], str | None] = lambda _: None,
        service_count: Callable[[], int] = lambda: 1,
    ) -> None:
        self.approval_header = approval_header
        self.loop = asyncio.get_running_loop()
        self.observer = observer
        self.stream_url = stream_url
        self.message_bytes_max = message_bytes_max
        self.now_ms = now_ms
        self.submit = submit
        self.draws = Draws()
        self._reader = reader
        self._clients = clients
        self._places = Places(concurrency_max, service_count)
        self._waiting_max = waiting_max
        self._waiting_per_service_max = waiting_per_service_max
        self.running: dict[bytes, LiveAttempt] = {}
        self._queued = AttemptQueue()
        self._to_flush: list[LiveAttempt] = []
        self._room_timer: asyncio.TimerHandle | None = None
        self._moved_at_s = 0.0
        self.started_count = 0

    def full_for(self, service: str) -> str | None:
        """The limit that a new run of this service would pass; None if there is room."""
        if not self._queued:
            return None
        if len(self._queued) >= self._waiting_max:
            return "waiting-max"
        return "waiting-per-service-max" if self._queued.count_of(service) >= self._waiting_per_service_max else None

    def start(self, effect: StartAttempt) -> None:
        if not self._places.has_one_for(effect.target.service):
            # By the time it starts more may be in the journal than the input.
            self._queued.add(msgspec.structs.replace(effect, entries=None))
            self._make_room_soon()
        else:
            self._start(effect)

    def _start(self, effect: StartAttempt) -> None:
        self.started_count += 1
        self._moved_at_s = self.loop.time()
        attempt = LiveAttempt(self, effect)
        self.running[effect.invocation_id] = attempt
        self._places.take(effect.target.service)
        client = self._clients.get(effect.deployment_id)
        if client is None:
            message = CLIENT_MISSING.format(effect.deployment_id)
            self.loop.call_soon(self.fail, effect, AttemptError(500, message, "RT0011"))
            return
        try:
            entries = effect.entries
            if entries is None:
                entries = tuple((row.type_id, row.payload) for row in self._reader.journal(effect.invocation_id))
            attempt.begin(client, self._opening(effect, entries), EntryIndex(len(entries)))
        except Exception as error:  # the effects behind this one must still be released
            log.exception("attempt_not_started", invocation_id=invocation_id_to_str(effect.invocation_id))
            message = f"the attempt could not be started: {error!r}"
            self.loop.call_soon(self.fail, effect, AttemptError(500, message, "RT0006"))

    def _make_room_soon(self) -> None:
        if self._room_timer is None and self._queued:
            self._room_timer = self.loop.call_later(QUIET_AFTER_S, self._make_room)

    def _make_room(self) -> None:
        self._room_timer = None
        now = self.loop.time()
        running = self.running.values()
        leaving = sum(each.is_half_closed and now - each.last_activity < LEAVES_WITHIN_S for each in running)
        is_urgent = now - self._moved_at_s >= STALLED_AFTER_S
        quiet_s = STALLED_AFTER_S if is_urgent else QUIET_AFTER_S
        quiet = [each for each in running if each.may_make_room(now, quiet_s, is_urgent=is_urgent)]
        for attempt in heapq.nsmallest(len(self._queued) - leaving, quiet, key=lambda each: each.last_activity):
            attempt.make_room(is_urgent=is_urgent)
        self._make_room_soon()

    def rest(self, quiet_s: float, stalled_s: float) -> bool:
        """Ask waiting attempts to suspend. Returns whether no attempt runs or is queued now.

        quiet_s: silence after which an attempt with a pending journal entry is asked.   stalled_s: for all others.
        """
        now = self.loop.time()
        for attempt in self.running.values():
            for is_urgent, after_s in ((False, quiet_s), (True, stalled_s)):
                if attempt.may_make_room(now, after_s, is_urgent=is_urgent):
                    attempt.make_room(is_urgent=is_urgent)
        return not self.running and not self._queued

    def _opening(self, effect: StartAttempt, entries: tuple[tuple[int, bytes], ...]) -> bytes:
        """Start and the replayed journal as frames."""
        start = Start(
            id=effect.invocation_id,
            debug_id=invocation_id_to_str(effect.invocation_id),
            known_entries=len(entries),
            state=effect.state,
            partial_state=effect.partial_state,
            key=effect.key,
            retry_count_since_last_stored_entry=effect.retry_count,
            duration_since_last_stored_entry=max(self.now_ms() - effect.stored_at_ms, 0),
            random_seed=effect.random_seed,
            idempotency_key=effect.idempotency_key,
        )
        return encode_frames([(MessageType.START, encode_message(start, effect.version)), *entries])

    def explained(self, effect: StartAttempt, error: Error) -> Error:
        """The error of an attempt, with the cause that its journal shows."""
        if error.code != JOURNAL_MISMATCH:
            return error
        return explain(error, self._reader.journal(effect.invocation_id))

    def is_running(self, invocation_id: bytes, epoch: int) -> bool:
        """Whether this attempt of an invocation runs."""
        attempt = self.running.get(invocation_id)
        return attempt is not None and attempt.effect.epoch == epoch

    def forward(self, effect: Forward) -> None:
        attempt = self.running.get(effect.invocation_id)
        if attempt is not None and attempt.effect.epoch == effect.epoch:
            if not attempt.frames:
                self._to_flush.append(attempt)
            attempt.queue(effect)

    def flush(self) -> None:
        """Send every attempt its notifications in one chunk. Called once after the effects of a commit."""
        for attempt in self._to_flush:
            attempt.flush()
        self._to_flush.clear()

    def close(self, effect: CloseAttempt) -> None:
        queued = self._queued.get(effect.invocation_id)
        if queued is not None and queued.epoch == effect.epoch:
            self._queued.remove(queued)
            if effect.mode is CloseMode.HALF_CLOSE:  # it will be paused
                self.submit(
                    AttemptWithdrawn(now_ms=self.now_ms(), invocation_id=queued.invocation_id, epoch=queued.epoch)
                )
            return
        attempt = self.running.get(effect.invocation_id)
        if attempt is None or attempt.effect.epoch != effect.epoch:
            return
        if effect.mode is CloseMode.HALF_CLOSE:
            attempt.half_close()
            return
        if effect.mode is CloseMode.ABORT:
            attempt.abort()
        attempt.stop_timer()
        attempt.handle = None  # The handle refers back to this object; without it there is no cycle to collect.
        del self.running[effect.invocation_id]
        self._places.give_back(attempt.effect.target.service)
        if self.observer is not None:
            self.observer.on_attempt_ended(attempt.effect, attempt.started_at_ms)
        while self._queued and not self._places.is_full:
            following = self._queued.take(self._places.has_one_for)
            if following is None:
                break
            self._start(following)

    def fail(
        self,
        effect: StartAttempt,
        error: AttemptError,
        retry_after_ms: int | None = None,
        blame: Blame = Blame.OWN,
    ) -> None:
        self.submit(
            AttemptFailed(
                now_ms=self.now_ms(),
                invocation_id=effect.invocation_id,
                epoch=effect.epoch,
                error=error,
                jitter=random.random(),
                retry_after_ms=retry_after_ms,
                reached_user_code=error.restate_code not in NOT_REACHED_USER_CODE,
                blame=blame,
            )
        )

    def fail_on(self, deployment_id: str) -> None:
        """Cut off the attempts on a deployment that is being removed."""
        for attempt in list(self.running.values()):
            if attempt.effect.deployment_id == deployment_id:
                attempt.abort()
                self.fail(attempt.effect, AttemptError(500, DEPLOYMENT_REMOVED.format(deployment_id), "RT0011"))

    def abort_all(self) -> None:
        """Cut off all attempts; used when memory is rebuilt, and at the end."""
        running, self.running = self.running, {}
        self._places.clear()
        if self._room_timer is not None:
            self._room_timer.cancel()
            self._room_timer = None
        self._queued = AttemptQueue()
        self._to_flush.clear()
        for attempt in running.values():
            attempt.abort()

    @property
    def queued_count(self) -> int:
        return len(self._queued)
