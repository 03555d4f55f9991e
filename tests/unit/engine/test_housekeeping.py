"""What happens because time passes, on a reader of lists and without an engine."""

from __future__ import annotations

import asyncio

from rewake.core.commands import Command, Sweep
from rewake.core.ids import InvocationId
from rewake.core.model import Timer
from rewake.engine.housekeeping import SWEEP_PER_BATCH, Housekeeping

INTERVAL_MS = 3_600_000


class Stored:
    """Invocations past their retention; those of a Sweep are gone after the next flush."""

    def __init__(self, expired_count: int) -> None:
        self.expired = [InvocationId(number.to_bytes(24, "big")) for number in range(expired_count)]
        self.swept: list[int] = []
        self.is_empty = asyncio.Event()

    def due_timers(self, now_ms: int, limit: int) -> list[Timer]:
        return []

    def next_timer_at(self) -> int | None:
        return None

    def expired_invocation_ids(self, now_ms: int, limit: int) -> list[InvocationId]:
        return self.expired[:limit]

    def submit(self, command: Command) -> None:
        assert isinstance(command, Sweep)
        self.swept.append(len(command.invocation_ids))
        self.expired = [each for each in self.expired if each not in command.invocation_ids]

    async def flush(self) -> None:
        if not self.expired:
            self.is_empty.set()


async def swept_at_start(expired_count: int) -> list[int]:
    stored = Stored(expired_count)
    housekeeping = Housekeeping(stored, stored.submit, stored.flush, lambda: 1, INTERVAL_MS)
    housekeeping.start()
    await asyncio.wait_for(stored.is_empty.wait(), 5)
    await housekeeping.stop()
    return stored.swept


def test_what_is_due_at_a_start_is_swept_then_in_slices() -> None:
    """An engine that is restarted more often than the interval would else never forget anything."""
    assert asyncio.run(swept_at_start(2 * SWEEP_PER_BATCH + 1)) == [SWEEP_PER_BATCH, SWEEP_PER_BATCH, 1]
