"""Whom a loss of memory is laid to; that the others go on is in tests/conformance/test_engine_trouble.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from rewake.core import commands
from rewake.core.commands import Command
from rewake.core.errors import EngineBug
from rewake.core.ids import CompletionId, InvocationId
from rewake.core.model import AttemptError
from rewake.engine import Engine
from rewake.engine.loss import loss_of
from rewake.engine.runtime import RECOVERY_BATCH, _token_of
from rewake.protocol.messages import Success

A, B = InvocationId(b"a" * 24), InvocationId(b"b" * 24)
BUG, NAMED = AssertionError("somebody"), EngineBug(B, "it was this one")
TIMERS = commands.TimersDue(now_ms=0, due=[(1, A, CompletionId(0)), (1, B, CompletionId(0))])
RECOVER = commands.Recover(now_ms=0, invocation_ids=[A, B])


def on_stage(tmp_path: Path, play: Callable[[Engine], None]) -> None:
    async def main() -> None:
        async with Engine(tmp_path) as engine:
            play(engine)

    asyncio.run(main())


def faulty(engine: Engine, error: Exception, command: Command | None) -> set[InvocationId]:
    return engine._faulty_in(command, loss_of(error, command))


def test_a_command_about_one_is_that_ones_fault(tmp_path: Path) -> None:
    def play(engine: Engine) -> None:
        cancel = commands.Cancel(now_ms=0, token=1, invocation_id=A)
        assert faulty(engine, BUG, cancel) == {A}
        assert faulty(engine, NAMED, cancel) == {A, B}
        assert faulty(engine, NAMED, None) == {B}
        promise = commands.CompletePromise(now_ms=0, token=1, service="s", key="k", name="n", result=Success(b""))
        assert faulty(engine, BUG, promise) == set()

    on_stage(tmp_path, play)


def test_of_a_command_about_many_only_the_one_named_is_at_fault(tmp_path: Path) -> None:
    """Else all are suspect, and are tried one by one."""

    def play(engine: Engine) -> None:
        assert faulty(engine, NAMED, TIMERS) == faulty(engine, NAMED, RECOVER) == {B}
        assert engine._recovery_batch == RECOVERY_BATCH
        assert faulty(engine, BUG, TIMERS) == faulty(engine, BUG, RECOVER) == set()
        assert engine._recovery_batch == 1
        assert faulty(engine, BUG, commands.Recover(now_ms=0, invocation_ids=[A])) == {A}
        assert faulty(engine, BUG, commands.Sweep(now_ms=0, invocation_ids=[A])) == set()

    on_stage(tmp_path, play)


def test_one_that_cannot_even_be_paused_is_left_alone(tmp_path: Path) -> None:
    def play(engine: Engine) -> None:
        pause = commands.PauseFaulty(now_ms=0, invocation_id=A, error=AttemptError(500, "broke", "RT0006"))
        assert faulty(engine, BUG, pause) == set()
        assert engine._left_alone == {A}

    on_stage(tmp_path, play)


def test_who_asked() -> None:
    assert _token_of(commands.Cancel(now_ms=0, token=7, invocation_id=A)) == 7
    assert _token_of(RECOVER) == 0
