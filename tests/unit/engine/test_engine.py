"""The engine as an object in one's own event loop; what its operations do is in tests/conformance."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import restate

from rewake.core import ids
from rewake.engine import Engine
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
