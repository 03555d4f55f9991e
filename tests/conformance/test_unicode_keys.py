"""Keys of all Unicode through the ingress: each is one key, its own, on every way to the handler and back."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from raw_http import fetch
from stage import TRANSPORTS, Stage, Transport, run

from bench.unicode_keys import CHOSEN, unicode_keys
from rewake.server import Server

CALLERS = 8


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_each_key_is_its_own(stage: Stage, transport: Transport) -> None:
    keys = unicode_keys(100)

    def add(port: int, key: str, amount: int) -> Any:
        path = f"/Counter/{quote(key, safe='')}/add"
        answer = fetch(port, "POST", path, {"content-type": "application/json"}, str(amount).encode())
        assert answer.status == 200, (key, answer)
        return answer.json

    async def main() -> None:
        async with stage.engine(transport) as engine, Server(engine, ingress_port=0, admin_port=0) as server:
            with ThreadPoolExecutor(CALLERS) as callers:

                async def add_to_all(amounts: range) -> list[Any]:
                    calls = zip([server.ingress_port] * len(keys), keys, amounts, strict=True)
                    loop = asyncio.get_running_loop()
                    return await asyncio.gather(*(loop.run_in_executor(callers, add, *call) for call in calls))

                assert await add_to_all(range(len(keys))) == list(range(len(keys)))
                assert await add_to_all(range(1_000, 1_000 + len(keys))) == [1_000 + 2 * n for n in range(len(keys))]

            found = await engine.query("SELECT service_key, value_utf8 FROM state WHERE service_name = 'Counter'")
            assert dict(found.rows) == {key: str(1_000 + 2 * number) for number, key in enumerate(keys)}
            ran = await engine.query("SELECT target_service_key, COUNT(*) FROM sys_invocation GROUP BY 1")
            assert dict(ran.rows) == dict.fromkeys(keys, 2)

    run(main())


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_handler_calls_such_a_key(stage: Stage, transport: Transport) -> None:
    async def main() -> None:
        async with stage.engine(transport) as engine:
            callers = [f"caller {number}" for number in range(len(CHOSEN))]
            calls = zip(callers, CHOSEN, strict=True)
            answers = await asyncio.gather(
                *(engine.call("Counter", "call_other_key", other, key=key) for key, other in calls)
            )
            assert answers == [[1, 10, 1]] * len(CHOSEN)
            found = await engine.query("SELECT service_key, value_utf8 FROM state WHERE service_name = 'Counter'")
            assert dict(found.rows) == dict.fromkeys(callers, "1") | dict.fromkeys(CHOSEN, "10")
            targets = await engine.query("SELECT target FROM sys_invocation WHERE invoked_by = 'service'")
            assert {f"Counter/{key}/add" for key in CHOSEN} <= {target for (target,) in targets.rows}

    run(main())


def test_a_key_as_it_is_and_percent_encoded_are_one(stage: Stage) -> None:
    """Clients differ in what they leave as it is; both are the same key."""

    async def main() -> None:
        async with stage.engine() as engine, Server(engine, ingress_port=0, admin_port=0) as server:

            def add(path: str) -> Any:
                header = {"content-type": "application/json"}
                return json.loads(fetch(server.ingress_port, "POST", path, header, b"1").body)

            paths = ["/Counter/a:b@c;d/add", "/Counter/a%3Ab%40c%3Bd/add", "/Counter/a%3ab%40c%3bd/add"]
            assert [await asyncio.to_thread(add, path) for path in paths] == [1, 2, 3]

    run(main())
