"""What the UI acts through: the admin API's operations and what callers do. rewake.engine.Engine has it all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from rewake.admin.engine_port import Operations
from rewake.core.effects import Reply
from rewake.core.model import ServiceSchema, Target
from rewake.engine.waiters import OnAccepted
from rewake.protocol.messages import SignalResult


class UiEngine(Operations, Protocol):
    """An engine of this process, or one elsewhere (engine_elsewhere.py). The pages read past it (reading.py)."""

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

    async def complete_awakeable(self, invocation_id: bytes, signal: int, result: SignalResult) -> Reply: ...


class LocalEngine(UiEngine, Protocol):
    """An engine of this process, whose database is in the directory `path`."""

    path: Path

    @property
    def services(self) -> Mapping[str, ServiceSchema]: ...
