"""Who waits for which answer, and who has left."""

from __future__ import annotations

import asyncio

import pytest

from rewake.core.effects import Completed, Reply, ReplyStatus
from rewake.core.ids import InvocationId
from rewake.engine.waiters import Waiters
from rewake.protocol.messages import Success

RUN = InvocationId(b"r" * 24)


async def waiting(waiters: Waiters) -> asyncio.Task[Reply]:
    """Somebody who waits for RUN."""
    token, future = waiters.ask()
    task = asyncio.ensure_future(waiters.answer(future))
    waiters.on_reply(Reply(token, ReplyStatus.PENDING, RUN, wait=True))
    await asyncio.sleep(0)
    return task


def test_askers_that_leave_are_forgotten_at_once_and_the_others_are_answered() -> None:
    async def main() -> None:
        waiters = Waiters()
        stays = await waiting(waiters)
        for _ in range(1_000):
            leaves = await waiting(waiters)
            leaves.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaves
        assert waiters.waiting_count == 1
        waiters.on_completed(Completed(RUN, Success(b"1")))
        assert (await stays).result == Success(b"1")
        assert waiters.waiting_count == 0
        assert not waiters._waiting and not waiters._asking

    asyncio.run(main())


def test_one_that_leaves_before_its_command_is_answered_is_forgotten_with_the_answer() -> None:
    async def main() -> None:
        waiters = Waiters()
        token, future = waiters.ask()
        task = asyncio.ensure_future(waiters.answer(future))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        waiters.on_reply(Reply(token, ReplyStatus.PENDING, RUN, wait=True))
        assert waiters.waiting_count == 0
        assert not waiters.is_asking(token)

    asyncio.run(main())
