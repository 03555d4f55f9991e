"""Tracing: a thread sends the spans of completed invocations to a collector, each once.

The event loop only puts invocations into a queue. The thread reads their journals, makes spans and sends them. While
the collector does not answer they wait, up to a limit. sent.py remembers the sent ones, so spans that a killed engine
could not send go out at the next start. OpenTelemetry comes in only through `Sender`, which exporting.py implements.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from rewake.core.model import Invocation
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.messages import Success
from rewake.runs.local.database import DatabaseReading, connected
from rewake.runs.local.figures import completed_since
from rewake.runs.records import record_from
from rewake.telemetry import trace_ids
from rewake.telemetry.collector import ENDPOINT_VARIABLES, Sender
from rewake.telemetry.sent import SentInvocations
from rewake.telemetry.spans import Span, spans_of

INTERVAL_S: Final = 1.0
PAUSE_MAX_S: Final = 30.0
"""Longest pause between two tries while the collector does not answer."""

QUEUE_MAX: Final = 20_000
"""Invocations that may wait to be sent; further ones are counted as dropped."""

INVOCATIONS_PER_SEND: Final = 100
MISSED_MAX: Final = 10_000
CLOSE_S: Final = 5.0

log = structlog.get_logger("rewake.telemetry")


def tracer_for(directory: Path, endpoint: str | None, environ: Mapping[str, str] = os.environ) -> Tracer | None:
    """A tracer to `endpoint`, or to the collector in the OTEL_* variables; None if neither names one.

    Raises RewakeError RW1008 if the extra is missing and `endpoint` is given. The environment alone raises nothing:
    other programs use the same variables.
    """
    is_off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    if endpoint is None and (is_off or not any(environ.get(name) for name in ENDPOINT_VARIABLES)):
        return None
    from rewake import __version__

    try:
        from rewake.telemetry.exporting import OtlpSender

        return Tracer(directory, OtlpSender(endpoint, __version__))
    except RewakeError as error:
        if endpoint is not None or error.code is not ErrorCode.EXTRA_MISSING:
            raise
        log.warning("tracing_unavailable", reason=error.message, hint=error.hint)
        return None


def _without_payloads(invocation: Invocation) -> Invocation:
    """The invocation without input and result, which spans do not need; a failure keeps its message."""
    result = _DONE if type(invocation.result) is Success else invocation.result
    return msgspec.structs.replace(invocation, result=result, attempt=None, journal=None, listeners=None, notified=None)


_DONE: Final = Success(b"")


class Tracer:
    """Sends the spans of invocations that complete in the engine on `directory`."""

    def __init__(self, directory: Path, sender: Sender, *, interval_s: float = INTERVAL_S) -> None:
        self._directory = directory
        self._sender = sender
        self._interval_s = interval_s
        self._queue: deque[Invocation] = deque()
        self._outcomes: Counter[str] = Counter()
        self._missed: dict[tuple[bytes, int | None], Invocation] = {}
        self._closing = threading.Event()
        self._close_by_s = float("inf")
        self._thread: threading.Thread | None = None

    # On the event-loop thread

    def start(self) -> None:
        """Begin sending. The engine's database must exist."""
        self._thread = threading.Thread(target=self._run, name="rewake-tracing", daemon=True)
        self._thread.start()

    def traceparent(self, given: str | None) -> str:
        """The traceparent to store with a new invocation: the caller's, or one that begins a new trace."""
        if given is not None and trace_ids.parsed(given) is not None:
            return given
        trace_id = trace_ids.new_trace_id()
        return trace_ids.root_traceparent(trace_id, is_sampled=self._sender.is_sampled(trace_id))

    def attempt_traceparent(self, invocation_id: bytes, stored: str | None) -> str:
        """A traceparent for the handler: its own spans get the invocation's span as their parent."""
        context = trace_ids.context_of(invocation_id, stored)
        span_id = trace_ids.invocation_span_id(invocation_id)
        return f"00-{context.trace_id}-{span_id}-{int(context.is_sampled):02x}"

    def add(self, invocation: Invocation) -> None:
        """Queue an invocation, so that its spans are sent. The queue holds no payloads: this bounds its bytes too."""
        if len(self._queue) < QUEUE_MAX:
            self._queue.append(_without_payloads(invocation))
        else:
            self._outcomes["dropped"] += 1

    def span_counts(self) -> dict[str, int]:
        """Spans by outcome. A dropped invocation counts as one span: how many it had is not known."""
        return {"sent": self._outcomes["sent"], "dropped": self._outcomes["dropped"]}

    @property
    def waiting_count(self) -> int:
        """Invocations whose spans are not sent yet."""
        return len(self._queue)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Send what waits, for at most `timeout_s`. Blocks."""
        self._close_by_s = time.monotonic() + timeout_s
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._thread = None

    # On the thread

    def _run(self) -> None:
        try:
            with connected(self._directory) as look:
                sent = SentInvocations(self._directory, time.time_ns() // 1_000_000)
                if sent.is_new:
                    sent.save()
                self._add_missed(look(), sent)
                self._work(look, sent)
        except Exception:
            log.exception("tracing_failed")
        self._sender.close()

    def _add_missed(self, reading: DatabaseReading, sent: SentInvocations) -> None:
        """Queue invocations that completed before this start and were not sent, in front of all others.

        One that completes meanwhile may be queued twice; see _is_due.
        """
        found = [_without_payloads(item) for item in completed_since(reading, sent.until_ms, MISSED_MAX)]
        missed = [item for item in found if not sent.has(item.id, item.completed_at_ms or 0)]
        self._missed = {(item.id, item.completed_at_ms): item for item in missed}
        self._queue.extendleft(reversed(missed))
        if missed:
            log.info("traces_recovered", invocation_count=len(missed))

    def _work(self, look: Callable[[], DatabaseReading], sent: SentInvocations) -> None:
        pause_s = self._interval_s
        while True:
            is_closing = self._closing.wait(pause_s)
            while self._queue and time.monotonic() < self._close_by_s:
                if not self._send_some(look(), sent):
                    pause_s = min(pause_s * 2, PAUSE_MAX_S)
                    break
                pause_s = self._interval_s
            if is_closing:
                self._outcomes["dropped"] += len(self._queue)
                return

    def _send_some(self, reading: DatabaseReading, sent: SentInvocations) -> bool:
        """Send the spans of the first in the queue. If the collector does not accept them they stay: returns False."""
        batch = [self._queue[place] for place in range(min(len(self._queue), INVOCATIONS_PER_SEND))]
        spans: list[Span] = []
        for invocation in batch:
            if self._is_due(invocation, sent):
                spans += self._spans_of(reading, invocation)
        if spans and not self._sender.send(spans):
            log.warning("spans_not_sent", span_count=len(spans), invocations_waiting=len(self._queue))
            return False
        for _ in batch:
            self._queue.popleft()
        self._outcomes["sent"] += len(spans)
        sent.add((item.id, item.completed_at_ms or 0) for item in batch)
        return True

    def _is_due(self, invocation: Invocation, sent: SentInvocations) -> bool:
        """Whether it still has to be sent: it was not sent before, and is not queued a second time."""
        found = self._missed.get((invocation.id, invocation.completed_at_ms), invocation)
        return found is invocation and not sent.has(invocation.id, invocation.completed_at_ms or 0)

    def _spans_of(self, reading: DatabaseReading, invocation: Invocation) -> list[Span]:
        if not trace_ids.context_of(invocation.id, invocation.traceparent).is_sampled:
            return []
        try:
            entries = reading.entries(invocation.id, with_payload=True)
            return spans_of(record_from(invocation, entries, reading.events(invocation.id)), reading.directory)
        except Exception:  # one strange journal must not end the traces of all others
            log.exception("spans_not_made", invocation_id=invocation.id.hex())
            return []
