"""What may watch an engine at work: a protocol of a few calls, made on the event-loop thread and never awaited.

The engine knows nothing behind it, and without an observer pays one comparison. Implementations must be quick and must
not raise: they are called between a commit and its effects. See rewake.telemetry for the one that is shipped.
"""

from __future__ import annotations

from typing import Protocol

from rewake.core.effects import Completed, Note, StartAttempt
from rewake.core.writes import Batch


class Observer(Protocol):
    """Hears of facts once they are durable."""

    def traceparent(self, given: str | None) -> str | None:
        """The trace of a new invocation from outside. given: what the caller sent, unchecked."""

    def attempt_traceparent(self, effect: StartAttempt) -> str | None:
        """The parent that the handler's request names."""

    def on_completed(self, effect: Completed) -> None:
        """An invocation has its result."""

    def on_attempt_ended(self, effect: StartAttempt, started_at_ms: int) -> None:
        """An attempt that was running has no stream any more, for whatever reason."""

    def on_note(self, note: Note) -> None:
        """A fact for the log."""

    def on_commit(self, batch: Batch, duration_s: float) -> None:
        """A batch is durable; its effects follow. duration_s: from handing it to the store."""
