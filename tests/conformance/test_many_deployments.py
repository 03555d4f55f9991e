"""Two hundred deployments on one engine: each registered, found again after a restart, reached by its own calls.

`python -m bench sizes` does the same with a thousand and more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from http_service import Service
from stage import Stage, run

from bench.many_app import prefix, service_name
from rewake.engine import Engine

REPOSITORY = Path(__file__).resolve().parents[2]
COUNT = 200
AT_ONCE = 16


@pytest.fixture
def service() -> Iterator[Service]:
    """All of them in one process, told apart by the path."""
    running = Service("bench.many_app:app", PYTHONPATH=str(REPOSITORY))
    yield running
    running.kill()


async def each(does: Callable[[int], Awaitable[Any]]) -> list[Any]:
    """For every deployment, a few at a time, in order."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Any:
        async with slots:
            return await does(number)

    return await asyncio.gather(*map(one, range(COUNT)))


async def rows(engine: Engine, sql: str) -> list[Any]:
    return list((await engine.query(sql)).rows)


def test_many_deployments(stage: Stage, service: Service) -> None:
    names = [service_name(number) for number in range(COUNT)]

    async def main() -> None:
        async with Engine(stage.data) as engine:
            engine.drive()
            registered = await each(lambda number: engine.register_http(service.uri + prefix(number)))
            assert {result.status for result in registered} == {"created"}
            deployment_ids = [result.deployment.id for result in registered]
            assert len(set(deployment_ids)) == COUNT

        async with Engine(stage.data) as engine:
            engine.drive()
            assert await each(lambda number: engine.call(names[number], "name")) == names
            stored = await rows(engine, "SELECT name, deployment_id, revision FROM sys_service")
            assert sorted(stored) == sorted(zip(names, deployment_ids, [1] * COUNT, strict=True))
            ran = await rows(engine, "SELECT target_service_name, pinned_deployment_id FROM sys_invocation")
            assert sorted(ran) == sorted(zip(names, deployment_ids, strict=True))

            again = await engine.register_http(service.uri + prefix(100))
            assert (again.status, again.deployment.id) == ("unchanged", deployment_ids[100])
            await engine.remove_deployment(deployment_ids[100], force=True)
            assert len(await rows(engine, "SELECT id FROM sys_deployment")) == COUNT - 1
            assert await engine.call(names[101], "name") == names[101]
            assert names[100] not in engine.services

    run(main())
