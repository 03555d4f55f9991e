"""Worker processes that die, block and are replaced; real children, real os signals, the official SDK."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apps
import psutil
import pytest
from stub_engine import StubAttempt, attempt_start, frames
from tests.warm import Warm

from rewake.core.model import Blame
from rewake.deployments import worker_pool
from rewake.deployments.watch import watch_for_changes
from rewake.deployments.worker import WorkerOptions, WorkerProcess
from rewake.deployments.worker_pool import WorkerEvents, WorkerPool
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.messages import (
    Completion,
    MessageType,
    ProposeRunCompletion,
    SleepCommand,
    Suspension,
    Void,
)

APPS = f"{apps.__file__}:app"

VERSIONED = """
from datetime import timedelta
import restate
steps = restate.Service("Steps")

@steps.handler()
async def which(ctx: restate.Context, x: int) -> int:
    return VERSION

@steps.handler()
async def wait(ctx: restate.Context, x: int) -> None:
    await ctx.sleep(timedelta(hours=1))
"""


class Heard:
    """WorkerEvents that can be waited for."""

    def __init__(self) -> None:
        self.ready: list[tuple[int, bool]] = []
        self.exits: list[tuple[int, int]] = []
        self.failed: list[RewakeError] = []
        self._news = asyncio.Event()
        self.events = WorkerEvents(
            on_ready=lambda *told: self._hear(self.ready, told),
            on_exit=lambda *told: self._hear(self.exits, told),
            on_start_failed=lambda told: self._hear(self.failed, told),
        )

    def _hear(self, into: list, told: object) -> None:  # type: ignore[type-arg]  # Three kinds of news.
        into.append(told)
        self._news.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 10)


@asynccontextmanager
async def running(app_ref: str, workers: int = 1) -> AsyncIterator[tuple[WorkerPool, Heard]]:
    heard = Heard()
    pool = WorkerPool(WorkerOptions(app_ref=app_ref), workers=workers, events=heard.events)
    try:
        async with asyncio.timeout(20):
            await pool.start()
            yield pool, heard
    finally:
        await pool.close()


@pytest.fixture(autouse=True)
def cold_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """How they start is tested here, and some tests need one that takes longer than a few milliseconds."""
    monkeypatch.setattr("rewake.deployments.worker.subprocess", subprocess)


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_kill_in_mid_attempt_fails_it_at_once_and_the_next_one_runs() -> None:
    async def main() -> None:
        async with running(APPS) as (pool, heard):
            [(pid, _)] = heard.ready
            attempts = [StubAttempt(pool, attempt_start("Steps/hang")) for _ in range(3)]
            for attempt in attempts:
                await attempt.seen(ProposeRunCompletion)
            os.kill(pid, signal.SIGKILL)
            await asyncio.gather(*(attempt.done for attempt in attempts))
            for attempt in attempts:
                assert attempt.failure is not None
                assert attempt.failure.code == "RT0010"
                assert (attempt.failure.retry_after_ms, attempt.failure.blame) == (0, Blame.SHARED)
                assert attempt.failure.message == f"The worker process {pid} died."

            after = StubAttempt(pool, attempt_start("Steps/two", b"5"))
            assert len(heard.ready) == 1, "it waits for the next child"
            await after.done
            assert after.output == b"7"
            await heard.until(lambda: bool(heard.exits))
            assert heard.exits == [(pid, -signal.SIGKILL)]
            assert heard.ready[1][0] != pid and heard.ready[1][1] is False

    asyncio.run(main())


def test_a_child_that_keeps_dying_is_restarted_with_a_growing_delay() -> None:
    async def main() -> None:
        async with running(APPS) as (pool, heard):
            delays = []
            for round_ in range(5):
                await heard.until(lambda: len(heard.ready) > round_)  # noqa: B023
                [process] = pool._available
                process.kill()
                await process.exited
                delays.append(process.restart_delay_ms)
            assert delays == [0, 100, 200, 400, 400], "callers wait for it: well under a second while it starts well"

    asyncio.run(main())


def test_waiting_for_a_worker_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "WAITING_MS_MAX", 20)
    monkeypatch.setattr(worker_pool, "WAITING_ATTEMPTS_MAX", 2)

    async def main() -> None:
        async with running(APPS) as (pool, heard):
            os.kill(heard.ready[0][0], signal.SIGKILL)
            await heard.until(lambda: bool(heard.exits))
            attempts = [StubAttempt(pool, attempt_start("Steps/two")) for _ in range(3)]
            assert not any(attempt.done.done() for attempt in attempts), "never from within start_attempt"
            await attempts[2].done
            assert attempts[2].failure is not None and attempts[2].failure.message == "No worker process is ready."
            await asyncio.gather(attempts[0].done, attempts[1].done)
            assert attempts[0].failure is not None
            assert attempts[0].failure.message == "No worker process became ready within 20 ms."
            assert {attempt.failure.blame for attempt in attempts if attempt.failure} == {Blame.NOBODY}

    asyncio.run(main())


def test_what_is_sent_while_waiting_arrives_later() -> None:
    async def main() -> None:
        async with running(APPS) as (pool, heard):
            os.kill(heard.ready[0][0], signal.SIGKILL)
            await heard.until(lambda: bool(heard.exits))
            closed = StubAttempt(pool, attempt_start("Steps/wait"))
            closed.handle.half_close()
            aborted = StubAttempt(pool, attempt_start("Steps/two"))
            aborted.handle.abort()
            await closed.done
            assert isinstance(closed.messages[-1], Suspension)
            assert not aborted.done.done()

    asyncio.run(main())


def test_a_blocked_worker_does_not_hold_up_another() -> None:
    async def main() -> None:
        async with running(APPS, workers=2) as (pool, heard):
            assert len({pid for pid, _ in heard.ready}) == 2
            blocked = StubAttempt(pool, attempt_start("Steps/block", b"3600"))
            await blocked.seen(ProposeRunCompletion)
            for _ in range(20):
                attempt = StubAttempt(pool, attempt_start("Steps/two"))
                await attempt.done
                assert attempt.output == b"3"
            assert not blocked.done.done()
            blocked.handle.abort()

    started_s = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - started_s < 15, "close() does not wait for the blocked one"


def test_load_is_shared() -> None:
    async def main() -> None:
        async with running(APPS, workers=2) as (pool, _):
            for _ in range(10):
                StubAttempt(pool, attempt_start("Steps/hang"))
            assert [len(process.streams) for process in pool._available] == [5, 5]

    asyncio.run(main())


@pytest.mark.parametrize("handler", ["hang", "block"])
def test_the_worker_dies_with_the_engine(handler: str, tmp_path: Path) -> None:
    """kill -9 of the engine: no child stays behind, not even one that never returns to its loop."""
    script = tmp_path / "engine.py"
    script.write_text(
        f"""
import asyncio, sys
sys.path[:0] = {sys.path!r}
from stub_engine import StubAttempt, attempt_start
from rewake.deployments.worker import WorkerOptions
from rewake.deployments.worker_pool import WorkerPool
from rewake.protocol.messages import ProposeRunCompletion

async def main():
    pool = WorkerPool(WorkerOptions(app_ref={APPS!r}))
    await pool.start()
    attempt = StubAttempt(pool, attempt_start("Steps/{handler}", b"3600"))
    await attempt.seen(ProposeRunCompletion)
    print(pool._available[0].pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    )
    with Warm([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        for line in engine.stdout:
            if line.strip().isdigit():
                break
        worker = psutil.Process(int(line))
        engine.kill()
    worker.wait(timeout=10)


def test_reload_moves_new_attempts_to_the_new_code(tmp_path: Path) -> None:
    file = tmp_path / "versioned.py"
    file.write_text(VERSIONED.replace("VERSION", "1"))

    async def main() -> None:
        async with running(str(file), workers=2) as (pool, heard):
            old = {pid for pid, _ in heard.ready}
            waiting = StubAttempt(pool, attempt_start("Steps/wait"))
            await waiting.seen(SleepCommand)
            file.write_text(VERSIONED.replace("VERSION", "22").replace('"Steps"', '"Steps", description="new"'))
            await pool.reload()

            attempt = StubAttempt(pool, attempt_start("Steps/which"))
            await asyncio.gather(attempt.done, waiting.done)
            assert attempt.output == b"22"
            assert waiting.is_closed and isinstance(waiting.messages[-1], Suspension)
            assert [changed for _, changed in heard.ready] == [True, False, True, False]
            await heard.until(lambda: {pid for pid, _ in heard.exits} == old)
            assert {returncode for _, returncode in heard.exits} == {0}

    asyncio.run(main())


def test_a_suspension_that_missed_a_notification_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During a reload the engine may send to a request that is closed already; the attempt is run again instead."""

    async def main() -> None:
        async with running(APPS) as (pool, heard):
            attempt = StubAttempt(pool, attempt_start("Steps/wait"))
            await attempt.seen(SleepCommand)
            retire = WorkerProcess.retire

            def retire_and_send(process: WorkerProcess, grace_s: float) -> None:
                """The request is closed, and before the handler can have suspended the notification is sent."""
                retire(process, grace_s)
                attempt.handle.send(frames(Completion(MessageType.SLEEP_COMPLETION, 1, Void())))

            monkeypatch.setattr(WorkerProcess, "retire", retire_and_send)
            await asyncio.gather(attempt.done, pool.reload())
            assert attempt.failure is not None
            assert (attempt.failure.code, attempt.failure.retry_after_ms) == ("RT0010", 0)
            assert attempt.failure.blame is Blame.NOBODY
            assert not any(isinstance(message, Suspension) for message in attempt.messages)

    asyncio.run(main())


def test_what_does_not_end_in_the_grace_is_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "RELOAD_GRACE_S", 0.05)

    async def main() -> None:
        async with running(APPS) as (pool, heard):
            attempt = StubAttempt(pool, attempt_start("Steps/hang"))
            await attempt.seen(ProposeRunCompletion)
            await pool.reload()
            await attempt.done
            assert attempt.failure is not None
            assert (attempt.failure.code, attempt.failure.retry_after_ms) == ("RT0010", 0)
            assert attempt.failure.blame is Blame.NOBODY
            assert "replaced" in attempt.failure.message
            await heard.until(lambda: bool(heard.exits))
            assert len(heard.ready) == 2, "the old one is not restarted"

    asyncio.run(main())


def test_reload_with_bad_code_keeps_the_old(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "versioned.py"
    file.write_text(VERSIONED.replace("VERSION", "1"))

    async def main() -> None:
        async with running(str(file)) as (pool, heard):
            file.write_text("import restate\nraise ValueError('half-written')\n")
            for _ in range(2):
                with pytest.raises(RewakeError, match="ValueError: half-written") as caught:
                    await pool.reload()
                assert caught.value.code is ErrorCode.APP_IMPORT_FAILED
            assert len(heard.failed) == 2
            attempt = StubAttempt(pool, attempt_start("Steps/which"))
            await attempt.done
            assert attempt.output == b"1"

            file.write_text(VERSIONED.replace("VERSION", "333"))
            await pool.reload()
            attempt = StubAttempt(pool, attempt_start("Steps/which"))
            await attempt.done
            assert attempt.output == b"333"

    asyncio.run(main())
    told = "".join(capfd.readouterr())
    assert told.count("Traceback (most recent call last)") == 1, "printed once, not at every try"
    assert 'versioned.py", line 2' in told


def test_an_app_that_does_not_import(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "broken.py"
    file.write_text("import restate\nundefined_name\n")

    async def main() -> None:
        pool = WorkerPool(WorkerOptions(app_ref=str(file)))
        with pytest.raises(RewakeError) as caught:
            await pool.start()
        assert str(caught.value).startswith("RW1001  'broken.py' could not be imported.")
        with pytest.raises(RewakeError, match="has become ready yet"):
            await pool.discover()
        file.write_text(VERSIONED.replace("VERSION", "1"))
        await pool.reload()
        await pool.discover()
        await pool.close()

    asyncio.run(main())
    told = "".join(capfd.readouterr())
    assert told.count("NameError: name 'undefined_name' is not defined") == 1
    assert "app_loader" not in told


def test_a_child_that_ends_before_it_is_ready(tmp_path: Path) -> None:
    file = tmp_path / "dies.py"
    file.write_text("import os\nos._exit(9)\n")

    async def main() -> None:
        pool = WorkerPool(WorkerOptions(app_ref=str(file)))
        with pytest.raises(RewakeError, match="ended with exit code 9 before it was ready") as caught:
            await pool.start()
        assert caught.value.code is ErrorCode.WORKER_START_FAILED
        await pool.close()

    asyncio.run(main())


def test_a_child_that_dies_while_the_pool_starts_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "dies.py"
    file.write_text("import os\nif not os.path.exists(__file__ + '2'):\n    os.rename(__file__ + '1', __file__ + '2')\n"
                    "    os._exit(9)\n" + VERSIONED.replace("VERSION", "1"))  # fmt: skip
    (tmp_path / "dies.py1").touch()

    async def main() -> None:
        async with running(str(file)) as (_, heard):
            assert [returncode for _, returncode in heard.exits] == [9]

    asyncio.run(main())


def test_one_child_that_is_ready_is_enough_to_start(tmp_path: Path) -> None:
    file = tmp_path / "dies.py"
    file.write_text("import os\ntry:\n    os.mkdir(__file__ + '1')\nexcept OSError:\n    os._exit(9)\n"
                    + VERSIONED.replace("VERSION", "1"))  # fmt: skip

    async def main() -> None:
        async with running(str(file), workers=2) as (pool, heard):
            assert len(pool._available) == 1
            await heard.until(lambda: len(heard.exits) > worker_pool.START_TRIES)
            (tmp_path / "dies.py1").rmdir()
            await heard.until(lambda: len(heard.ready) == 2)

    asyncio.run(main())


def test_a_child_that_dies_as_it_becomes_ready_gets_no_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was heard to be ready, and was dead before anybody had made use of it: attempts on it would never end."""
    on_ready = WorkerProcess._on_ready
    victims = [1]

    def die_on_ready(process: WorkerProcess, told: dict[str, Any]) -> None:
        on_ready(process, told)
        if victims:
            victims.pop()
            process.kill()
            process._die()

    async def main() -> None:
        async with running(APPS) as (pool, heard):
            assert len(heard.exits) == 1
            attempt = StubAttempt(pool, attempt_start("Steps/two", b"5"))
            await attempt.done
            assert attempt.output == b"7"

    monkeypatch.setattr(WorkerProcess, "_on_ready", die_on_ready)
    asyncio.run(main())


def test_what_a_child_wrote_before_it_died_is_heard() -> None:
    """Its exit is known before the engine has had time to read: results of steps that nobody has to run again."""

    async def main() -> None:
        async with running(APPS) as (pool, heard):
            attempts = [StubAttempt(pool, attempt_start("Steps/hang")) for _ in range(20)]
            await asyncio.sleep(0)  # they are on their way
            [process] = pool._available
            unread = 0
            while not unread or unread != _unread_bytes(process):  # the loop stands still until all has come
                unread = _unread_bytes(process)
                time.sleep(0.1)  # noqa: ASYNC251
            os.kill(process.pid, signal.SIGKILL)
            while is_alive(process.pid):
                time.sleep(0.01)  # noqa: ASYNC251
            await asyncio.gather(*(attempt.done for attempt in attempts))
            proposed = [
                any(isinstance(each, ProposeRunCompletion) for each in attempt.messages) for attempt in attempts
            ]
            assert proposed == [True] * 20

    asyncio.run(main())


def _unread_bytes(process: WorkerProcess) -> int:
    return int.from_bytes(fcntl.ioctl(process._unread, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_a_file_that_serves_at_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewake.deployments.worker.START_TIMEOUT_S", 0.3)
    file = tmp_path / "serves.py"
    file.write_text("import threading\nthreading.Event().wait()\n")

    async def main() -> None:
        pool = WorkerPool(WorkerOptions(app_ref=str(file)))
        with pytest.raises(RewakeError, match="starts a server when imported"):
            await pool.start()
        await pool.close()

    asyncio.run(main())


def test_a_system_that_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    async def main() -> None:
        pool = WorkerPool(WorkerOptions(app_ref=APPS))
        with pytest.raises(RewakeError, match="Resource temporarily unavailable") as caught:
            await pool.start()
        assert caught.value.code is ErrorCode.WORKER_START_FAILED
        await pool.close()

    monkeypatch.setattr(subprocess, "Popen", refuse)
    asyncio.run(main())


def test_close_leaves_no_process() -> None:
    async def main() -> None:
        async with running(APPS, workers=2) as (pool, heard):
            pids = [pid for pid, _ in heard.ready]
            StubAttempt(pool, attempt_start("Steps/hang"))
        assert not any(is_alive(pid) for pid in pids)

    asyncio.run(main())


def test_changes_are_heard(tmp_path: Path) -> None:
    file = tmp_path / "watched.py"
    file.write_text("")

    async def main() -> None:
        heard: asyncio.Future[set[Path]] = asyncio.get_running_loop().create_future()

        async def on_change(paths: set[Path]) -> None:
            if not heard.done():
                heard.set_result(paths)

        watching = asyncio.ensure_future(watch_for_changes([tmp_path], on_change, debounce_ms=50))
        number = 0
        while not heard.done():  # The watcher starts in its own time.
            number += 1
            (tmp_path / "notes.txt").write_text(str(number))
            file.write_text(f"x = {number}\n")
            await asyncio.wait([heard], timeout=0.2)
        assert heard.result() == {file}
        watching.cancel()

    asyncio.run(main())
