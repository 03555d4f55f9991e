"""The types of the public names as a user's checker sees them: `make types` has mypy and pyrefly read this file.

Nothing runs it. A wrong use is marked with `type: ignore`; mypy complains when it is no longer an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import restate

from rewake import Engine, EngineOptions, InvocationFailed, RewakeError
from rewake.core.effects import ReplyStatus
from rewake.testing.models import ModelServer, Rule, rule, text

app = restate.app([])


async def an_engine_in_a_program(folder: Path) -> None:
    async with Engine(folder, app, options=EngineOptions(concurrency_max=10)) as engine:
        assert_type(engine, Engine)
        assert_type(await engine.call("Greeter", "greet", "Ada"), Any)
        sent = await engine.send("Greeter", "greet", "Ada", idempotency_key="once")
        assert_type(sent, str)
        assert_type(await engine.result(sent), Any)
        assert_type(await engine.cancel(sent), ReplyStatus)


def failures(failed: InvocationFailed, error: RewakeError) -> None:
    assert_type(failed.code, int)
    assert_type(failed.message, str)
    assert_type(failed.metadata, dict[str, str])
    assert_type(error.message, str)


async def wrong_uses(engine: Engine) -> None:
    await engine.call("Greeter")  # type: ignore[call-arg]
    await engine.result(b"inv_1")  # type: ignore[arg-type]
    EngineOptions(concurrency_max="ten")  # type: ignore[arg-type]
    Engine()  # type: ignore[call-arg]


async def scripted_models() -> None:
    say_hello = rule(says="greet", answer=text("Hello"))
    assert_type(say_hello, Rule)
    async with ModelServer([say_hello]) as models:
        assert_type(models, ModelServer)
        assert_type(models.url, str)
