"""The interface of observers: a few calls on the event-loop thread, never awaited.

Without an observer the engine pays one comparison. Implementations must be quick and must not raise: they are called
between a commit and its effects. rewake.telemetry has the one that is shipped.
"""

from __future__ import annotations

from typing import Protocol

from rewake.core.effects import Completed, Note, StartAttempt
from rewake.core.writes import Batch


class Observer(Protocol):
    """Gets facts once they are durable."""

    def traceparent(self, given: str | None) -> str | None:
        """The traceparent of a new invocation from outside. given: the caller's, unchecked."""

    def attempt_traceparent(self, effect: StartAttempt) -> str | None:
        """The traceparent for the handler's request."""

    def on_completed(self, effect: Completed) -> None:
        """An invocation has its result."""

    def on_attempt_ended(self, effect: StartAttempt, started_at_ms: int) -> None:
        """The stream of a running attempt ended, for any reason."""

    def on_note(self, note: Note) -> None:
        """A fact for the log."""

    def on_commit(self, batch: Batch, duration_s: float) -> None:
        """A batch is durable; its effects follow. duration_s: since it was submitted to the store."""
