"""The interface between the engine and a transport to handlers.

The engine starts an attempt with encoded frames, gets decoded messages through its sink, and sends notifications
through the handle. Everything happens on the event-loop thread. The interface names neither HTTP nor processes, so a
transport may be a call, a pipe or a connection; framed_attempt.py is their common base.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from rewake.core.model import Blame
from rewake.protocol.framing import MESSAGE_BYTES_MAX, Oversized
from rewake.protocol.messages import Message

ProtocolType = Literal["bidi", "request_response"]

ReceivedMessage = tuple[Message | Oversized, int, bytes, int]
"""(decoded message, type id, raw payload, frame flags). The journal stores the raw payload. The last message of a list
may be Oversized, with only its beginning; then the attempt must be aborted."""


class AttemptStart(msgspec.Struct, kw_only=True):
    """The engine's input for one attempt.

    frames: Start and the replay, encoded, in one bytes object.   headers: additional ones, such as traceparent.
    loss_count: processes that died under it in a row; from QUARANTINE_AFTER on it must not share one with others.
    message_bytes_max: the largest message that is accepted from it.
    """

    service: str
    handler: str
    key: str | None
    invocation_id: str
    protocol_version: int
    frames: bytes
    headers: tuple[tuple[str, str], ...] = ()
    loss_count: int = 0
    message_bytes_max: int = MESSAGE_BYTES_MAX


class AttemptFailure(msgspec.Struct, kw_only=True):
    """Why an attempt ended without a terminal message.

    code: RT0003, RT0007, RT0010, RT0012, RT0015, RT0019 or RT0023 (service-protocol.md 1.6).   status: the numeric
    error code to store.   retry_after_ms: the deployment's own delay, if it has one.   blame: the cause.
    """

    code: str
    status: int
    message: str
    retry_after_ms: int | None = None
    blame: Blame = Blame.OWN


class AttemptSink(Protocol):
    """The engine's callbacks for one attempt.

    They are called on the event-loop thread, but never from within the engine's own calls (start_attempt, send,
    half_close, abort).
    """

    def on_messages(self, messages: list[ReceivedMessage]) -> None:
        """All messages that one chunk completed, in order."""

    def on_failure(self, failure: AttemptFailure) -> None:
        """The attempt broke, and ends. Called at most once, and never after on_closed."""

    def on_closed(self) -> None:
        """The attempt ended with a terminal message (End, Suspension, Error). Called right after its on_messages."""


class AttemptHandle(Protocol):
    """The deployment's handle for one attempt. No method blocks or raises; all may be called at any time."""

    def send(self, frames: bytes) -> None:
        """Send notification frames, encoded and joined. Ignored after the attempt ended."""

    def half_close(self) -> None:
        """End the request: no frame follows, so the SDK suspends or finishes. Idempotent."""

    def abort(self) -> None:
        """Reset the attempt: the sink gets no further call. Idempotent."""


class DiscoveryResponse(msgspec.Struct, kw_only=True):
    """A deployment's answer to discovery, with checked status and content type, not parsed.

    manifest_version: N of the content type.   server: the SDK's x-restate-server header.   body: the manifest, JSON.
    """

    manifest_version: int
    server: str | None
    body: bytes


class DeploymentClient(Protocol):
    """One registered deployment, able to run attempts."""

    protocol_type: ProtocolType

    async def discover(self) -> DiscoveryResponse:
        """Ask for the manifest. Raises RewakeError RW2xxx."""

    def start_attempt(self, start: AttemptStart, sink: AttemptSink) -> AttemptHandle:
        """Begin one attempt. Does not raise for an unreachable handler: the sink then gets on_failure RT0010 later."""

    async def close(self) -> None:
        """Abort running attempts and release everything. Idempotent."""
