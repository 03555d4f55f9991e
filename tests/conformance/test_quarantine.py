"""Handlers that kill their worker: they are found, and nobody else pays. Real children, the official SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apps
import pytest
from stage import reaches, until
from stub_engine import StubAttempt, attempt_start

from rewake.core.model import Blame, Status
from rewake.deployments import quarantine
from rewake.deployments.worker import WorkerOptions
from rewake.deployments.worker_pool import WorkerPool
from rewake.engine import Engine
from rewake.engine.workers import add_workers
from rewake.protocol.messages import ProposeRunCompletion

APPS = f"{apps.__file__}:app"
SUSPECT = quarantine.QUARANTINE_AFTER


@asynccontextmanager
async def running(workers: int = 1) -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(WorkerOptions(app_ref=APPS), workers=workers)
    try:
        async with asyncio.timeout(30):
            await pool.start()
            yield pool
    finally:
        await pool.close()


class Retried:
    """An invocation as the core drives it: again and again while its losses are not its fault."""

    def __init__(self, pool: WorkerPool, target: str, loss_count: int = 0) -> None:
        self.loss_count = loss_count
        self.kills = 0
        self._pool, self._target = pool, target
        self.attempt = self._next()

    def _next(self) -> StubAttempt:
        return StubAttempt(self._pool, attempt_start(self._target, loss_count=self.loss_count))

    async def until_at_fault(self) -> None:
        while not self.kills:
            await self.attempt.done
            assert self.attempt.failure is not None
            self.loss_count += 1
            self.kills += self.attempt.failure.blame is Blame.ALONE
            self.attempt = self._next()


def test_the_one_that_kills_is_found_among_many_that_do_not() -> None:
    async def main() -> None:
        async with running() as pool:
            innocent = [Retried(pool, "Steps/hang") for _ in range(12)]
            tasks = [asyncio.ensure_future(each.until_at_fault()) for each in innocent]
            killer = Retried(pool, "Steps/die")
            await killer.until_at_fault()
            assert killer.loss_count <= SUSPECT + 4, "each death after that halves 13 suspects"
            for task, each in zip(tasks, innocent, strict=True):
                await each.attempt.seen(ProposeRunCompletion)
                assert (each.kills, task.done()) == (0, False)
                task.cancel()
            assert sum(each.loss_count for each in innocent) < 12 * SUSPECT + 12, (
                "of each half only one is disturbed again"
            )
            await until(lambda: len(pool._available) == 1)  # the next one, after its delay
            [shared] = pool._available
            assert not shared.streams, "all suspects are elsewhere"

    asyncio.run(main())


def test_two_that_kill_are_both_found() -> None:
    async def main() -> None:
        async with running(workers=2) as pool:
            await asyncio.gather(*(Retried(pool, "Steps/die").until_at_fault() for _ in range(2)))
            answered = StubAttempt(pool, attempt_start("Steps/two", b"5"))
            await answered.done
            assert answered.output == b"7"

    asyncio.run(main())


def test_a_suspect_that_ends_by_itself_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """From quarantine, whose process stays a while for those that back off, and is then let go."""
    monkeypatch.setattr(quarantine, "IDLE_S", 0.0)

    async def main() -> None:
        async with running() as pool:
            suspect = StubAttempt(pool, attempt_start("Steps/two", b"5", loss_count=SUSPECT))
            await suspect.done
            assert suspect.output == b"7"
            assert len(pool._living) == 2
            pool._quarantine.tick()
            await asyncio.gather(*(process.exited for process in pool._living if process.is_quarantine))
            assert len(pool._living) == 1

    asyncio.run(main())


def test_the_error_says_how_the_process_ended() -> None:
    async def main() -> None:
        async with running() as pool:
            killer = StubAttempt(pool, attempt_start("Steps/die", loss_count=SUSPECT))
            await killer.done
            assert killer.failure is not None
            assert killer.failure.message.startswith("RW3004 The worker process ")
            assert "died (exit code 3) while it ran this invocation and nothing else" in killer.failure.message

    asyncio.run(main())


def test_a_handler_with_many_inputs_that_kill_gets_a_process_of_its_own() -> None:
    """Each of them would cost two shared workers."""

    async def main() -> None:
        async with running() as pool:
            for _ in range(3):
                await StubAttempt(pool, attempt_start("Steps/die")).done
            answered = StubAttempt(pool, attempt_start("Steps/two", b"5"))
            await answered.done
            assert answered.output == b"7"
            [shared] = pool._available
            await asyncio.gather(*(StubAttempt(pool, attempt_start("Steps/die")).done for _ in range(3)))
            assert pool._available == [shared], "no shared worker dies of it any more"

    asyncio.run(main())


def test_more_suspects_than_places_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "PROCESSES_MAX", 1)
    monkeypatch.setattr(quarantine, "ROOM_DEFAULT", 1)

    async def main() -> None:
        async with running() as pool:
            first = StubAttempt(pool, attempt_start("Steps/hang", loss_count=SUSPECT))
            await first.seen(ProposeRunCompletion)
            second = StubAttempt(pool, attempt_start("Steps/two", b"5", loss_count=SUSPECT))
            gone = StubAttempt(pool, attempt_start("Steps/two", loss_count=SUSPECT + 1))
            gone.handle.abort()
            assert not second.done.done()
            first.handle.abort()
            await second.done
            assert second.output == b"7"

    asyncio.run(main())


@pytest.mark.parametrize("settled_max", [0, 1])
def test_a_suspect_that_lives_long_makes_room(settled_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """For so many others at most."""
    monkeypatch.setattr(quarantine, "SETTLED_MAX", settled_max)
    monkeypatch.setattr(quarantine, "PROCESSES_MAX", 1)
    monkeypatch.setattr(quarantine, "ROOM_DEFAULT", 1)
    monkeypatch.setattr(quarantine, "SETTLED_AFTER_S", 0.0)

    async def main() -> None:
        async with running() as pool:
            first = StubAttempt(pool, attempt_start("Steps/hang", loss_count=SUSPECT))
            await first.seen(ProposeRunCompletion)
            second = StubAttempt(pool, attempt_start("Steps/two", b"5", loss_count=SUSPECT))
            assert len(pool._living) == 2 + settled_max
            if not settled_max:
                first.handle.abort()
            await second.done
            assert second.output == b"7"
            assert not first.done.done()

    asyncio.run(main())


KILLER = """
import asyncio, os, signal
from datetime import timedelta
import restate

policy = restate.InvocationRetryPolicy(
    initial_interval=timedelta(milliseconds=1), max_attempts=6, on_max_attempts="kill")
service = restate.Service("Service", invocation_retry_policy=policy)
strict = restate.Service("Strict", invocation_retry_policy=restate.InvocationRetryPolicy(
    max_attempts=1, on_max_attempts="kill"))

@service.handler()
async def kill(ctx: restate.Context) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)

@service.handler()
async def echo(ctx: restate.Context, number: int) -> int:
    return number

@strict.handler()
async def work(ctx: restate.Context) -> str:
    async def step() -> str:
        while not os.path.exists(os.environ["DONE_FILE"]):
            await asyncio.sleep(0.01)
        return "ok"
    return await ctx.run_typed("work", step)

app = restate.app([service, strict])
"""


def test_a_killer_is_paused_and_a_run_with_a_single_attempt_is_not_harmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, done = tmp_path / "app.py", tmp_path / "done"
    file.write_text(KILLER)
    monkeypatch.setenv("DONE_FILE", str(done))

    async def main() -> None:
        async with Engine(tmp_path / "data") as engine:
            await add_workers(engine, str(file))
            work = asyncio.ensure_future(engine.call("Strict", "work"))
            killer = await engine.send("Service", "kill")
            paused = await reaches(engine, killer, Status.PAUSED)
            assert await engine.call("Service", "echo", 5) == 5
            assert paused.last_error is not None
            assert "RW3004" in paused.last_error.message and "SIGSEGV" in paused.last_error.message
            done.touch()
            assert await work == "ok"

    asyncio.run(main())
