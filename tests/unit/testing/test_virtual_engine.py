"""The engine of the test kit: time that is skipped, what a test sees and does from outside, restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import restate
from tests.unit.testing.clerk import clerk, ledger

from rewake import InvocationFailed, RewakeError
from rewake.testing import VirtualEngine, virtual_time
from rewake.testing.loop_thread import shared_loop

DAY_MS = 86_400_000


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[VirtualEngine]:
    with VirtualEngine(tmp_path / "data") as engine:
        engine.serve(clerk, ledger)
        yield engine


def test_a_month_passes_while_the_test_waits(engine: VirtualEngine) -> None:
    before_ms = engine.now_ms
    assert engine.call("Clerk", "file", "claim") == "claim 17 17"
    assert 30 * DAY_MS <= engine.now_ms - before_ms < 30 * DAY_MS + 60_000
    engine.expect_journal("""
        Run number -> 17
        Sleep
        Call Ledger/claims/add -> 17
        Output -> "claim 17 17"
    """)
    assert engine.call("Clerk", "file", "claim") == "claim 17 34", "sleeps add up on the moved clock"
    assert engine.now_ms - before_ms >= 60 * DAY_MS
    assert engine.state("Ledger", "claims") == {"total": 34}


def test_an_answer_comes_before_the_timeout_or_does_not(engine: VirtualEngine) -> None:
    assert engine.call("Clerk", "ask", 24) == "timeout"
    run = engine.send("Clerk", "ask", 24)
    (awakeable,) = engine.awakeables()
    engine.resolve(awakeable, "yes")
    assert engine.result(run) == "answer"
    run = engine.send("Clerk", "wait")
    engine.reject(engine.awakeables()[0], "no", 403)
    with pytest.raises(InvocationFailed, match="no") as failed:
        engine.result(run)
    assert failed.value.code == 403


def test_the_clock_stays_until_it_is_moved(engine: VirtualEngine) -> None:
    run = engine.send("Clerk", "file", "claim", delay=3_600)
    engine.settle()
    assert engine.journal(run).status == "scheduled"
    engine.advance(3_600)
    assert [str(line) for line in engine.journal(run).lines][1:] == ["Run number -> 17", "Sleep -> (open)"]
    engine.advance(30 * 86_400)
    assert engine.journal(run).status == "completed"


def test_a_restart_goes_on_with_what_is_stored(engine: VirtualEngine) -> None:
    run = engine.send("Clerk", "file", "claim")
    engine.advance(86_400)
    engine.restart()
    before_ms = engine.now_ms
    assert engine.result(run) == "claim 17 17"
    assert engine.now_ms - before_ms > 28 * DAY_MS
    assert len(engine.journal(run).named("number")) == 1


def test_a_result_that_arrives_on_the_moved_clock_is_kept(engine: VirtualEngine) -> None:
    """It is kept for a day from then on, and not from the time of the machine."""
    run = engine.send("Clerk", "ask", 240)
    engine.advance(7 * 86_400)
    engine.restart()
    (awakeable,) = engine.awakeables()
    engine.resolve(awakeable, "yes")
    assert engine.result(run) == "answer"


def test_the_clock_does_not_go_back_at_a_stop(engine: VirtualEngine) -> None:
    run = engine.send("Clerk", "file", "claim")
    engine.advance(86_400)
    before_ms = engine.now_ms
    engine.stop()
    assert engine.now_ms >= before_ms
    assert engine.result(run) == "claim 17 17"


def test_a_folder_in_use_is_refused_each_time(engine: VirtualEngine) -> None:
    second = VirtualEngine(engine.path)
    for _ in range(2):
        with pytest.raises(RewakeError, match="RW5001"):
            second.start()
    second.stop()


def test_a_cancelled_run_fails_with_409(engine: VirtualEngine) -> None:
    run = engine.send("Clerk", "wait")
    engine.settle()
    engine.cancel(run)
    with pytest.raises(InvocationFailed):
        engine.result(run)
    engine.expect_journal("...\nOutput -> failed [409] ...", run)


def test_an_app_that_wakes_itself_ends_at_a_bound(engine: VirtualEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_time, "SKIPS_MAX", 5)
    engine.send("Clerk", "remind", 60)
    run = engine.send("Clerk", "wait")
    with pytest.raises(virtual_time.NeverEnds, match="moved 5 times"):
        engine.result(run)
    with pytest.raises(virtual_time.NeverEnds, match="more than 5 timers"):
        engine.advance(86_400)


def test_a_run_that_is_paused_says_why(engine: VirtualEngine) -> None:
    with pytest.raises(virtual_time.NeverEnds, match=r"The run is paused\. Open runs:\n(.*\n)*.*Found a mismatch"):
        engine.call("Clerk", "wander_and_pause")


def test_a_wait_that_does_not_end_says_what_it_waits_for(engine: VirtualEngine) -> None:
    engine.timeout_s = 0.3
    with pytest.raises(TimeoutError, match=r"Clerk/wait inv_\w+ is suspended\nAwakeables that nobody .*: sign_"):
        engine.call("Clerk", "wait")
    engine.timeout_s = 30


def test_what_an_app_keeps_belongs_to_one_loop(tmp_path: Path) -> None:
    """As the connections of a client in a module do: engines one after the other run on the same loop."""
    service, loops = restate.Service("Kept"), set()

    @service.handler()
    async def see(ctx: restate.Context) -> None:
        loops.add(asyncio.get_running_loop())

    for name in ("first", "second"):
        with VirtualEngine(tmp_path / name) as engine:
            engine.serve(service).call("Kept", "see")
    (loop,) = loops
    assert loop is shared_loop()
    assert loop.is_running()


def test_unknown_runs(engine: VirtualEngine) -> None:
    with pytest.raises(KeyError, match="Nothing has been called"):
        engine.journal()
