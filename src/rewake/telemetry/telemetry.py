"""Telemetry: the observer of an engine. It counts, and hands completed invocations to the tracer, if there is one.

Everything here is on the engine's hot path, so each call costs well under a microsecond. Slower work, such as decoding
a model's answer, is done when somebody asks for the figures. exposition.py turns the counters into text.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import structlog

from rewake.core.effects import Completed, Note, StartAttempt
from rewake.core.model import Target
from rewake.core.writes import Batch
from rewake.protocol.codec import VERSION_MAX
from rewake.protocol.messages import Failure, MessageType, Success
from rewake.telemetry.histogram import ATTEMPT_MS, COMMIT_US, ROWS, RUN_MS, Histogram

if TYPE_CHECKING:
    from rewake.agents.replies import ModelReply
    from rewake.telemetry.tracing import Tracer

MODELS_MAX: Final = 100
"""Names of models come from journals; further names are counted as `other`."""

REPLIES_MAX: Final = 500
"""Model replies that wait to be decoded; at this count all of them are decoded."""

REPLY_BYTES_MAX: Final = 1 << 20

log = structlog.get_logger("rewake.telemetry")

_RUN_COMPLETION: Final = int(MessageType.RUN_COMPLETION)
_USAGE: Final = b'"usage'
_ENDED_ON_DEMAND: Final = {
    "canceled": "canceled",  # by the engine, before a handler saw it
    "cancelled": "canceled",  # by the Python SDK
    "Cancelled": "canceled",  # by the TypeScript SDK
    "killed": "killed",
}
"""The message of a failure with code 409 -> the outcome it is counted as."""


class HandlerCounts:
    """The figures of one handler."""

    __slots__ = ("attempts", "created", "outcomes", "runs")

    def __init__(self) -> None:
        self.created = 0
        self.outcomes: Counter[str] = Counter()
        self.runs = Histogram(RUN_MS)
        self.attempts = Histogram(ATTEMPT_MS)


class Telemetry:
    """Observes one engine. tracer: sends traces to a collector; None for figures only."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self.tracer = tracer
        self.handlers: dict[tuple[str, str], HandlerCounts] = {}
        self.failures: Counter[tuple[str, str]] = Counter()
        self.commits = Histogram(COMMIT_US)
        self.commit_rows = Histogram(ROWS)
        self.worker_starts = 0
        self.worker_exits: Counter[str] = Counter()
        self.model_calls: Counter[str] = Counter()
        self.tokens: Counter[tuple[str, str]] = Counter()
        self.unnamed: dict[bytes, tuple[int, int, int]] = {}
        """By invocation: calls, input tokens and output tokens of replies without a model's name, until it is known."""

        self._replies: deque[tuple[bytes, bytes]] = deque()

    def start(self) -> None:
        """The engine's database exists now: start the tracer."""
        if self.tracer is not None:
            self.tracer.start()

    def close(self) -> None:
        """Send what still waits. Blocks; call nothing on this object afterwards."""
        if self.tracer is not None:
            self.tracer.close()

    # From the engine

    def traceparent(self, given: str | None) -> str | None:
        return given if self.tracer is None else self.tracer.traceparent(given)

    def attempt_traceparent(self, effect: StartAttempt) -> str | None:
        if self.tracer is None:
            return effect.traceparent
        return self.tracer.attempt_traceparent(effect.invocation_id, effect.traceparent)

    def on_completed(self, effect: Completed) -> None:
        invocation, result = effect.invocation, effect.result
        if invocation is None:
            return
        counts = self._counts(invocation.target)
        if type(result) is not Failure:
            counts.outcomes["succeeded"] += 1
        else:
            on_demand = _ENDED_ON_DEMAND.get(result.message) if result.code == 409 else None
            counts.outcomes[on_demand or "failed"] += 1
        if invocation.completed_at_ms is not None:
            counts.runs.add(max(invocation.completed_at_ms - invocation.created_at_ms, 0))  # clocks are set back
            if self.tracer is not None:
                self.tracer.add(invocation)

    def on_attempt_ended(self, effect: StartAttempt, started_at_ms: int) -> None:
        self._counts(effect.target).attempts.add(max(time.time_ns() // 1_000_000 - started_at_ms, 0))

    def on_note(self, note: Note) -> None:
        if note.event == "attempt_failed":
            service = str(note.facts["target"]).partition("/")[0]
            self.failures[service, str(note.facts["code"])] += 1

    def on_commit(self, batch: Batch, duration_s: float) -> None:
        self.commits.add(int(duration_s * 1_000_000))
        entries = batch.entries
        self.commit_rows.add(len(entries) + len(batch.inserts) + len(batch.updates))
        for invocation in batch.inserts:
            self._counts(invocation.target).created += 1
        replies = [
            (row.invocation_id, row.payload)
            for row in entries
            if row.type_id == _RUN_COMPLETION and _USAGE in row.payload
        ]
        if replies:
            self._replies.extend(replies)
            if len(self._replies) >= REPLIES_MAX:
                self.read_replies()

    def _counts(self, target: Target) -> HandlerCounts:
        name = (target.service, target.handler)
        found = self.handlers.get(name)
        if found is None:
            found = self.handlers[name] = HandlerCounts()
        return found

    # From the workers

    def on_worker_ready(self) -> None:
        self.worker_starts += 1

    def on_worker_exit(self, reason: str) -> None:
        self.worker_exits[reason] += 1

    # Tokens

    def read_replies(self) -> None:
        """Decode the model replies that wait, and count their tokens."""
        while self._replies:
            invocation_id, payload = self._replies.popleft()
            try:
                reply = _reply_in(payload) if len(payload) <= REPLY_BYTES_MAX else None
            except Exception:  # a handler may write anything there; it must not stop the engine
                log.exception("model_reply_unreadable")
                continue
            if reply is None:
                continue
            counted = (1, reply.input_tokens or 0, reply.output_tokens or 0)
            known = self.unnamed.get(invocation_id)
            if reply.model is not None or (known is None and len(self.unnamed) >= REPLIES_MAX):
                self._count_calls(reply.model, *counted)
            else:
                sums = zip(known or (0, 0, 0), counted, strict=True)
                calls, input_tokens, output_tokens = (before + more for before, more in sums)
                self.unnamed[invocation_id] = (calls, input_tokens, output_tokens)

    def name_models(self, found: Mapping[bytes, str | None]) -> None:
        """Count replies without a model's name under the model that the app declares, or else as `unknown`."""
        for invocation_id, model in found.items():
            counted = self.unnamed.pop(invocation_id, None)
            if counted is not None:
                self._count_calls(model, *counted)

    def _count_calls(self, model: str | None, calls: int, input_tokens: int, output_tokens: int) -> None:
        model = model or "unknown"
        if model not in self.model_calls and len(self.model_calls) >= MODELS_MAX:
            model = "other"
        self.model_calls[model] += calls
        self.tokens[model, "input"] += input_tokens
        self.tokens[model, "output"] += output_tokens


def _reply_in(payload: bytes) -> ModelReply | None:
    """The model's reply in a run's completion, if it has one. The decoder is imported at the first use."""
    from rewake.agents.envelope import model_reply
    from rewake.runs.displays import carried
    from rewake.runs.steps import decoded

    result = carried(decoded(MessageType.RUN_COMPLETION, payload, VERSION_MAX))
    return model_reply(result.content) if isinstance(result, Success) else None
