"""When a handler that was given something is woken again, turn by turn of its event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace

import pytest
from restate.server_types import ReceiveChannel

from rewake.deployments import waking
from rewake.deployments.waking import (
    LATE_WAKE_UPS,
    SPARE_WAKE_UPS,
    TURNS_PER_WAKE_UP,
    Waker,
    Watched,
    handler_begins,
    watching,
)

SWEEP_S = 0.001
NEVER_S = 3600.0


class Sleeper(Watched):
    """Counts its wake-ups."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def wake(self) -> None:
        self.count += 1


@pytest.fixture(autouse=True)
def no_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "SWEEP_S", NEVER_S)


async def turns(count: int = 40 * TURNS_PER_WAKE_UP) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def with_waker(scenario: Callable[[Waker, Sleeper], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        await scenario(Waker(asyncio.get_running_loop()), Sleeper())

    asyncio.run(main())


@pytest.mark.parametrize("messages", [1, 2, 7])
def test_one_that_stays_silent_is_woken_for_each_other_message_and_a_little_more(messages: int) -> None:
    async def scenario(waker: Waker, sleeper: Sleeper) -> None:
        waker.delivered(sleeper, messages)
        await turns()
        assert sleeper.count == messages - 1 + SPARE_WAKE_UPS

    with_waker(scenario)


def test_the_woken_task_has_time_to_wait_again() -> None:
    async def scenario(waker: Waker, sleeper: Sleeper) -> None:
        waker.delivered(sleeper, 5)
        counts = []
        for _ in range(30):
            await asyncio.sleep(0)
            counts.append(sleeper.count)
        risen = [turn for turn in range(1, 30) if counts[turn] > counts[turn - 1]]
        assert risen[0] >= TURNS_PER_WAKE_UP
        assert all(later - earlier == TURNS_PER_WAKE_UP for earlier, later in zip(risen, risen[1:], strict=False))

    with_waker(scenario)


def test_one_that_goes_on_is_left_alone() -> None:
    async def scenario(waker: Waker, sleeper: Sleeper) -> None:
        waker.delivered(sleeper, 1)
        waker.answered(sleeper, 1)
        await turns()
        assert sleeper.count == 0

    with_waker(scenario)


def test_fewer_commands_than_messages_leave_tasks_asleep() -> None:
    async def scenario(waker: Waker, sleeper: Sleeper) -> None:
        waker.delivered(sleeper, 3)
        waker.answered(sleeper, 2)
        waker.answered(sleeper, 0)
        await turns()
        assert sleeper.count > 0

    with_waker(scenario)


def test_one_whose_request_is_over_is_left_alone() -> None:
    async def scenario(waker: Waker, sleeper: Sleeper) -> None:
        waker.delivered(sleeper, 1)
        sleeper.is_deaf = True
        await turns()
        assert sleeper.count == 0

    with_waker(scenario)


@pytest.mark.parametrize(("commands", "wake_ups"), [(0, SPARE_WAKE_UPS + sum(LATE_WAKE_UPS)), (1, LATE_WAKE_UPS[0])])
def test_sweeps_wake_a_silent_one_more_often_and_any_other_once(
    monkeypatch: pytest.MonkeyPatch, commands: int, wake_ups: int
) -> None:
    """A command may have come from a task that was awake anyway."""
    monkeypatch.setattr(waking, "SWEEP_S", SWEEP_S)

    async def scenario(waker: Waker, sleeper: Sleeper) -> None:
        waker.delivered(sleeper, 1)
        waker.answered(sleeper, commands)
        async with asyncio.timeout(10):
            while waker._is_sweep_due or waker._turns_left:
                await asyncio.sleep(0)
        assert sleeper.count == wake_ups

    with_waker(scenario)


def test_one_of_which_no_task_sleeps_is_left_alone() -> None:
    """The SDK's own channel shows it: a name of its queue that is not public, which this holds."""

    async def scenario(waker: Waker, sleeper: Sleeper) -> None:
        sleeper.channel = channel = ReceiveChannel(asyncio.get_running_loop().create_future)
        waker.delivered(sleeper, 3)
        await turns()
        assert (sleeper.sleepers, sleeper.count) == (0, 0)

        asleep = asyncio.create_task(channel())
        await turns(2)
        assert sleeper.sleepers == 1
        waker.delivered(sleeper, 3)
        await turns()
        assert sleeper.count > 0
        asleep.cancel()
        await channel.close()  # type: ignore[no-untyped-call]  # the SDK's

    with_waker(scenario)


def test_a_sweep_wakes_each_sleeping_task_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that waits for a slow engine must not cost four turns of its handler."""
    monkeypatch.setattr(waking, "SWEEP_S", SWEEP_S)

    async def scenario(waker: Waker, sleeper: Sleeper) -> None:
        sleeper.channel = SimpleNamespace(_queue=SimpleNamespace(_getters=["a task"]))
        waker.delivered(sleeper, 1)
        waker.answered(sleeper, 1)
        async with asyncio.timeout(10):
            while waker._is_sweep_due or waker._turns_left:
                await asyncio.sleep(0)
        assert sleeper.count == 1

    with_waker(scenario)


def test_a_handler_is_watched_by_the_attempt_that_its_host_named() -> None:
    sleeper = Sleeper()
    watching(sleeper).run(handler_begins, SimpleNamespace(receive="the channel"))
    handler_begins(SimpleNamespace(receive="of nobody"))
    assert sleeper.channel == "the channel"
