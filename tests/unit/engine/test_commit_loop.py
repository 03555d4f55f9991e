"""The commit loop: what is committed together, what waits for company, what is let out, and what is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.simulation.memory_store import MemoryStore
from tests.unit.core.play import NOW_MS, Play, deployment, services, target_of

from rewake.core import commands
from rewake.core.commands import Command
from rewake.core.effects import Effect, Forward, Reply, StartAttempt
from rewake.core.ids import InvocationId
from rewake.core.model import HandlerOptions
from rewake.core.state import State
from rewake.core.writes import Batch
from rewake.engine import commit_loop
from rewake.engine.commit_loop import GATHERED_MIN, CommitLoop
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol import messages as m


class Stored:
    """A store that is quick, and keeps what it was given."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.came = asyncio.Event()

    def submit(self, batch: Batch, on_done: Callable[[BaseException | None], None]) -> None:
        self.batches.append(batch)
        self.came.set()
        on_done(None)


def messages_of(play: Play, *sent: m.Message) -> commands.SdkMessages:
    """The command that brings these messages of a call's live attempt."""
    found: list[Any] = []
    invocation_id: InvocationId = next(iter(play.started))
    play.submit = found.append  # type: ignore[method-assign,assignment]  # made here, applied by the loop
    play.sdk(invocation_id, *sent)
    made: commands.SdkMessages = found[0]
    return made


def started() -> Play:
    play = Play()
    play.call("greeter/greet")
    play.commit()
    return play


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_steps_command_is_stored_with_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the command, so it spares a commit; its result, which a handler waits for, is stored at once."""
    monkeypatch.setattr(commit_loop, "UNAWAITED_S", 3600.0)
    play, effects = started(), list[Effect]()
    step = messages_of(play, m.RunCommand(1, "look"))
    result = messages_of(play, m.ProposeRunCompletion(1, m.Success(b"v")))

    async def run() -> list[int]:
        store = Stored()
        loop = CommitLoop(store, play.state, lambda found, _: effects.extend(found), lambda *_: None)
        loop.submit(step)
        await turns()
        assert store.batches == []
        loop.submit(result)
        await turns()
        return [len(batch.entries) for batch in store.batches]

    assert asyncio.run(run()) == [2]
    assert [type(effect) for effect in effects] == [Forward]


def test_what_nobody_waits_for_is_stored_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long step is seen while it runs."""
    monkeypatch.setattr(commit_loop, "UNAWAITED_S", 0.001)
    play = started()
    step = messages_of(play, m.RunCommand(1, "look"))

    async def run() -> int:
        store = Stored()
        loop = CommitLoop(store, play.state, lambda *_: None, lambda *_: None)
        loop.submit(step)
        async with asyncio.timeout(5):
            await store.came.wait()
        return len(store.batches[0].entries)

    assert asyncio.run(run()) == 1


def test_what_nobody_waited_for_is_stored_at_once_when_somebody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_loop, "UNAWAITED_S", 3600.0)
    play = started()
    step = messages_of(play, m.RunCommand(1, "look"))

    async def run() -> list[int]:
        store = Stored()
        loop = CommitLoop(store, play.state, lambda *_: None, lambda *_: None)
        loop.hurry()
        loop.submit(step)
        await turns()
        assert store.batches == []
        loop.hurry()
        await turns()
        return [len(batch.entries) for batch in store.batches]

    assert asyncio.run(run()) == [1]


def test_a_flush_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_loop, "UNAWAITED_S", 3600.0)
    play = started()
    step = messages_of(play, m.RunCommand(1, "look"))

    async def run() -> int:
        store = Stored()
        loop = CommitLoop(store, play.state, lambda *_: None, lambda *_: None)
        loop.submit(step)
        async with asyncio.timeout(5):
            await loop.flush()
        return len(store.batches)

    assert asyncio.run(run()) == 1


# A store that commits when the test says so

FULL = RewakeError(ErrorCode.STORE_FULL, "The disk is full.")


class SlowStore:
    """Keeps batches until `commit` or `refuse`."""

    def __init__(self) -> None:
        self.rows = MemoryStore()
        self.waiting: list[tuple[Batch, Callable[[BaseException | None], None]]] = []

    def submit(self, batch: Batch, on_done: Callable[[BaseException | None], None]) -> None:
        self.waiting.append((batch, on_done))

    def commit(self) -> None:
        batch, on_done = self.waiting.pop(0)
        self.rows.apply(batch)
        on_done(None)

    def refuse(self) -> None:
        self.waiting.pop(0)[1](FULL)


class Stage:
    """A loop on such a store, what it let out, and what it lost."""

    def __init__(self) -> None:
        self.store = SlowStore()
        self.effects: list[Effect] = []
        self.lost: list[tuple[BaseException, Command | None, list[Command]]] = []
        self.loop = CommitLoop(
            self.store,
            self.fresh(),
            lambda effects, _: self.effects.extend(effects),
            lambda *lost: self.lost.append(lost),
        )

    def fresh(self) -> State:
        return State(self.store.rows)

    def call(self, number: int) -> Command:
        call = commands.Invoke(
            now_ms=NOW_MS, token=number, target=target_of("greeter/greet"), input=b"", headers=(),
            random=number.to_bytes(10, "big"), wait=False,
        )  # fmt: skip
        self.loop.submit(call)
        return call

    @property
    def answered(self) -> list[int]:
        return [effect.token for effect in self.effects if isinstance(effect, Reply)]


def on_stage(play: Callable[[Stage], Awaitable[Any]]) -> None:
    async def main() -> None:
        stage = Stage()
        register = commands.RegisterDeployment(
            now_ms=NOW_MS, token=100, deployment=deployment(), services=services(HandlerOptions())
        )
        stage.loop.submit(register)
        await asyncio.sleep(0)
        stage.store.commit()
        async with asyncio.timeout(10):
            await play(stage)

    asyncio.run(main())


@pytest.mark.parametrize("count", [GATHERED_MIN - 1, GATHERED_MIN])
def test_a_batch_of_several_commands_takes_along_what_comes_as_it_is_due(count: int) -> None:
    """A smaller one, as of a single caller, waits for nothing."""

    async def play(stage: Stage) -> None:
        for number in range(count):
            stage.call(number)
        asyncio.get_running_loop().call_soon(stage.call, 50)
        await turns()
        stage.store.commit()
        assert (50 in stage.answered) == (count >= GATHERED_MIN)

    on_stage(play)


def test_what_comes_during_a_commit_is_the_next_batch_and_nobody_hears_before() -> None:
    async def play(stage: Stage) -> None:
        stage.call(1)
        await asyncio.sleep(0)
        for number in (2, 3, 4):
            stage.call(number)
        await asyncio.sleep(0)
        assert len(stage.store.waiting) == 1 and stage.answered == [100]
        stage.store.commit()
        assert stage.answered == [100, 1]
        await asyncio.sleep(0)
        assert [len(batch.inserts) for batch, _ in stage.store.waiting] == [3]
        stage.store.commit()
        assert stage.answered == [100, 1, 2, 3, 4]
        assert sum(isinstance(effect, StartAttempt) for effect in stage.effects) == 4
        assert (stage.loop.command_count, stage.loop.batch_count) == (5, 3)

    on_stage(play)


def test_a_flush_waits_for_what_was_applied_before_it() -> None:
    async def play(stage: Stage) -> None:
        await stage.loop.flush()  # nothing to wait for
        stage.call(1)
        await asyncio.sleep(0)
        stage.call(2)
        flushed = asyncio.ensure_future(stage.loop.flush())
        await asyncio.sleep(0)
        stage.store.commit()
        await asyncio.sleep(0)
        assert stage.answered == [100, 1] and not flushed.done()
        stage.store.commit()
        await flushed
        assert stage.answered == [100, 1, 2]

    on_stage(play)


def test_a_commit_that_is_refused_loses_it_and_all_that_followed() -> None:
    async def play(stage: Stage) -> None:
        first = stage.call(1)
        flushed = asyncio.ensure_future(stage.loop.flush())
        await asyncio.sleep(0)
        second = stage.call(2)
        stage.store.refuse()
        assert stage.lost == [(FULL, None, [first, second])]
        assert stage.loop.take_lost() == [first, second] and not stage.loop.take_lost()
        assert stage.answered == [100]
        with pytest.raises(RewakeError, match="disk is full"):
            await flushed

    on_stage(play)


def test_a_halted_loop_refuses_until_it_has_new_memory() -> None:
    """The commit under way may still arrive: what it made is let out, and may be read."""

    async def play(stage: Stage) -> None:
        stage.call(1)
        await asyncio.sleep(0)
        stage.loop.halt(FULL)
        assert stage.loop.is_halted and stage.loop.problem is FULL
        with pytest.raises(RewakeError, match="disk is full"):
            stage.call(2)
        with pytest.raises(RewakeError, match="disk is full"):
            await stage.loop.flush()
        settled = asyncio.ensure_future(stage.loop.settled())
        await asyncio.sleep(0)
        assert not settled.done()
        stage.store.commit()
        await settled
        assert stage.answered == [100, 1]
        stage.loop.restart(stage.fresh())
        stage.call(3)
        await asyncio.sleep(0)
        stage.store.commit()
        assert stage.answered == [100, 1, 3]

    on_stage(play)


def test_a_transition_that_raises_loses_what_is_not_stored() -> None:
    async def play(stage: Stage) -> None:
        under_way = stage.call(1)
        await asyncio.sleep(0)
        applied = stage.call(2)
        broken = commands.Cancel(now_ms=NOW_MS, token=3, invocation_id=InvocationId(b"x" * 24))
        stage.loop.state.invocation = None  # type: ignore[method-assign,assignment]
        stage.loop.submit(broken)
        ((error, command, lost),) = stage.lost
        assert isinstance(error, TypeError) and command is broken
        assert lost == [under_way, applied]
        assert stage.loop.take_lost() == [applied]  # the other one is on its way to the disk

    on_stage(play)
