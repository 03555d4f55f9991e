"""The types of the public names as a user's checker sees them: `make types` has mypy and pyrefly read this file.

Nothing runs it. A wrong use is marked with `type: ignore`; mypy complains when it is no longer an error.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, assert_type

import restate

from rewake import Engine, EngineOptions, InvocationFailed, RewakeError
from rewake.core.effects import ReplyStatus
from rewake.ext.kernel import Done, effect, external
from rewake.testing import Journal, NeverEnds, VirtualEngine, create_test_harness, expect_journal
from rewake.testing.models import ModelServer, Rule, rule, text
from rewake.testing.pytest_plugin import AlwaysReplay, CrashEverywhere, Replay

app = restate.app([])


async def an_engine_in_a_program(folder: Path) -> None:
    async with Engine(folder, app, options=EngineOptions(concurrency_max=10)) as engine:
        assert_type(engine, Engine)
        assert_type(await engine.call("Greeter", "greet", "Ada"), Any)
        sent = await engine.send("Greeter", "greet", "Ada", idempotency_key="once")
        assert_type(sent, str)
        assert_type(await engine.result(sent), Any)
        assert_type(await engine.cancel(sent), ReplyStatus)


async def pay(key: str) -> int:
    return len(key)


async def find(key: str) -> Done[int] | None:
    return Done(1) if key else None


async def refund(key: str, receipt: int) -> None:
    """Nothing."""


async def effects(ctx: restate.Context) -> None:
    assert_type(await effect(ctx, "pay", pay, verify=find, on_undo=refund), int)
    assert_type(await effect(ctx, "pay", pay, on_unknown="retry"), int)
    assert_type(await effect(ctx, "pay", pay, on_unknown="ask"), int | None)
    assert_type(await effect(ctx, "pay", pay), int | None)
    assert_type(await external(verify=find)(pay)("key"), int)
    assert_type(await external(on_unknown="retry")(pay)("key"), int)
    await effect(ctx, "pay", pay, on_unknown="maybe")  # type: ignore[call-overload]


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


def a_test(folder: Path) -> None:
    with VirtualEngine(folder) as engine:
        assert_type(engine.serve(app), VirtualEngine)
        assert_type(engine.call("Greeter", "greet", "Ada"), Any)
        sent = engine.send("Greeter", "greet", "Ada", delay=3.5)
        assert_type(sent, str)
        engine.advance(timedelta(days=1))
        assert_type(engine.awakeables(), list[str])
        assert_type(engine.journal(sent), Journal)
        expect_journal(engine.journal(), ["Run pick", "..."])
        assert_type(engine.state("Greeter", "Ada"), dict[str, Any])
        engine.call("Greeter")  # type: ignore[call-arg]
        engine.send("Greeter", "greet", delay="1h")  # type: ignore[arg-type]


async def an_async_test(engine: VirtualEngine) -> None:
    assert_type(await engine.aio.call("Greeter", "greet"), Any)
    async with create_test_harness(app, always_replay=True) as harness:
        assert_type(harness, restate.HarnessEnvironment)
        assert_type(harness.client, restate.RestateClient)


def as_fixtures(crash_everywhere: CrashEverywhere, always_replay: AlwaysReplay, replay: Replay) -> None:
    assert_type(crash_everywhere(app, "Greeter", "greet", "Ada", limit=3).is_right, bool)
    assert_type(always_replay(app, "Greeter", "greet", "Ada"), Any)
    assert_type(replay(app, "journals").is_right, bool)
    assert_type(str(NeverEnds("x")), str)
