"""Deployments reached by URL, as far as nobody has to be there; the rest is conformance/test_http_deployments.py."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from tests.simulation.memory_store import MemoryStore
from tests.unit.core.play import deployment

from rewake.core.model import BY_URL
from rewake.core.settings import Settings
from rewake.core.state import State
from rewake.deployments.base import DeploymentClient
from rewake.deployments.http.client import HttpDeployment
from rewake.deployments.http.exchange import HttpOptions
from rewake.engine.http_deployments import HttpDeployments, in_use
from rewake.errors import ErrorCode, RewakeError

WORKER = deployment("dp_worker")
HTTP = msgspec.structs.replace(
    deployment("dp_url"),
    kind=BY_URL,
    uri="http://127.0.0.1:1/",
    protocol_type="request_response",
    http_version="HTTP/1.1",
    additional_headers={"x-team": "claims"},
)


class Stage:
    """Two deployments, one of them by URL at an address where nobody is."""

    def __init__(self) -> None:
        self.state = State(MemoryStore())
        self.state.deployments = {each.id: each for each in (WORKER, HTTP)}
        self.clients: dict[str, DeploymentClient] = {}
        self.committed: list[Any] = []
        self.remote = HttpDeployments(
            clients=self.clients,
            state=lambda: self.state,
            commit=self.commit,
            settings=Settings(),
            now_ms=lambda: 1,
            identity_key_file=None,
            options=HttpOptions(connect_timeout_s=1.0),
        )

    async def commit(self, command: Any) -> None:
        self.committed.append(command)


def on_stage(play: Callable[[Stage], Awaitable[Any]]) -> None:
    async def main() -> None:
        stage = Stage()
        try:
            async with asyncio.timeout(10):
                await play(stage)
        finally:
            await stage.remote.close()
            for client in stage.clients.values():
                await client.close()
        assert not stage.committed

    asyncio.run(main())


def test_what_is_stored_gets_a_client_that_connects_when_it_is_needed() -> None:
    async def play(stage: Stage) -> None:
        stage.remote.connect_stored()
        assert list(stage.clients) == [HTTP.id]
        client = stage.clients[HTTP.id]
        assert isinstance(client, HttpDeployment)
        assert (client.http_version, client.protocol_type) == ("HTTP/1.1", "request_response")
        await stage.remote.release(client)
        await stage.remote.release(None)

    on_stage(play)


def test_what_is_known_is_not_asked_again() -> None:
    async def play(stage: Stage) -> None:
        found = await stage.remote.register("http://127.0.0.1:1")
        assert (found.status, found.deployment, found.services) == ("unchanged", HTTP, [])

    on_stage(play)


def test_an_endpoint_that_fails_leaves_everything_as_it_was() -> None:
    async def play(stage: Stage) -> None:
        stage.remote.connect_stored()
        before = dict(stage.clients)
        for change in (
            stage.remote.register("http://127.0.0.1:1", force=True),
            stage.remote.update(HTTP.id, overwrite=True),
        ):
            with pytest.raises(RewakeError) as caught:
                await change
            assert caught.value.code is ErrorCode.DEPLOYMENT_UNREACHABLE
        assert stage.clients == before

    on_stage(play)


def test_what_cannot_be_changed() -> None:
    async def play(stage: Stage) -> None:
        assert await stage.remote.update("dp_nobody") is None
        for change, code in (
            (stage.remote.update(WORKER.id), ErrorCode.DEPLOYMENT_LOCAL),
            (stage.remote.register("ftp://somewhere"), ErrorCode.DEPLOYMENT_ADDRESS_INVALID),
            (stage.remote.register("http://a", additional_headers={"a b": "c"}), ErrorCode.DEPLOYMENT_HEADER_INVALID),
        ):
            with pytest.raises(RewakeError) as caught:
                await change
            assert caught.value.code is code

    on_stage(play)


@pytest.mark.parametrize(
    ("latest_of", "open_count", "reasons"),
    [
        (["B", "A"], 0, ["latest revision of A, B."]),
        ([], 1, ["1 open invocation is pinned"]),
        (["A"], 2, ["latest revision of A.", "2 open invocations are pinned"]),
    ],
)
def test_why_a_deployment_cannot_be_forgotten(latest_of: list[str], open_count: int, reasons: list[str]) -> None:
    error = in_use(HTTP, latest_of, open_count)
    assert error.code is ErrorCode.DEPLOYMENT_IN_USE
    assert all(reason in error.message for reason in reasons) and len(error.message.splitlines()) == 1 + len(reasons)
