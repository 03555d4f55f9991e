"""Deaths at every point of a run: of an attempt, of the worker, of the engine. What was done is not done again.

The route is a step, a call to a handler that sleeps and steps, and a step; its frames are those of the worked example
in the protocol's description. A step may run again only if the engine had not heard its result.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import engine_process
import pytest
from stage import DEADLINE_S, VERSIONS, Cut, Stage, fail_attempt, journal, kill_worker, nothing, run, settles_in_memory
from test_engine_calls import ROUTE_JOURNAL
from tests.warm import run_warm
from tour import ALL

from rewake.deployments import worker_pool
from rewake.engine import Engine
from rewake.protocol.messages import OutputCommand
from rewake.store import store

ANSWER = "pick, ask Ada, check"
STEPS = ("pick", "ask", "check")
MESSAGES_MAX = 40
LONG_S = 150.0
"""For dozens of engines one after the other, each with a new process when --transport says so."""


def assert_steps_ran_once(stage: Stage, settled: set[str]) -> None:
    """Every step ran; at most the one that was under way ran twice, and none whose result the engine had."""
    counts = stage.counts("ran ")
    assert set(counts) == set(STEPS)
    assert counts.total() <= len(STEPS) + 1, counts
    assert all(counts[name] == 1 for name in settled), (counts, settled)


async def route(engine: Engine, number: int) -> str:
    return await engine.send("Steps", "route", "Ada", idempotency_key=f"run {number}")


@pytest.fixture(params=[*VERSIONS, "7, commits elsewhere"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Of the protocol; with the newest the store also commits, as on a slow disk, on a thread of its own."""
    if isinstance(request.param, int):
        return request.param
    monkeypatch.setattr(store, "COMMIT_INLINE_MAX_S", -1.0)
    return 7


@pytest.mark.timeout(LONG_S + 10)
def test_an_attempt_lost_after_any_message(stage: Stage, version: int) -> None:
    """Messages of the lost attempt that come later count for nothing."""

    async def main() -> None:
        seen_output = False
        for at in range(1, MESSAGES_MAX):
            cut = Cut(at, fail_attempt)
            (stage.path / "marks").unlink(missing_ok=True)
            async with stage.engine(version=version, cut=cut) as engine:
                invocation_id = await route(engine, at)
                assert await engine.result(invocation_id) == ANSWER
                assert_steps_ran_once(stage, cut.settled)
                assert journal(engine, invocation_id) == ROUTE_JOURNAL
                await settles_in_memory(engine)
            seen_output |= isinstance(cut.last, OutputCommand)
            if not cut.happened.is_set():
                break
        assert seen_output and 13 <= at < MESSAGES_MAX - 1

    run(main(), LONG_S)


@pytest.mark.timeout(LONG_S + 10)
def test_an_engine_stopped_after_any_message(stage: Stage, version: int) -> None:
    """A new engine on the same directory finishes what the first began, by itself."""

    async def main() -> None:
        for at in range(1, MESSAGES_MAX):
            cut = Cut(at, nothing, is_total=True)
            (stage.path / "marks").unlink(missing_ok=True)
            async with stage.engine(version=version, cut=cut) as engine:
                invocation_id = await route(engine, at)
                finished = asyncio.ensure_future(engine.result(invocation_id))
                happened = asyncio.ensure_future(cut.happened.wait())
                await asyncio.wait([finished, happened], return_when=asyncio.FIRST_COMPLETED)
                happened.cancel()
                finished.cancel()
            async with stage.engine(version=version) as engine:
                assert await engine.result(invocation_id) == ANSWER
                assert await engine.call("Steps", "route", "Eve", idempotency_key=f"run {at}") == ANSWER
                assert_steps_ran_once(stage, cut.settled)
                assert journal(engine, invocation_id) == ROUTE_JOURNAL
            if not cut.happened.is_set():
                break
        assert 13 <= at < MESSAGES_MAX - 1

    run(main(), LONG_S)


@pytest.mark.parametrize("version", [7])
def test_a_worker_killed_after_any_message(stage: Stage, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The waiting caller gets its answer; between Output and End the handler is not run once more for a new result.

    After every second message, among them a step's result, the call, the sleep, an End and the last Output; after all
    with REWAKE_ALL_CRASHES=1.
    """
    monkeypatch.setattr(worker_pool, "HEALTHY_AFTER_S", 0.0)  # else each death delays the next start

    async def main() -> None:
        cut = Cut(0, kill_worker)
        async with stage.engine("worker", version=version, cut=cut) as engine:
            for at in range(1, MESSAGES_MAX) if ALL else range(2, MESSAGES_MAX, 2):
                (stage.path / "marks").unlink(missing_ok=True)
                cut.arm(at)
                invocation_id = await route(engine, at)
                assert await engine.result(invocation_id) == ANSWER
                assert_steps_ran_once(stage, cut.settled)
                assert journal(engine, invocation_id) == ROUTE_JOURNAL
                if not cut.happened.is_set():
                    break
            assert 13 <= at < MESSAGES_MAX - 1

    run(main())


@pytest.mark.parametrize(("version", "is_committed"), [(6, True), (7, False)])
def test_an_engine_killed_after_any_message(stage: Stage, version: int, is_committed: bool) -> None:
    """SIGKILL of the whole process; the caller comes back with its idempotency key.

    After every second message that is stored, or every third that is not; with REWAKE_ALL_CRASHES=1 every second.
    """
    previous: str | None = None
    deaths = 0
    for at in range(2 if is_committed else 1, MESSAGES_MAX, 2 if is_committed or ALL else 3):
        request: dict[str, object] = {
            "version": version,
            "key": f"run {at}",
            "previous": previous,
            "at": at,
            "is_committed": is_committed,
        }
        answers, returncode = start(request)
        expected = ([ANSWER] if previous else []) + ([ANSWER] if returncode == 0 else [])
        assert answers == expected or (is_committed and answers == [*expected, ANSWER]), "End may have been answered"
        previous = f"run {at}"
        if returncode == 0:
            break
        assert returncode == -9
        deaths += 1
    assert 6 <= deaths < MESSAGES_MAX // 2 - 1
    counts = stage.counts("ran ")
    for name in STEPS:  # it ran again when it died between the step and the commit of its result: not after it
        may_repeat = 1 if is_committed else 2
        assert deaths < counts[name] <= deaths + 1 + may_repeat, (counts, deaths)


def start(request: dict[str, object]) -> tuple[list[str], int]:
    """Run engine_process.py; what it answered, and its return code."""
    paths = [str(Path(engine_process.__file__).parent), *(path for path in sys.path if path)]
    done = run_warm(
        [sys.executable, engine_process.__file__, json.dumps(request)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        timeout_s=DEADLINE_S,
    )
    lines = [line.removeprefix("answer ") for line in done.stdout.splitlines() if line.startswith("answer ")]
    return lines, done.returncode
