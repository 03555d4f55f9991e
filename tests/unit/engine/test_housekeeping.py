"""What happens because time passes, on a reader of lists and without an engine."""

from __future__ import annotations

import asyncio
import time

from rewake.core.commands import Command, Sweep, TimersDue
from rewake.core.ids import CompletionId, InvocationId
from rewake.core.model import Timer
from rewake.core.wakeups import KILL, WAKE
from rewake.engine.housekeeping import SET_BACK_TIMERS_MAX, SWEEP_PER_BATCH, TIMERS_PER_BATCH, Housekeeping

HOUR_MS = 3_600_000
INTERVAL_MS = 3_600_000


class Armed:
    """Timers, of which each TimersDue fires some."""

    def __init__(self, *armed: Timer) -> None:
        self.armed = list(armed)
        self.fired: list[Timer] = []
        self.has_fired = asyncio.Event()

    def due_timers(self, now_ms: int, limit: int, *, without: int | None = None) -> list[Timer]:
        return [timer for timer in self.armed if timer[0] <= now_ms and timer[2] != without][:limit]

    def next_timer_at(self) -> int | None:
        return min((timer[0] for timer in self.armed), default=None)

    def expired_invocation_ids(self, now_ms: int, limit: int) -> list[InvocationId]:
        return []

    def submit(self, command: Command) -> None:
        assert isinstance(command, TimersDue)
        self.fired += command.due
        self.has_fired.set()

    async def flush(self) -> None:
        self.armed = [timer for timer in self.armed if timer not in self.fired]


class Stored:
    """Invocations past their retention; those of a Sweep are gone after the next flush."""

    def __init__(self, expired_count: int) -> None:
        self.expired = [InvocationId(number.to_bytes(24, "big")) for number in range(expired_count)]
        self.swept: list[int] = []
        self.is_empty = asyncio.Event()

    def due_timers(self, now_ms: int, limit: int, *, without: int | None = None) -> list[Timer]:
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


def no_room(limit: int) -> int:
    """Nothing is free in the file."""
    return 0


async def swept_at_start(expired_count: int) -> list[int]:
    stored = Stored(expired_count)
    housekeeping = Housekeeping(stored, stored.submit, stored.flush, lambda: 1, INTERVAL_MS, no_room, list)
    housekeeping.start()
    await asyncio.wait_for(stored.is_empty.wait(), 5)
    await housekeeping.stop()
    return stored.swept


def test_what_is_due_at_a_start_is_swept_then_in_slices() -> None:
    """An engine that is restarted more often than the interval would else never forget anything."""
    assert asyncio.run(swept_at_start(2 * SWEEP_PER_BATCH + 1)) == [SWEEP_PER_BATCH, SWEEP_PER_BATCH, 1]


def timer(fire_at_ms: int, number: int = 0, completion_id: CompletionId = WAKE) -> Timer:
    return fire_at_ms, InvocationId(number.to_bytes(24, "big")), completion_id


def fired_after_an_hour_back(stored: Armed, unstored: list[Timer]) -> list[Timer]:
    """What fires first after the clock, at two hours, was set back by one."""

    async def main() -> list[Timer]:
        housekeeping = Housekeeping(
            stored, stored.submit, stored.flush, lambda: HOUR_MS, INTERVAL_MS, no_room, lambda: unstored
        )
        housekeeping.start()
        housekeeping.on_set_back(HOUR_MS)
        await asyncio.wait_for(stored.has_fired.wait(), 5)
        await housekeeping.stop()
        return stored.fired

    return asyncio.run(main())


def test_what_was_armed_before_the_clock_was_set_back_fires_after_its_delay() -> None:
    """By an hour, 20 ms before the first is due; the second is armed for an hour later."""
    assert fired_after_an_hour_back(Armed(timer(7_200_020), timer(10_800_000)), []) == [timer(7_200_020)]


def test_a_timer_that_waits_to_be_stored_when_the_clock_is_set_back_fires_after_its_delay() -> None:
    """A commit that nobody waits for comes up to 20 ms later: the reader does not see its timers yet."""
    assert fired_after_an_hour_back(Armed(), [timer(7_200_020)]) == [timer(7_200_020)]


def test_of_very_many_those_that_are_due_first_keep_to_the_time_that_has_passed() -> None:
    async def main() -> list[Timer]:
        stored = Armed(*(timer(1, number) for number in range(SET_BACK_TIMERS_MAX + 1)))
        housekeeping = Housekeeping(stored, stored.submit, stored.flush, lambda: 0, INTERVAL_MS, no_room, list)
        housekeeping.on_set_back(1_000)
        await housekeeping.stop()
        return stored.fired

    assert len(asyncio.run(main())) == SET_BACK_TIMERS_MAX


class Tree(Armed):
    """The rest of a tree that is being killed, and timers of others. Each commit kills a few, and takes a while."""

    KILLS = 5
    COMMIT_S = 0.002

    def __init__(self, size: int, *others: Timer) -> None:
        super().__init__(*(timer(1, number, KILL) for number in range(size)), *others)
        self.batches: list[list[Timer]] = []
        self.turns: list[int] = []
        self.is_empty = asyncio.Event()

    def submit(self, command: Command) -> None:
        assert isinstance(command, TimersDue)
        self.batches.append(command.due)
        self.turns.append(0)
        kills = [each for each in command.due if each[2] == KILL]
        self.fired += [each for each in command.due if each not in kills[self.KILLS :]]

    async def flush(self) -> None:
        time.sleep(self.COMMIT_S)  # noqa: ASYNC251  # stands for the processor time of a slice
        self.turns[-1] = 0
        await super().flush()
        if not self.armed:
            self.is_empty.set()

    def count_turns(self) -> None:
        """Count those of the loop after each batch, as others would get them."""
        if not self.armed:
            return
        if self.turns:
            self.turns[-1] += 1
        asyncio.get_running_loop().call_soon(self.count_turns)


async def killed(tree: Tree) -> Tree:
    housekeeping = Housekeeping(tree, tree.submit, tree.flush, lambda: 3, INTERVAL_MS, no_room, list)
    tree.count_turns()
    housekeeping.start()
    await asyncio.wait_for(tree.is_empty.wait(), 30)
    await housekeeping.stop()
    return tree


def test_the_timers_of_others_do_not_wait_until_a_large_tree_is_killed() -> None:
    async def main() -> list[list[Timer]]:
        return (await killed(Tree(2 * TIMERS_PER_BATCH, timer(2, 7)))).batches

    assert timer(2, 7) in asyncio.run(main())[0]


def test_between_the_slices_of_a_kill_others_get_as_much_time_as_it_took() -> None:
    async def main() -> list[int]:
        return (await killed(Tree(100))).turns

    assert max(asyncio.run(main())) > 10
