"""BaseExceptions out of user code fail the attempt at once, by name, and neither stall it nor end the worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import escaping
import pytest
from stub_engine import StubAttempt, attempt_start

from rewake.deployments.base import DeploymentClient
from rewake.deployments.in_process import InProcessDeployment
from rewake.deployments.worker import WorkerOptions
from rewake.deployments.worker_pool import WorkerPool
from rewake.protocol.messages import Error, RunCommand

APP = f"{escaping.__file__}:app"


@asynccontextmanager
async def worker() -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(WorkerOptions(app_ref=APP))
    try:
        async with asyncio.timeout(30):
            await pool.start()
            yield pool
    finally:
        await pool.close()


def attempt(deployment: DeploymentClient, handler: str, raises: str) -> StubAttempt:
    return StubAttempt(deployment, attempt_start(f"Escapes/{handler}", json.dumps(raises).encode()))


async def failure(deployment: DeploymentClient, handler: str, raises: str) -> str:
    failing = attempt(deployment, handler, raises)
    await asyncio.wait_for(failing.done, 10)
    error = failing.messages[-1]
    assert isinstance(error, Error), (handler, raises, failing.messages, failing.failure)
    assert "escaping.py" in error.stacktrace, "the user's line is shown"
    return error.message


@pytest.mark.parametrize("raises", escaping.RAISES)
@pytest.mark.parametrize("handler", ["handler", "step", "thread"])
def test_the_attempt_fails_at_once_with_the_name(handler: str, raises: str) -> None:
    async def main() -> None:
        deployment = InProcessDeployment(escaping.app)
        message = await failure(deployment, handler, raises)
        place = "handler" if handler == "handler" else "step"
        assert raises in message and f"was raised by the {place} itself" in message
        await deployment.close()

    asyncio.run(main())


def test_a_step_with_limited_attempts_hands_it_to_the_handler() -> None:
    async def main() -> None:
        deployment = InProcessDeployment(escaping.app)
        tried = attempt(deployment, "tries", "CancelledError")
        await asyncio.wait_for(tried.done, 10)
        assert tried.output is not None and b"CancelledError" in tried.output
        await deployment.close()

    asyncio.run(main())


def test_a_worker_lives_on() -> None:
    """Also when a task of the handler's own asks the process to end."""

    async def main() -> None:
        async with worker() as pool:
            [before] = pool._available
            for handler in ("handler", "step", "thread"):
                for raises in ("SystemExit", "CancelledError"):
                    assert raises in await failure(pool, handler, raises)
            bystander = attempt(pool, "waits", "")
            await bystander.seen(RunCommand)
            leaving = attempt(pool, "own_task", "")
            await leaving.done
            assert leaving.output == b'"SystemExit(7)"'
            assert pool._available == [before] and not bystander.done.done()

    asyncio.run(main())


def test_a_real_cancellation_is_no_failure() -> None:
    async def main() -> None:
        deployment = InProcessDeployment(escaping.app)
        waiting = attempt(deployment, "waits", "")
        await waiting.seen(RunCommand)
        waiting.handle.abort()
        await deployment.close()
        assert not any(isinstance(message, Error) for message in waiting.messages)

    asyncio.run(main())
