"""Agents of Pydantic AI on an engine: what is journaled, and what a replay from any point of the journal runs again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import restate
from pydantic_kit import Log
from pydantic_plays import PLAYS, Handler, Play
from stage import Cut, Stage, fail_attempt

import rewake
from rewake.core.model import HandlerOptions, RetryPolicy

DEADLINE_S = 20.0
FAST = restate.InvocationRetryPolicy(timedelta(milliseconds=1), 1.0, timedelta(milliseconds=1), 200, "kill")


def app_of(handler: Handler) -> tuple[Any, list[str]]:
    """The handler on a service, and on one where every wait ends the attempt."""
    services = []
    for name, inactivity in (("Desk", None), ("Suspending", timedelta(0))):
        service = restate.Service(name, inactivity_timeout=inactivity, invocation_retry_policy=FAST)

        @service.handler(name="go")
        async def go(ctx: restate.Context) -> Any:
            return await handler(ctx)

        services.append(service)
    return restate.app(services), [service.name for service in services]


@pytest.mark.parametrize("play", PLAYS)
def test_each_body_runs_once(play: Callable[[Log], Play], tmp_path: Path) -> None:
    """Also where every wait ends the attempt: a body that has ended never runs again."""

    async def main() -> None:
        for service in ("Desk", "Suspending"):
            log = Log()
            given = play(log)
            app, _ = app_of(given.handler)
            async with rewake.Engine(tmp_path / service, app) as engine:
                assert await asyncio.wait_for(engine.call(service, "go"), DEADLINE_S) == given.expected
            assert log.finished == given.ran

    asyncio.run(main())


@pytest.mark.parametrize("play", PLAYS)
def test_an_attempt_may_end_after_any_message(play: Callable[[Log], Play], tmp_path: Path) -> None:
    """The answer is the same, and no body runs again whose result the engine had."""

    async def main() -> None:
        cut = Cut(0, fail_attempt)
        log = Log()
        given = play(log)
        app, _ = app_of(given.handler)
        defaults = HandlerOptions(retry=RetryPolicy(initial_interval_ms=1, max_interval_ms=1, max_attempts=200))
        async with Stage(tmp_path).engine(app=app, cut=cut, defaults=defaults) as engine:
            for at in range(1, 200):
                cut.arm(at)
                log.lines.clear()
                assert await asyncio.wait_for(engine.call("Desk", "go"), DEADLINE_S) == given.expected
                for name, count in log.finished.items():
                    assert given.ran[name] <= count <= given.ran[name] + 1, (at, name, log.lines)
                if not cut.happened.is_set():
                    return
        raise AssertionError("never without a cut")

    asyncio.run(main())
