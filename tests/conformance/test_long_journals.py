"""A journal of 10,000 entries: written, replayed whole by the next attempt, and not one step of it run twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from http_service import Service
from stage import Stage, reaches, run

from rewake.core import ids
from rewake.core.model import Status
from rewake.engine import Engine
from rewake.protocol.messages import FIRST_USER_SIGNAL, Success

REPOSITORY = Path(__file__).resolve().parents[2]
STEP_COUNT = 5_000


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service("bench.app:app", PYTHONPATH=str(REPOSITORY))
    yield running
    running.kill()


def test_10_000_entries_are_replayed(stage: Stage, service: Service) -> None:
    async def main() -> None:
        async with Engine(stage.data) as engine:
            engine.drive()
            await engine.register_http(service.uri)
            sent = await engine.send("Sizes", "many_steps_then_wait", STEP_COUNT)
            suspended = await reaches(engine, sent, Status.SUSPENDED)
            before = await names(engine, sent)
            assert before == [f"Step {number}" for number in range(STEP_COUNT)]
            started_count = engine.stats()["attempts_started"]
            await engine.complete_awakeable(suspended.id, FIRST_USER_SIGNAL, Success(b"7"))
            assert await engine.result(sent) == STEP_COUNT + 7
            assert engine.stats()["attempts_started"] == started_count + 1
            assert await names(engine, sent) == before
            stored = engine._store.reader.journal(ids.invocation_id_from_str(sent))
            assert len(stored) == len(["Input", "Signal", "Output"]) + 2 * STEP_COUNT

    run(main())


async def names(engine: Engine, invocation_id: str) -> list[str]:
    """The names of the run's steps, in order."""
    found = await engine.query(
        f"SELECT name FROM sys_journal WHERE id = '{invocation_id}' AND entry_type = 'Command: Run' ORDER BY index"
    )
    return [name for (name,) in found.rows]
