"""Tasks of one handler that wait side by side all go on, wherever the handler runs.

The SDK gives what arrives to one waiting task, whichever it is for. Without wake-ups for the others (waking.py) a run
stands still until the inactivity timeout, a minute; here that is a deadline missed. Runs are made of seeds, and no
attempt is cut: what happens at a replay is decided by the handler, see docs/explanation/parallel-work.md.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import restate
import side_by_side_app
from side_by_side_app import Plan, steps, work
from stage import Stage, Transport, row, run, until

from rewake.deployments.base import DeploymentClient
from rewake.deployments.http.address import parse_address
from rewake.deployments.http.client import HttpDeployment, HttpVersion
from rewake.engine import Engine
from rewake.serving.server import DeploymentServer

APP = "side_by_side_app:app"
RUNS = int(os.environ.get("REWAKE_SIDE_BY_SIDE_RUNS", "12"))
"""Runs of each case. More of them, for a doubt: hundreds take minutes."""

AT_ONCE = 4
STANDS_STILL_S = 20.0


@asynccontextmanager
async def served(version: HttpVersion) -> AsyncIterator[DeploymentClient]:
    """The app as `rewake serve` has it, reached over HTTP."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = DeploymentServer(side_by_side_app.app)
    await server.start(listener)
    client = HttpDeployment(parse_address(f"http://127.0.0.1:{port}"), http_version=version)
    try:
        yield client
    finally:
        await client.close()
        await server.stop(0)


@asynccontextmanager
async def engine(stage: Stage, way: str) -> AsyncIterator[Engine]:
    transports: dict[str, Transport] = {"hypercorn": "http2", "uvicorn": "http1"}
    if way.startswith("serve"):
        deployment = served("HTTP/1.1" if way == "serve over HTTP/1.1" else "HTTP/2.0")
    else:
        deployment = stage.deployment(transports.get(way, way), app=APP)  # type: ignore[arg-type]  # the rest are names of transports
    async with deployment as client:
        started = Engine(stage.data)
        try:
            await started.start()
            await started.add_deployment(client, uri=f"{way}:side_by_side", kind=way)
            started.drive()
            yield started
        finally:
            await started.stop()


def plan(seed: int, steps_max: int = 4) -> Plan:
    """Two to six tasks, with steps that take no time, or up to 8 ms."""
    random_ = random.Random(seed)
    return [
        [random_.choice((0.0, 2.0, 8.0)) * random_.random() for _ in range(random_.randint(1, steps_max))]
        for _ in range(random_.choice((2, 2, 3, 6)))
    ]


async def all_finish(stage: Stage, way: str, handler: str, plans: list[Plan]) -> None:
    async with engine(stage, way) as started:
        places = asyncio.Semaphore(AT_ONCE)

        async def finishes(given: Plan) -> None:
            async with places, asyncio.timeout(STANDS_STILL_S):
                assert await started.call("SideBySide", handler, given) == given

        async with asyncio.TaskGroup() as group:
            for given in plans:
                group.create_task(finishes(given))


@pytest.mark.parametrize("handler", ["gather", "task_group", "beside_an_awakeable"])
@pytest.mark.parametrize("way", ["in_process", "worker", "serve over HTTP/2"])
def test_steps_of_any_length(stage: Stage, way: str, handler: str) -> None:
    run(all_finish(stage, way, handler, [plan(seed) for seed in range(RUNS)]), 2 * STANDS_STILL_S + RUNS)


@pytest.mark.parametrize("way", ["serve over HTTP/1.1", "uvicorn"])
def test_one_step_each_over_request_and_response(stage: Stage, way: str) -> None:
    """Every wait is a replay there, which is safe for tasks that make one entry each."""
    plans = [plan(seed, steps_max=1) for seed in range(RUNS)]
    run(all_finish(stage, way, "gather", plans), 2 * STANDS_STILL_S + RUNS)


def test_a_mismatch_of_tasks_says_so(stage: Stage) -> None:
    """The step that is done last was made first, so its task is ahead of the other at a replay."""
    service = restate.Service("Racing")
    attempts = []

    @service.handler()
    async def race(ctx: restate.Context) -> None:
        others_are_done = asyncio.Event()
        attempts.append(ctx)

        async def slow() -> None:
            await ctx.run_typed("slow", others_are_done.wait)
            await ctx.run_typed("after slow", work, milliseconds=0.0)

        async def quick() -> None:
            await steps(ctx, 1, [0.0, 0.0])
            others_are_done.set()

        await asyncio.gather(slow(), quick())
        raise ValueError("once more")

    async def main() -> None:
        async with stage.engine(app=restate.app([service])) as started:
            invocation_id = await started.send("Racing", "race")
            await until(lambda: len(attempts) > 1 and row(started, invocation_id).retry_count > 1)  # type: ignore[union-attr]
            found = row(started, invocation_id)
            assert found is not None and found.last_error is not None
            assert found.last_error.restate_code == "RT0016"
            told = "was made while 'slow' was open: two tasks of this handler use the context side by side"
            assert told in found.last_error.message

    run(main())
