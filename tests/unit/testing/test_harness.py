"""The stand-in for the SDK's harness: its call form, its clients, its switches."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType

import httpx
import pytest
import restate
from tests.unit.testing import clerk

from rewake.testing import create_test_harness
from rewake.testing.harness import SDK_MODULE, older_harness, replace_harness

APP = restate.app([clerk.clerk, clerk.ledger])


def test_a_client_calls_the_app() -> None:
    async def main() -> None:
        async with create_test_harness(APP, always_replay=True, skips_time=True) as harness:
            assert await harness.client.object_call(clerk.add, key="k", arg=2) == 2
            assert await harness.client.object_call(clerk.add, key="k", arg=3) == 5
            sent = await harness.client.service_send(clerk.wait, arg=None)
            assert sent.invocation_id.startswith("inv_")
            async with httpx.AsyncClient(base_url=harness.admin_api_url) as admin:
                services = (await admin.get("/services")).json()["services"]
            assert [each["name"] for each in services] == ["Clerk", "Ledger"]

    asyncio.run(main())


def test_without_retries_the_first_failure_is_the_last() -> None:
    service = restate.Service("Flaky")

    @service.handler()
    async def fail(ctx: restate.Context) -> None:
        raise ValueError("once")

    with (
        older_harness(restate.app([service]), disable_retries=True) as harness,
        harness.ingress_client() as client,
    ):
        answer = client.post("/Flaky/fail")
    assert (answer.status_code, "once" in answer.text) == (500, True)


def test_it_takes_the_place_of_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("create_test_harness", "test_harness"):
        monkeypatch.setattr(restate, name, getattr(restate, name))
    monkeypatch.setitem(sys.modules, SDK_MODULE, ModuleType(SDK_MODULE))
    replace_harness()
    from restate.harness import create_test_harness as imported

    assert restate.create_test_harness is create_test_harness
    assert imported is create_test_harness
