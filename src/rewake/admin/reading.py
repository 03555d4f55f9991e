"""How the admin API looks at runs: in the engine's database, on a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rewake.admin.engine_port import EnginePort

if TYPE_CHECKING:
    from rewake.runs.reading import Read, Reading


def reader_of(engine: EnginePort) -> Read:
    """Looks things up in the engine's database. The first look imports what reads runs, which few servers need."""

    async def read(find: Callable[[Reading], Any]) -> Any:
        from rewake.runs.covered import covered
        from rewake.runs.local.database import reading_of
        from rewake.runs.reading import read_on_thread

        return await read_on_thread(lambda: reading_of(engine), lambda reading: find(covered(reading)))

    return read
