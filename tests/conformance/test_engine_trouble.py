"""Trouble: a full disk, bugs of ours, stale attempts, handlers that block. The engine goes on, and tells no lie."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import restate
from durable_app import delta, mark
from stage import (
    BROKEN,
    DEFAULTS,
    FAST_RETRY,
    QUICK_SUSPENSION,
    Cut,
    CutAttempt,
    Stage,
    journal,
    nothing,
    reaches,
    row,
    run,
    settles_in_memory,
    status,
    until,
)

from rewake.core import apply as core_apply
from rewake.core import commands
from rewake.core.errors import EngineBug
from rewake.core.ids import awakeable_id_parse, invocation_id_from_str
from rewake.core.model import HandlerOptions, Status
from rewake.core.state import State
from rewake.core.writes import Batch
from rewake.deployments.base import ReceivedMessage
from rewake.deployments.worker import WorkerOptions
from rewake.deployments.worker_pool import WorkerPool
from rewake.engine import Engine
from rewake.engine import runtime as runtime_module
from rewake.errors import ErrorCode, RewakeError
from rewake.ingress.api import Ingress
from rewake.ingress.message import Request
from rewake.protocol.messages import FIRST_USER_SIGNAL, End, MessageType, OutputCommand, Success
from rewake.store import store as store_module


def blob(number: int) -> str:
    """A text of 40 kB that shares nothing with another one, so that each needs its own room on the disk."""
    return random.Random(number).randbytes(20_000).hex()


@pytest.fixture
def quick_rebuild(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "PROBE_INTERVAL_S", 0.01)
    monkeypatch.setattr(runtime_module, "REBUILD_PAUSE_S", 0.01)


def limit_pages(engine: Engine, extra: int | None) -> None:
    """Let the disk take so many more pages, None: as many as it likes."""
    execute = engine._store._connection.execute
    used = execute("pragma page_count").get
    execute(f"pragma max_page_count = {used + extra if extra is not None else 1 << 30}")


# A full disk


@pytest.mark.usefixtures("quick_rebuild")
@pytest.mark.parametrize("is_slow", [False, True])
def test_a_full_disk(stage: Stage, is_slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be stored is refused, what was accepted is done, and who waits hears when space is back."""
    if is_slow:
        monkeypatch.setattr(store_module, "COMMIT_INLINE_MAX_S", -1.0)

    async def main() -> None:
        async with stage.engine() as engine:
            waiting = asyncio.ensure_future(engine.call("Waits", "awakeable_later"))
            name = await stage.marked("awakeable")
            limit_pages(engine, 20)
            accepted, refused = [], []
            for number in range(40):
                try:
                    accepted.append((number, await engine.send("Steps", "double", blob(number))))
                except RewakeError as error:
                    assert error.code is ErrorCode.STORE_FULL
                    refused.append(number)
                    if len(refused) == 3:
                        break
            assert len(refused) == 3
            assert not waiting.done()
            health = await Ingress(engine).handle(Request("GET", "/restate/health", "", {}, b""))
            assert health.status == 503 and b"RW5005" in health.body
            stored = engine._store.reader.open_counts()
            assert sum(stored.values()) <= 1 + 2 * len(accepted), "an accepted one may have called"

            limit_pages(engine, None)
            await until(lambda: not engine._loop.is_halted)
            assert engine.problem is None
            for number, invocation_id in accepted:
                assert await engine.result(invocation_id) == blob(number) * 2
            stage.open_gate("later")
            await engine.complete_awakeable(*awakeable_id_parse(name), Success(b'"x"'))
            assert await waiting == "got x"
            assert await engine.call("Steps", "same", "y") == "y"
            await settles_in_memory(engine)

    run(main())


@pytest.mark.usefixtures("quick_rebuild")
def test_steps_under_way_when_the_disk_fills(stage: Stage) -> None:
    """The handlers are retried; none of them sees a step whose result is not stored."""
    count = 10

    async def main() -> None:
        async with stage.engine() as engine:
            calls = [asyncio.ensure_future(engine.call("Steps", "double", blob(each))) for each in range(count)]
            await until(lambda: engine.stats()["attempts_running"] > 0)
            limit_pages(engine, 0)
            await until(lambda: engine._loop.is_halted or all(call.done() for call in calls))
            assert engine._loop.is_halted
            with pytest.raises(RewakeError):
                await engine.send("Steps", "same", "x")
            limit_pages(engine, None)
            for number, result in enumerate(await asyncio.gather(*calls, return_exceptions=True)):
                if isinstance(result, RewakeError):
                    assert result.code is ErrorCode.STORE_FULL  # it was not accepted
                else:
                    assert result == blob(number) * 2

    run(main())


@pytest.mark.usefixtures("quick_rebuild")
def test_stopping_on_a_full_disk(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine() as engine:
            kept = await engine.send("Waits", "named", ["go"])
            await stage.marked("attempt named")
            waiting = asyncio.ensure_future(engine.result(kept))
            await until(lambda: engine.stats()["callers_waiting"] == 1)
            limit_pages(engine, 0)
            sends = [engine.send("Steps", "same", blob(number)) for number in range(10)]
            assert any(isinstance(each, RewakeError) for each in await asyncio.gather(*sends, return_exceptions=True))
        with pytest.raises(RewakeError, match="stopped"):
            await waiting
        async with stage.engine() as engine:
            await engine.call("Waits", "signaller", {"resolve": "go", "to": kept, "value": "x"})
            assert await engine.result(kept) == ["x"]

    run(main())


# Bugs of ours


def broken_for(
    monkeypatch: pytest.MonkeyPatch, kind: type, is_faulty: Callable[[Any], bool], error: Exception | None = None
) -> list[Any]:
    """Make a transition raise for some commands; the list tells for which it did."""
    real = core_apply._TRANSITIONS[kind]
    raised: list[Any] = []

    def transition(state: State, command: Any) -> None:
        real(state, command)
        if is_faulty(command):
            raised.append(command)
            raise error or AssertionError("a bug of ours")

    monkeypatch.setitem(core_apply._TRANSITIONS, kind, transition)
    return raised


@pytest.mark.usefixtures("quick_rebuild")
def test_a_bug_in_a_message_pauses_its_invocation_only(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """All others go on, also those whose attempts were cut off; who waits for them gets the answer."""

    async def main() -> None:
        async with stage.engine() as engine:
            stage.hold("pick")
            calls = [asyncio.ensure_future(engine.call("Steps", "route", f"n{number}")) for number in range(5)]
            victim = await engine.send("Steps", "slow", "gate")
            await stage.marked("ran pick", times=5)
            await stage.marked("attempt slow")
            victim_id = invocation_id_from_str(victim)
            raised = broken_for(
                monkeypatch,
                commands.SdkMessages,
                lambda command: command.invocation_id == victim_id and not stage.count("mended"),
            )
            stage.release("pick")
            stage.open_gate("gate")
            found = await reaches(engine, victim, Status.PAUSED)
            assert len(raised) == 1
            assert found.last_error is not None and "a bug of ours" in found.last_error.message
            assert await asyncio.gather(*calls) == [f"pick, ask n{number}, check" for number in range(5)]
            await settles_in_memory(engine)
            mark("mended")
            await engine.resume(victim_id)
            assert await engine.result(victim) == "slow gate"

    run(main())


@pytest.mark.usefixtures("quick_rebuild")
def test_a_bug_in_a_timer_stops_no_other_timer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when they are due together; the next engine, without the bug, fires it."""

    async def main() -> None:
        async with stage.engine(defaults=QUICK_SUSPENSION) as engine:
            due_ms = 1_000
            sleeping = [await engine.send("Steps", "nap", due_ms) for _ in range(5)]
            await until(lambda: engine._store.reader.open_counts() == {Status.SUSPENDED: 5})
            victim_id = invocation_id_from_str(sleeping[2])
            raised = broken_for(
                monkeypatch, commands.TimersDue, lambda command: any(due[1] == victim_id for due in command.due)
            )
            others = [asyncio.ensure_future(engine.result(each)) for each in (*sleeping[:2], *sleeping[3:])]
            assert await asyncio.gather(*others) == ["woken"] * 4
            await reaches(engine, sleeping[2], Status.PAUSED)
            await until(lambda: not engine._loop.is_halted)
            raised_count = len(raised)
            assert await engine.call("Steps", "nap", 5) == "woken"
            assert len(raised) == raised_count <= 3
        monkeypatch.undo()
        monkeypatch.setenv("REWAKE_TEST_STAGE", str(stage.path))
        async with stage.engine() as engine:
            await engine.resume(victim_id)
            assert await engine.result(sleeping[2]) == "woken"

    run(main())


@pytest.mark.usefixtures("quick_rebuild")
def test_a_bug_that_names_another_invocation_pauses_both(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one whose state is wrong, and the one whose message met it, for it would meet it again."""

    async def main() -> None:
        async with stage.engine() as engine:
            broken, bystander = [await engine.send("Waits", "awakeable_later") for _ in range(2)]
            await stage.marked("awakeable", times=2)
            speaker = await engine.send("Steps", "slow", "gate")
            await stage.marked("attempt slow")
            speaker_id = invocation_id_from_str(speaker)
            raised = broken_for(
                monkeypatch,
                commands.SdkMessages,
                lambda command: command.invocation_id == speaker_id,
                EngineBug(invocation_id_from_str(broken), "no move leads from here to there"),
            )
            stage.open_gate("gate")
            for each in (broken, speaker):
                found = await reaches(engine, each, Status.PAUSED)
                assert found.last_error is not None
                assert "no move leads from here to there" in found.last_error.message
                assert "Command: SdkMessages(" in found.last_error.stacktrace
            assert len(raised) == 1
            stage.open_gate("later")
            await engine.complete_awakeable(invocation_id_from_str(bystander), FIRST_USER_SIGNAL, Success(b'"x"'))
            assert await engine.result(bystander) == "got x"

    run(main())


@pytest.mark.usefixtures("quick_rebuild")
def test_a_row_that_contradicts_itself_is_refused_to_its_asker_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found before it is written; those who asked in the same batch are answered."""
    real = core_apply._TRANSITIONS[commands.Cancel]

    def transition(state: State, command: Any) -> None:
        real(state, command)
        found = state.invocation(command.invocation_id)
        assert found is not None
        found.result = Success(b"contradicts")
        state.touch(found)

    async def main() -> None:
        async with stage.engine() as engine:
            victim = await engine.send("Waits", "awakeable_later")
            await stage.marked("awakeable")
            monkeypatch.setitem(core_apply._TRANSITIONS, commands.Cancel, transition)
            cancelled = asyncio.ensure_future(engine.cancel(victim))
            sent = await asyncio.gather(*(engine.send("Steps", "same", f"{each}") for each in range(3)))
            with pytest.raises(RewakeError, match="INVOKED has what does not fit"):
                await cancelled
            assert [await engine.result(each) for each in sent] == ["0", "1", "2"]
            await reaches(engine, victim, Status.PAUSED)

    run(main())


@pytest.mark.usefixtures("quick_rebuild")
def test_a_bug_in_recovery_holds_up_no_other_invocation(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with stage.engine() as engine:
            running = [await engine.send("Waits", "awakeable_later") for _ in range(4)]
            await stage.marked("awakeable", times=4)
        victim_id = invocation_id_from_str(running[1])
        broken_for(monkeypatch, commands.Recover, lambda command: victim_id in command.invocation_ids)
        stage.open_gate("later")
        async with stage.engine() as engine:
            await reaches(engine, running[1], Status.PAUSED)
            await until(lambda: not engine._loop.is_halted)
            for invocation_id in (running[0], *running[2:]):
                await engine.complete_awakeable(
                    invocation_id_from_str(invocation_id), FIRST_USER_SIGNAL, Success(b'"x"')
                )
                assert await engine.result(invocation_id) == "got x"

    run(main())


@pytest.mark.usefixtures("quick_rebuild")
def test_a_bug_that_even_pausing_meets(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The invocation is left alone, the rest goes on."""

    async def main() -> None:
        async with stage.engine() as engine:
            victim = await engine.send("Steps", "slow", "gate")
            await stage.marked("attempt slow")
            victim_id = invocation_id_from_str(victim)
            for kind in (commands.SdkMessages, commands.PauseFaulty):
                broken_for(monkeypatch, kind, lambda command: command.invocation_id == victim_id)
            waiting = asyncio.ensure_future(engine.result(victim))
            await until(lambda: engine.stats()["callers_waiting"] == 1)
            stage.open_gate("gate")
            await until(lambda: victim_id in engine._left_alone and not engine._loop.is_halted)
            assert await engine.call("Steps", "route", "Ada") == "pick, ask Ada, check"
            assert not waiting.done()
            waiting.cancel()

    run(main())


@pytest.mark.usefixtures("quick_rebuild")
@pytest.mark.parametrize("is_slow", [False, True])
def test_a_bug_in_a_callers_command_is_told_to_that_caller(
    stage: Stage, is_slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And to no other: not to those whose commands are on their way to the disk, applied, or come while all is lost."""
    if is_slow:
        monkeypatch.setattr(store_module, "COMMIT_INLINE_MAX_S", -1.0)

    async def main() -> None:
        async with stage.engine() as engine:
            waiting = asyncio.ensure_future(engine.call("Waits", "awakeable_later"))
            name = await stage.marked("awakeable")
            broken_for(monkeypatch, commands.Invoke, lambda command: command.input == b'"poison"')
            others = [asyncio.ensure_future(engine.call("Steps", "same", "in flight"))]
            while is_slow and engine._loop._in_flight is None:
                await asyncio.sleep(0)  # A quick commit is in flight for less than the pause of `until`.
            others.append(asyncio.ensure_future(engine.call("Steps", "same", "applied")))
            poison = asyncio.ensure_future(engine.call("Steps", "same", "poison"))
            others.append(asyncio.ensure_future(engine.call("Steps", "same", "asked later")))
            with pytest.raises(RewakeError) as caught:
                await poison
            assert caught.value.code is ErrorCode.ENGINE_BUG
            assert await asyncio.gather(*others) == ["in flight", "applied", "asked later"]
            stage.open_gate("later")
            await engine.complete_awakeable(*awakeable_id_parse(name), Success(b'"x"'))
            assert await waiting == "got x"

    run(main())


# Values that cannot be stored


@pytest.mark.usefixtures("quick_rebuild")
@pytest.mark.parametrize("is_slow", [False, True])
def test_a_value_of_an_invocation_that_cannot_be_stored_pauses_that_one_only(
    stage: Stage, is_slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever let it in. What was asked in the same batch is answered as if nothing had been."""
    if is_slow:
        monkeypatch.setattr(store_module, "COMMIT_INLINE_MAX_S", -1.0)

    async def main() -> None:
        async with stage.engine() as engine:
            victim = await engine.send("Steps", "slow", "gate")
            await stage.marked("attempt slow")
            victim_id = invocation_id_from_str(victim)
            asked: list[asyncio.Future[Any]] = []
            real = core_apply._TRANSITIONS[commands.SdkMessages]

            def transition(state: State, command: Any) -> None:
                real(state, command)
                if command.invocation_id == victim_id and not stage.count("mended"):
                    if (invocation := state.invocations.get(victim_id)) is not None:
                        invocation.modified_at_ms = 2**64
                    if len(asked) == 5:
                        asked.append(asyncio.ensure_future(engine.call("Steps", "same", 5)))

            monkeypatch.setitem(core_apply._TRANSITIONS, commands.SdkMessages, transition)
            asked += [asyncio.ensure_future(engine.call("Steps", "route", f"n{number}")) for number in range(5)]
            stage.open_gate("gate")
            found = await reaches(engine, victim, Status.PAUSED)
            assert found.last_error is not None and "OverflowError" in found.last_error.message
            results = await asyncio.gather(*asked)
            assert results == [f"pick, ask n{number}, check" for number in range(5)] + [5]
            mark("mended")
            await engine.resume(victim_id)
            assert await engine.result(victim) == "slow gate"
            await settles_in_memory(engine)

    run(main())


@pytest.mark.usefixtures("quick_rebuild")
def test_a_callers_value_that_cannot_be_stored_is_refused_to_that_caller(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine() as engine:
            target = engine.resolve("Steps", "same", None)
            assert target is not None
            sends = [
                asyncio.ensure_future(
                    engine.invoke(target, b'"x"', traceparent="\ud800" if number == 3 else None, wait=True)
                )
                for number in range(8)
            ]
            outcomes = await asyncio.gather(*sends, return_exceptions=True)
            (refused,) = [each for each in outcomes if isinstance(each, BaseException)]
            assert outcomes.index(refused) == 3
            assert isinstance(refused, RewakeError) and refused.code is ErrorCode.VALUE_NOT_STORABLE
            assert sum(engine._store.reader.open_counts().values()) == 0
            await settles_in_memory(engine)

    run(main())


@pytest.mark.parametrize(
    "given", [{"key": "\ud800"}, {"idempotency_key": "\udfff"}, {"delay_ms": 2**63}, {"delay_ms": -1}]
)
def test_what_an_embedded_call_cannot_store_is_refused_at_once(stage: Stage, given: dict[str, Any]) -> None:
    async def main() -> None:
        async with stage.engine() as engine:
            with pytest.raises(RewakeError) as caught:
                await engine.send("Steps", "same", "x", **given)
            assert caught.value.code is ErrorCode.VALUE_NOT_STORABLE
            assert not engine._loop.is_halted

    run(main())


@pytest.mark.usefixtures("quick_rebuild")
def test_a_bug_while_effects_are_let_out(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come again by rebuilding."""
    real = Engine._release
    raised: list[Any] = []

    def release(engine: Engine, effects: list[Any], batch: Batch) -> None:
        if not raised and len(effects) > 1 and stage.count("attempt slow gate"):
            raised.append(effects)
            raise AssertionError("a bug of ours")
        real(engine, effects, batch)

    monkeypatch.setattr(Engine, "_release", release)

    async def main() -> None:
        async with stage.engine() as engine:
            engine._loop._release = engine._release
            stage.open_gate("gate")
            sent = [await engine.send("Steps", "slow", "gate")]
            await until(lambda: raised)
            await until(lambda: not engine._loop.is_halted)
            sent.append(await engine.send("Steps", "slow", "gate"))
            assert [await engine.result(each) for each in sent] == ["slow gate"] * 2

    run(main())


# Stale attempts


def test_a_stale_attempt_changes_nothing(stage: Stage) -> None:
    """What a fenced attempt still sends, a late output included, is dropped."""
    lost: list[CutAttempt] = []
    fickle = restate.Service("Fickle")

    @fickle.handler()
    async def work(ctx: restate.Context, _: Any = None) -> str:
        mark("attempt")
        number = stage.count("attempt")
        await ctx.run_typed("one", lambda: number)
        return f"attempt {number}"

    async def main() -> None:
        async with stage.engine(cut=Cut(1, lost.append), app=restate.app([fickle])) as engine:
            invocation_id = await engine.send("Fickle", "work")
            await until(lambda: lost)
            stale = lost[0].sink
            stale.on_failure(BROKEN)  # while its handler goes on
            assert await engine.result(invocation_id) == "attempt 2"
            before = journal(engine, invocation_id)
            late: list[ReceivedMessage] = [
                (OutputCommand(Success(b'"stale"'), ""), MessageType.OUTPUT, b"", 0),
                (End(), MessageType.END, b"", 0),
            ]
            stale.on_messages(late)
            stale.on_failure(BROKEN)
            await engine._loop.flush()
            assert journal(engine, invocation_id) == before
            assert await engine.result(invocation_id) == "attempt 2"

            running = await engine.send("Fickle", "work")
            assert await engine.result(running) == "attempt 3"

    run(main())


# Handlers that block


OTHER_APP = """
import restate
other = restate.Service("Other")

@other.handler()
async def hello(ctx: restate.Context, name: str) -> str:
    return "hello " + await ctx.run_typed("one", lambda: name)

app = restate.app([other])
"""


def test_a_blocked_worker_holds_up_nobody_else(stage: Stage) -> None:
    """Not the engine, not its timers, not a service that runs in another worker."""

    async def main() -> None:
        file = stage.path / "other_app.py"
        file.write_text(OTHER_APP)
        pool = WorkerPool(WorkerOptions(app_ref=f"{file}:app", loop="asyncio"))
        async with stage.engine("worker") as engine:
            await pool.start()
            await engine.add_deployment(pool, uri="worker:other_app", kind="worker")
            blocked = await engine.send("Steps", "block", "gate")
            await stage.marked("blocking gate")
            for number in range(10):
                assert await engine.call("Other", "hello", str(number)) == f"hello {number}"
            later = await engine.send("Other", "hello", "later", delay_ms=30)
            assert await engine.result(later) == "hello later"
            assert status(engine, blocked) is Status.INVOKED and stage.count("blocking gate") == 1
            stage.open_gate("gate")
            assert await engine.result(blocked) == "blocked"

    run(main())


def test_of_two_workers_one_is_blocked(stage: Stage) -> None:
    """New attempts go to the one that answers."""

    async def main() -> None:
        async with stage.engine("worker", workers=2) as engine:
            blocked = await engine.send("Steps", "block", "gate")
            await stage.marked("blocking gate")
            for number in range(10):
                assert await engine.call("Steps", "route", str(number)) == f"pick, ask {number}, check"
            assert await engine.call("Steps", "nap", 20) == "woken"
            stage.open_gate("gate")
            assert await engine.result(blocked) == "blocked"

    run(main())


def test_a_spinning_worker_leaves_the_engine_free(stage: Stage) -> None:
    """With one worker, calls to it wait; what the engine does itself does not."""

    async def main() -> None:
        async with stage.engine("worker") as engine:
            blocked = await engine.send("Steps", "block", "gate")
            await stage.marked("blocking gate")
            scheduled = await engine.send("Steps", "same", "x", delay_ms=3_600_000)
            assert await engine.cancel(invocation_id_from_str(scheduled))
            waiting = await engine.send("Steps", "same", "y")
            await engine.kill(invocation_id_from_str(blocked))
            stage.open_gate("gate")
            assert await engine.result(waiting) == "y"

    run(main())


# Stopping


def test_stop_tells_who_waits_and_the_next_engine_finishes(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine() as engine:
            calls = [
                asyncio.ensure_future(engine.call("Steps", "slow", "gate", idempotency_key=str(n))) for n in range(3)
            ]
            await stage.marked("attempt slow", times=3)
        for call in calls:
            with pytest.raises(RewakeError) as caught:
                await call
            assert caught.value.code is ErrorCode.ENGINE_STOPPED
        with pytest.raises(RewakeError):
            await engine.call("Steps", "same", "x")
        stage.open_gate("gate")
        async with stage.engine() as engine:
            again = [engine.call("Steps", "slow", "gate", idempotency_key=str(n)) for n in range(3)]
            assert await asyncio.gather(*again) == ["slow gate"] * 3
            assert stage.count("attempt slow gate") >= 6

    run(main())


def test_several_engines_in_one_process(stage: Stage, tmp_path: Any) -> None:
    async def main() -> None:
        other = Stage(tmp_path / "other")
        async with stage.engine() as first, other.engine() as second:
            results = await asyncio.gather(
                *(engine.call("Counter", "add", 1, key="k") for engine in (first, second) for _ in range(5))
            )
            assert sorted(results) == sorted([1, 2, 3, 4, 5] * 2)
            with pytest.raises(RewakeError) as caught:
                async with stage.engine():
                    pass
            assert caught.value.code.startswith("RW5")
            assert await first.call("Counter", "add", 1, key="k") == 6

    run(main())


def test_a_silent_cut_is_noticed_by_the_abort_timeout(stage: Stage) -> None:
    """A deployment that hangs for good, as far as the engine can tell."""

    async def main() -> None:
        defaults = HandlerOptions(retry=DEFAULTS.retry, inactivity_timeout_ms=20, abort_timeout_ms=200)
        cut = Cut(2, nothing)
        async with stage.engine(cut=cut, defaults=defaults) as engine:
            invocation_id = await engine.send("Steps", "route", "Ada")
            assert await engine.result(invocation_id) == "pick, ask Ada, check"
            found = row(engine, invocation_id)
            assert found is not None and found.last_error is not None
            assert found.last_error.restate_code == "RT0001"
            assert stage.count("ran pick") == 1

    run(main())


def test_handlers_that_stop_at_nothing(stage: Stage) -> None:
    """One that swallows everything, one that recurses without end: each fails by itself."""
    rude = restate.Service("Rude")

    @rude.handler()
    async def recurses(ctx: restate.Context, _: Any = None) -> None:
        def deeper() -> None:
            deeper()

        deeper()

    @rude.handler()
    async def exits(ctx: restate.Context, _: Any = None) -> None:
        await ctx.sleep(delta(1))
        raise KeyError("x" * 100_000)

    async def main() -> None:
        few = msgspec.structs.replace(FAST_RETRY, max_attempts=2)
        async with stage.engine(app=restate.app([rude]), defaults=HandlerOptions(retry=few)) as engine:
            for handler in ("recurses", "exits"):
                invocation_id = await engine.send("Rude", handler)
                found = await reaches(engine, invocation_id, Status.PAUSED)
                assert found.last_error is not None and len(found.last_error.message) <= 8_192

    run(main())
