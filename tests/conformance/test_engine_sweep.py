"""A bug of ours in forgetting one invocation: all others are forgotten all the same, and not only by the next sweep."""

from __future__ import annotations

from datetime import timedelta

import pytest
import restate
from stage import Stage, row, run, until

from rewake.core import lifecycle
from rewake.core.ids import invocation_id_from_str
from rewake.core.model import Invocation
from rewake.core.state import State
from rewake.engine import runtime as runtime_module
from rewake.errors import RewakeError

keeps = restate.Service("Keeps")


@keeps.handler(idempotency_retention=timedelta(milliseconds=1), journal_retention=timedelta(milliseconds=1))
async def briefly(ctx: restate.Context, text: str) -> str:
    return text


def test_a_bug_in_forgetting_one_stops_no_other(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "REBUILD_PAUSE_S", 0.01)
    forget = lifecycle.forget
    raised: list[bytes] = []

    async def main() -> None:
        async with stage.engine(app=restate.app([keeps])) as engine:
            kept = [await engine.send("Keeps", "briefly", "x") for _ in range(6)]
            await until(lambda: len(engine._store.reader.expired_invocation_ids(engine.now_ms(), 10)) == 6)
            victim_id = invocation_id_from_str(kept[3])

            def broken(state: State, invocation: Invocation) -> None:
                forget(state, invocation)
                if invocation.id == victim_id:
                    raised.append(invocation.id)
                    raise AssertionError("a bug of ours")

            monkeypatch.setattr(lifecycle, "forget", broken)
            with pytest.raises(RewakeError):
                await engine.sweep()
            await until(lambda: [row(engine, each) is None for each in kept] == [True] * 3 + [False] + [True] * 2)
            await until(lambda: not engine._loop.is_halted)
            assert await engine.call("Keeps", "briefly", "y") == "y"
            found = len(raised)
            await engine.sweep()
            assert len(raised) == found == 2
            monkeypatch.setattr(lifecycle, "forget", forget)
        async with stage.engine(app=restate.app([keeps])) as engine:
            assert await engine.sweep()
            assert row(engine, kept[3]) is None

    run(main())
