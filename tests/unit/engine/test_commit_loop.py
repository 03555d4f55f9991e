"""The commit loop: what is committed at once, and what waits for company."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.core.play import Play

from rewake.core import commands
from rewake.core.effects import Effect, Forward
from rewake.core.ids import InvocationId
from rewake.core.writes import Batch
from rewake.engine import commit_loop
from rewake.engine.commit_loop import CommitLoop
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
        loop = CommitLoop(store, play.state, effects.extend, lambda *_: None)
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
        loop = CommitLoop(store, play.state, lambda _: None, lambda *_: None)
        loop.submit(step)
        async with asyncio.timeout(5):
            await store.came.wait()
        return len(store.batches[0].entries)

    assert asyncio.run(run()) == 1


def test_a_flush_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_loop, "UNAWAITED_S", 3600.0)
    play = started()
    step = messages_of(play, m.RunCommand(1, "look"))

    async def run() -> int:
        store = Stored()
        loop = CommitLoop(store, play.state, lambda _: None, lambda *_: None)
        loop.submit(step)
        async with asyncio.timeout(5):
            await loop.flush()
        return len(store.batches)

    assert asyncio.run(run()) == 1
