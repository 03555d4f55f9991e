"""The engine as an object in one's own event loop; what its operations do is in tests/conformance."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import restate

from rewake.core import ids
from rewake.core.model import HandlerOptions
from rewake.engine import Engine, EngineOptions
from rewake.engine.engine import raw_id_of
from rewake.errors import ErrorCode, RewakeError

greeter = restate.Service("Greeter")
RAW = ids.InvocationId(bytes(range(24)))


@greeter.handler()
async def greet(ctx: restate.Context, name: str) -> str:
    return f"hello {name}"


APP = restate.app([greeter])


def test_an_id_is_a_text_or_its_bytes() -> None:
    assert raw_id_of(RAW) == raw_id_of(ids.invocation_id_to_str(RAW)) == RAW
    with pytest.raises(ids.InvalidId):
        raw_id_of("inv_1nonsense")


def test_an_app_in_this_process_is_called_and_found_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with Engine(tmp_path, APP) as engine:
            assert list(engine.services) == ["Greeter"]
            (first,) = engine.deployments
            sent = await engine.send("Greeter", "greet", "Ada")
            assert await engine.result(sent) == "hello Ada"
        assert not engine.is_running
        async with Engine(tmp_path, APP) as engine:
            assert list(engine.deployments) == [first]
            assert await engine.result(sent) == "hello Ada"

    asyncio.run(main())


def test_what_nobody_serves_names_what_is_near(tmp_path: Path) -> None:
    async def main() -> None:
        async with Engine(tmp_path, APP) as engine:
            for service, handler in (("Greter", "greet"), ("Greeter", "gret")):
                with pytest.raises(RewakeError, match=r"Greeter|greet"):
                    await engine.call(service, handler, "Ada")
            with pytest.raises(KeyError):
                await engine.result(ids.invocation_id_to_str(RAW))

    asyncio.run(main())


def test_an_app_that_cannot_start_leaves_the_directory_free(tmp_path: Path) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("not an app of the SDK")

    async def main() -> None:
        with pytest.raises(Exception, match=r"not an app of the SDK|discover|manifest"):
            await Engine(tmp_path, broken).start()
        async with Engine(tmp_path, APP) as engine:
            with pytest.raises(RewakeError) as caught:
                await Engine(tmp_path).start()
            assert caught.value.code is ErrorCode.STORE_LOCKED
            assert await engine.call("Greeter", "greet", "Ada") == "hello Ada"

    asyncio.run(main())


def test_a_step_may_have_a_larger_result_where_an_operator_allows_it(tmp_path: Path) -> None:
    """40 MB: it is stored, read again by the next attempt, and the engine after a restart knows its size."""
    size, runs = 40_000_000, list[int]()
    large = restate.Service("Large")

    @large.handler()
    async def draw(ctx: restate.Context) -> int:
        def drawn() -> bytes:
            runs.append(1)
            return b"x" * size

        image = await ctx.run_typed("draw", drawn, restate.RunOptions(serde=restate.serde.BytesSerde()))
        await ctx.sleep(timedelta(milliseconds=1))
        return len(image)

    options = EngineOptions(message_bytes_max=48 << 20, defaults=HandlerOptions(inactivity_timeout_ms=0))

    async def main() -> None:
        async with Engine(tmp_path, restate.app([large]), options=options) as engine:
            assert await engine.call("Large", "draw", None) == size
        assert runs == [1]
        async with Engine(tmp_path, restate.app([large]), options=options) as engine:
            found = await engine.query("select max(raw_length) as n from sys_journal")
            assert size < found.rows[0][0] < size + 100

    asyncio.run(main())


def test_a_clock_that_jumps_ahead_and_back_ends_no_wait_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ahead: what falls due within the jump is due, as on any other server, and retries and new waits go on.

    Back: what was armed by the wrong clock ends after its own time, not an hour later. What is kept for a day stays.
    """
    hour_ns, real, ahead_ns = 3_600 * 10**9, time.time_ns, [0]
    monkeypatch.setattr(time, "time_ns", lambda: real() + ahead_ns[0])
    policy = restate.InvocationRetryPolicy(initial_interval=timedelta(milliseconds=300))
    waits = restate.Service("Waits", invocation_retry_policy=policy)
    tries: list[str] = []

    @waits.handler()
    async def nap(ctx: restate.Context, minutes: float) -> str:
        await ctx.sleep(timedelta(minutes=minutes))
        return f"slept {minutes}"

    @waits.handler()
    async def flaky(ctx: restate.Context, name: str) -> str:
        tries.append(name)
        if tries.count(name) == 1:
            raise RuntimeError("first")
        return name

    async def main() -> None:
        async with Engine(tmp_path, restate.app([waits])) as engine:
            await engine.call("Waits", "flaky", "before")
            (kept,) = (await engine.query("select id from sys_invocation")).rows
            in_the_jump, beyond_it = [await engine.send("Waits", "nap", minutes) for minutes in (30, 90)]
            ahead_ns[0] = hour_ns
            assert await engine.call("Waits", "flaky", "ahead") == "ahead"
            assert await engine.result(in_the_jump) == "slept 30"
            armed_ahead = await engine.send("Waits", "nap", 0.005)
            retried = await engine.send("Waits", "flaky", "over the jump")
            while "over the jump" not in tries:
                await asyncio.sleep(0.01)
            ahead_ns[0] = 0
            assert await engine.result(armed_ahead) == "slept 0.005"
            assert await engine.result(retried) == "over the jump"
            rows = (await engine.query("select id, status from sys_invocation")).rows
            assert kept[0] in {row[0] for row in rows}
            assert [row[0] for row in rows if row[1] != "completed"] == [beyond_it]

    asyncio.run(asyncio.wait_for(main(), 20))
