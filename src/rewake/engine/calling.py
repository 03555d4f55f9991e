"""The engine's interface for callers: the ingress and the pages of the UI.

rewake.engine.Engine implements it, and so does rewake.ui.engine_elsewhere for another server.
"""

from __future__ import annotations

from typing import Protocol

from rewake.core.effects import Reply
from rewake.core.model import Target
from rewake.engine.waiters import OnAccepted


class Calling(Protocol):
    """Finds a target and calls it."""

    def now_ms(self) -> int: ...

    def resolve(self, service: str, handler: str, key: str | None) -> Target | None: ...

    async def invoke(
        self,
        target: Target,
        body: bytes,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        idempotency_key: str | None = None,
        execute_at_ms: int | None = None,
        traceparent: str | None = None,
        wait: bool,
        on_accepted: OnAccepted | None = None,
    ) -> Reply: ...
