"""What the UI needs of an engine: the admin API's operations, and calls. rewake.engine.Engine has it all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from rewake.admin.engine_port import Operations
from rewake.core.effects import Reply
from rewake.core.model import ServiceSchema
from rewake.engine.calling import Calling
from rewake.protocol.messages import SignalResult


class UiEngine(Operations, Calling, Protocol):
    """An engine of this process, or one elsewhere (engine_elsewhere.py). Reads go past it: runs/reading.py."""

    async def complete_awakeable(self, invocation_id: bytes, signal: int, result: SignalResult) -> Reply: ...


class LocalEngine(UiEngine, Protocol):
    """An engine of this process, whose database is in the directory `path`."""

    path: Path

    @property
    def services(self) -> Mapping[str, ServiceSchema]: ...
