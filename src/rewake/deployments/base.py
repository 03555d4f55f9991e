"""The narrow interface between the engine and whatever runs the handlers.

The engine starts an attempt with encoded frames, hears decoded messages through its sink, and adds notifications
through the handle. Everything happens on the event-loop thread. The interface names neither HTTP nor processes, so a
transport may be a call, a pipe or a connection; framed_attempt.py holds what all of those share.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from rewake.core.model import Blame
from rewake.protocol.framing import Oversized
from rewake.protocol.messages import Message

ProtocolType = Literal["bidi", "request_response"]

ReceivedMessage = tuple[Message | Oversized, int, bytes, int]
"""(decoded message, type id, raw payload, frame flags). The raw payload is what a journal keeps. The last one may be a
result above the limit, of which only the beginning is known; the attempt is to be aborted then."""


class AttemptStart(msgspec.Struct, kw_only=True):
    """What the engine gives to begin one attempt.

    frames: Start and replay as encoded frames, in one bytes object.   headers: extra ones, such as traceparent.
    loss_count: places that broke under it in a row; from QUARANTINE_AFTER on it must not share one with the others.
    """

    service: str
    handler: str
    key: str | None
    invocation_id: str
    protocol_version: int
    frames: bytes
    headers: tuple[tuple[str, str], ...] = ()
    loss_count: int = 0


class AttemptFailure(msgspec.Struct, kw_only=True):
    """Why an attempt ended without a terminal message.

    code: RT0003, RT0007, RT0010, RT0012, RT0015, RT0019 or RT0023 (service-protocol.md 1.6).   status: the numeric
    error code to store.   retry_after_ms: set when the deployment asked for a delay of its own.   blame: who caused it.
    """

    code: str
    status: int
    message: str
    retry_after_ms: int | None = None
    blame: Blame = Blame.OWN


class AttemptSink(Protocol):
    """What the engine implements to hear of one attempt.

    Called on the event-loop thread, never from within a call the engine makes into the deployment (start_attempt, send,
    half_close, abort).
    """

    def on_messages(self, messages: list[ReceivedMessage]) -> None:
        """All messages that arrived complete in one chunk, in order."""

    def on_failure(self, failure: AttemptFailure) -> None:
        """The attempt broke. At most once, ends the attempt; never after on_closed."""

    def on_closed(self) -> None:
        """A terminal message (End, Suspension, Error) was the last of it; comes right after its on_messages."""


class AttemptHandle(Protocol):
    """What the deployment gives back for one attempt. No method blocks or raises; all may be called at any time."""

    def send(self, frames: bytes) -> None:
        """Add notification frames, already encoded and coalesced. Dropped silently after the attempt ended."""

    def half_close(self) -> None:
        """End the request: no frame follows, the SDK suspends or finishes. Idempotent."""

    def abort(self) -> None:
        """Reset the attempt: the sink hears nothing more. Idempotent."""


class DiscoveryResponse(msgspec.Struct, kw_only=True):
    """A deployment's answer to discovery, checked for status and content type but not parsed.

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
        """Begin one attempt. Never raises for an unreachable handler: that comes as on_failure RT0010, later."""

    async def close(self) -> None:
        """Abort what runs and release everything. Idempotent."""
