"""The official ingress clients, Python and TypeScript, against `rewake run`.

With --engine restate they run against the real restate-server, whose one difference its test names.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import client_app
import pytest
from cli_process import Running
from node_tour import HYPERCORN, Process, engine_under_test, free_port, make_engine, node, npm_folder, until
from restate.client import create_client
from restate.client_types import HttpError, RestateClient

pytestmark = pytest.mark.timeout(180)

IS_RESTATE = engine_under_test() == "restate"
TYPESCRIPT_CLIENT = "@restatedev/restate-sdk-clients@1.17.2"
HERE = Path(__file__).parent

Query = Callable[[str], list[dict[str, Any]]]
_Value = TypeVar("_Value")


class IngressStage:
    """An engine with the app of client_app.py."""

    def __init__(self, ingress_port: int, query: Query) -> None:
        self.url = f"http://127.0.0.1:{ingress_port}"
        self.query = query

    def use(self, work: Callable[[RestateClient], Awaitable[_Value]]) -> _Value:
        """What `work` gives with a Python client."""

        async def session() -> _Value:
            async with create_client(self.url) as client:
                return await work(client)

        return asyncio.run(session())

    def status(self, invocation_id: str) -> str:
        return str(self.query(f"select status from sys_invocation where id = '{invocation_id}'")[0]["status"])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IngressStage]:
    folder = tmp_path_factory.mktemp("clients")
    if not IS_RESTATE:
        with Running("run", HERE / "client_app.py", "--data", folder / "data", cwd=folder) as running:
            yield IngressStage(running.ingress_port, lambda sql: list(running.rows(sql)))
        return
    port = free_port()
    hypercorn = [*HYPERCORN, "--bind", f"127.0.0.1:{port}", "client_app:app"]
    app = Process(hypercorn, port, folder=HERE, log=folder / "app.log", environment={})
    engine = make_engine(folder)
    app.start()
    engine.start()
    try:
        engine.register(port)
        yield IngressStage(engine.ingress_port, engine.query)
    finally:
        engine.kill()
        app.kill()


# Python


def test_python_calls(stage: IngressStage) -> None:
    async def work(client: RestateClient) -> None:
        assert await client.service_call(client_app.greet, "Ada") == "Hello Ada"
        await client.service_call(client_app.nothing, None)
        assert await client.service_call(client_app.header, "x-tenant", headers={"x-tenant": "blue"}) == "blue"
        assert await client.service_call(client_app.reverse, b"\x00\x01") == b"\x01\x00"
        assert await client.object_call(client_app.add, "py 1", 5) == 5
        assert await client.object_call(client_app.add, "py 1", 5, idempotency_key="py-key") == 10
        assert await client.object_call(client_app.add, "py 1", 5, idempotency_key="py-key") == 10
        assert await client.object_call(client_app.value, "py 1", None) == 10
        json_header = {"content-type": "application/json"}
        assert await client.generic_call("ClientGreeter", "greet", b'"Bo"', headers=json_header) == b'"Hello Bo"'

    stage.use(work)


def test_python_failures(stage: IngressStage) -> None:
    async def work(client: RestateClient) -> list[HttpError]:
        errors = []
        for call in (
            client.service_call(client_app.refuse, "now"),
            client.generic_call("ClientGreeter", "grete", b'"Bo"'),
            client.generic_call("ClientGreeter", "greet", b'"Bo"'),
            client.scope("tenant").service_call(client_app.greet, "Ada"),
        ):
            with pytest.raises(HttpError) as caught:
                await call
            errors.append(caught.value)
        return errors

    refused, unknown, untyped, scoped = stage.use(work)
    body = json.loads(refused.body or "")
    assert (refused.status_code, body["message"], body["source"]) == (418, "not now", "invocation")
    assert unknown.status_code == 404
    assert "the handler 'grete' was not found" in (unknown.body or "")
    assert untyped.status_code == 400
    assert "input validation error: Empty content-type" in (untyped.body or "")
    assert scoped.status_code == 400
    assert "scoped invocations require vqueues to be enabled" in (scoped.body or "")


def test_python_sends(stage: IngressStage) -> None:
    async def work(client: RestateClient) -> tuple[str, str, str]:
        once = await client.service_send(client_app.greet, "Ada", idempotency_key="py-send")
        again = await client.service_send(client_app.greet, "Ada", idempotency_key="py-send")
        counted = await client.object_send(client_app.add, "py sends", 3)
        return once.invocation_id, again.invocation_id, counted.invocation_id

    once, again, counted = stage.use(work)
    assert once == again
    until(lambda: stage.status(once) == "completed" and stage.status(counted) == "completed")

    async def read(client: RestateClient) -> int:
        return await client.object_call(client_app.value, "py sends", None)

    assert stage.use(read) == 3


def test_the_python_clients_delay_has_no_unit(stage: IngressStage) -> None:
    """It sends `?delay=3600000`; the public server refuses that, we take it as the milliseconds that are meant."""

    async def work(client: RestateClient) -> str:
        sent = await client.service_send(client_app.greet, "later", send_delay=timedelta(hours=1))
        return sent.invocation_id

    if IS_RESTATE:
        with pytest.raises(HttpError) as caught:
            stage.use(work)
        assert caught.value.status_code == 400
        assert "bad delay query parameter" in (caught.value.body or "")
        return
    invocation_id = stage.use(work)
    (row,) = stage.query(
        f"select status, scheduled_start_at - created_at as delay from sys_invocation where id = '{invocation_id}'"
    )
    assert row["status"] == "scheduled"
    assert row["delay"].startswith("PT3600") or row["delay"].startswith("PT3599")


def test_python_workflows(stage: IngressStage) -> None:
    async def work(client: RestateClient) -> str:
        await client.workflow_send(client_app.run, "py 1", "Ada")
        waiting = asyncio.create_task(attach(client, "/restate/workflow/ClientSignup/py%201/attach"))
        await client.workflow_call(client_app.click, "py 1", "link")
        return await waiting

    async def attach(client: Any, path: str) -> str:
        response = await client.client.get(path, timeout=30)
        return str(response.json())

    assert stage.use(work) == "Ada link"


# TypeScript


def test_typescript(stage: IngressStage) -> None:
    folder = npm_folder(TYPESCRIPT_CLIENT)
    script = folder / "ingress_client.mjs"
    script.write_text((HERE / "ingress_client.mjs").read_text())
    done = subprocess.run(
        [str(node()), str(script), stage.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["call"] == "Hello Ada"
    assert "nothing" not in found
    assert found["header"] == "blue"
    assert found["refused"]["status"] == 418
    assert found["refused"]["body"]["message"] == "not now"
    assert found["unknown"]["status"] == 404
    assert found["bytes"] == [3, 2, 1]
    assert found["generic"] == "Hello Bo"
    assert (found["first"], found["again"], found["value"]) == (5, 5, 5)
    assert found["sent"] == {"status": "Accepted", "attachable": True, "result": "Hello later"}
    assert found["sentAgain"] == "PreviouslyAccepted"
    assert found["delayed"]["status"] == "Accepted"
    assert stage.status(found["delayed"]["id"]) == "scheduled"
    assert (found["submitted"], found["submittedAgain"]) == ("Accepted", "PreviouslyAccepted")
    assert found["early"] is False
    assert (found["attached"], found["output"]) == ("Ada link", "Ada link")
    assert found["resolve"] == "resolve: yes"
    assert found["reject"]["status"] == 500
    assert found["reject"]["body"]["message"] == "no way"
    assert found["scoped"]["status"] == 400
