"""Every transport with the official SDK: the same attempts in process, in workers, over HTTP/2 and over HTTP/1.1.

HTTP/1.1 is left out where an attempt has to hear something after it has begun. What only a process can do (die, block,
be replaced) is in test_workers.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import apps
import pytest
from http_service import ServerKind, Services
from stub_engine import StubAttempt, attempt_start, frames

from rewake.deployments.base import DeploymentClient
from rewake.deployments.http.address import parse_address
from rewake.deployments.http.client import HttpDeployment, HttpVersion
from rewake.deployments.in_process import InProcessDeployment
from rewake.deployments.worker import LoopKind, WorkerOptions
from rewake.deployments.worker_pool import WorkerPool
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.messages import (
    Completion,
    End,
    Error,
    MessageType,
    ProposeRunCompletion,
    SleepCommand,
    Suspension,
    Void,
)

APPS = Path(apps.__file__)

Scenario = Callable[[DeploymentClient], Awaitable[None]]
With = Callable[[str, Scenario], None]


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    running = Services()
    yield running
    running.close()


DUPLEX = ("in_process", "worker", "http2")


@pytest.fixture(params=(*DUPLEX, "worker_on_asyncio"))
def with_deployment(request: pytest.FixtureRequest, services: Services) -> With:
    """Runs a scenario against the named app of apps.py, over one transport that is full duplex."""
    return scenarios_over(request.param, services)


@pytest.fixture(params=(*DUPLEX, "http1"))
def with_any_deployment(request: pytest.FixtureRequest, services: Services) -> With:
    """The same over any transport. Which event loop a worker has does not matter to an answer that comes at once."""
    return scenarios_over(request.param, services)


def scenarios_over(transport: str, services: Services) -> With:
    async def run(attribute: str, scenario: Scenario) -> None:
        deployment: DeploymentClient
        if transport == "in_process":
            deployment = InProcessDeployment(getattr(apps, attribute))
        elif transport.startswith("http"):
            server: ServerKind = "hypercorn" if transport == "http2" else "uvicorn"
            version: HttpVersion = "HTTP/2.0" if transport == "http2" else "HTTP/1.1"
            address = parse_address(services.get(f"apps:{attribute}", server).uri)
            deployment = HttpDeployment(address, http_version=version)
            await deployment.discover()
        else:
            loop: LoopKind = "asyncio" if transport.endswith("asyncio") else "auto"
            pool = WorkerPool(WorkerOptions(app_ref=f"{APPS}:{attribute}", loop=loop))
            await pool.start()
            deployment = pool
        try:
            await asyncio.wait_for(scenario(deployment), 20)
        finally:
            await deployment.close()

    return lambda attribute, scenario: asyncio.run(run(attribute, scenario))


@pytest.mark.parametrize("version", [5, 6, 7])
def test_steps_run_to_their_end(with_deployment: With, version: int) -> None:
    """Every protocol version; V7 takes the completion of a run as well as an ack."""

    async def scenario(deployment: DeploymentClient) -> None:
        attempt = StubAttempt(deployment, attempt_start("Steps/two", b"40", version=version))
        await attempt.done
        assert attempt.output == b"42"
        assert attempt.is_closed and attempt.failure is None
        assert isinstance(attempt.messages[-1], End)

    with_deployment("app", scenario)


def test_discovery(with_deployment: With) -> None:
    async def scenario(deployment: DeploymentClient) -> None:
        found = await deployment.discover()
        assert found.manifest_version == 5
        assert b'"Steps"' in found.body and b"BIDI_STREAM" in found.body
        assert found.server is not None and found.server.startswith("restate-sdk-python/")
        assert deployment.protocol_type == "bidi"

    with_deployment("app", scenario)


def test_many_at_once(with_deployment: With) -> None:
    async def scenario(deployment: DeploymentClient) -> None:
        attempts = [StubAttempt(deployment, attempt_start("Steps/two", b"%d" % n)) for n in range(200)]
        await asyncio.gather(*(attempt.done for attempt in attempts))
        assert [attempt.output for attempt in attempts] == [b"%d" % (n + 2) for n in range(200)]

    with_deployment("app", scenario)


def test_large_payloads_both_ways(with_any_deployment: With) -> None:
    async def scenario(deployment: DeploymentClient) -> None:
        body = b'"' + b"x" * 3_000_000 + b'"'
        attempt = StubAttempt(deployment, attempt_start("Steps/echo", body))
        await attempt.done
        assert attempt.output == body

    with_any_deployment("app", scenario)


def test_a_handler_that_raises_ends_with_an_error_message(with_any_deployment: With) -> None:
    async def scenario(deployment: DeploymentClient) -> None:
        attempt = StubAttempt(deployment, attempt_start("Steps/fail"))
        await attempt.done
        assert attempt.is_closed
        assert isinstance(attempt.messages[-1], Error)
        assert "not today" in attempt.messages[-1].message

    with_any_deployment("app", scenario)


def test_half_close_suspends(with_any_deployment: With) -> None:
    async def scenario(deployment: DeploymentClient) -> None:
        attempt = StubAttempt(deployment, attempt_start("Steps/wait"))
        attempt.handle.half_close()
        attempt.handle.half_close()
        await attempt.done
        assert attempt.is_closed
        assert isinstance(attempt.messages[-1], Suspension)

    with_any_deployment("app", scenario)


def test_notifications_reach_a_waiting_handler(with_deployment: With) -> None:
    async def scenario(deployment: DeploymentClient) -> None:
        attempt = StubAttempt(deployment, attempt_start("Steps/wait"))
        await attempt.seen(SleepCommand)
        attempt.handle.send(frames(Completion(MessageType.SLEEP_COMPLETION, 1, Void())))
        await attempt.done
        assert attempt.output == b""
        attempt.handle.send(b"ignored")
        attempt.handle.half_close()
        attempt.handle.abort()

    with_deployment("app", scenario)


def test_abort_is_silent_and_reaches_the_handler(with_deployment: With) -> None:
    async def scenario(deployment: DeploymentClient) -> None:
        attempt = StubAttempt(deployment, attempt_start("Steps/hang"))
        await attempt.seen(ProposeRunCompletion)
        attempt.handle.abort()
        attempt.handle.abort()
        attempt.handle.send(b"ignored")
        attempt.handle.half_close()
        after = StubAttempt(deployment, attempt_start("Steps/two"))
        await after.done
        assert after.output == b"3"
        assert not attempt.done.done()

    apps.seen.clear()
    with_deployment("app", scenario)


def test_abort_before_the_handler_ran(with_deployment: With) -> None:
    async def scenario(deployment: DeploymentClient) -> None:
        attempt = StubAttempt(deployment, attempt_start("Steps/two"))
        attempt.handle.abort()
        after = StubAttempt(deployment, attempt_start("Steps/two"))
        await after.done
        assert after.output == b"3"
        assert attempt.messages == [] and not attempt.done.done()

    with_deployment("app", scenario)


@pytest.mark.parametrize("target", ["Nobody/two", "Steps/nothing"])
def test_unknown_handler_is_rt0012(with_any_deployment: With, target: str) -> None:
    async def scenario(deployment: DeploymentClient) -> None:
        attempt = StubAttempt(deployment, attempt_start(target))
        await attempt.done
        assert attempt.failure is not None
        assert attempt.failure.code == "RT0012"
        assert attempt.failure.message == (
            f"The deployment answered 404 to {target}: it does not serve this service or handler."
        )

    with_any_deployment("app", scenario)


@pytest.mark.parametrize(
    ("target", "code", "status", "text", "retry_after_ms"),
    [
        ("status/429", "RT0023", 429, "it is busy", 7000),
        ("status/503", "RT0023", 503, "not available", None),
        ("status/415", "RT0015", 415, "protocol version", None),
        ("status/413", "RT0019", 413, "larger", None),
        ("status/502", "RT0010", 502, "could not reach it", None),
        ("status/500", "RT0012", 500, "could not take the request", None),
        ("raises/x", "RT0012", 500, "could not take the request", None),
        ("other_type/x", "RT0012", 500, "'text/html' instead of 'application/vnd.restate.invocation.v6'", None),
        ("nothing/x", "RT0007", 500, "without End, Suspension or Error", None),
        ("cut_off/x", "RT0007", 500, "without End, Suspension or Error", None),
        ("unknown_type/x", "RT0012", 500, "0x0399", None),
        ("not_from_sdk/x", "RT0012", 500, "must not send a message of type 0x0000", None),
        ("bad_payload/x", "RT0012", 500, "", None),
        ("oversize/x", "RT0003", 500, "", None),
    ],
)
def test_answers_that_fail_an_attempt(
    with_any_deployment: With, target: str, code: str, status: int, text: str, retry_after_ms: int | None
) -> None:
    async def scenario(deployment: DeploymentClient) -> None:
        attempt = StubAttempt(deployment, attempt_start(target))
        await attempt.done
        failure = attempt.failure
        assert failure is not None and attempt.messages == []
        assert (failure.code, failure.status, failure.retry_after_ms) == (code, status, retry_after_ms)
        assert text in failure.message

    with_any_deployment("protocol_breaker", scenario)


def test_close_ends_open_attempts_silently(with_deployment: With) -> None:
    async def scenario(deployment: DeploymentClient) -> None:
        attempt = StubAttempt(deployment, attempt_start("Steps/hang"))
        await attempt.seen(ProposeRunCompletion)
        await deployment.close()
        await deployment.close()
        assert not attempt.done.done()

    with_deployment("app", scenario)


def test_an_app_that_is_no_endpoint() -> None:
    async def main() -> None:
        with pytest.raises(RewakeError) as caught:
            await InProcessDeployment(apps.no_endpoint).discover()
        assert caught.value.code is ErrorCode.DISCOVERY_REFUSED
        pool = WorkerPool(WorkerOptions(app_ref=f"{APPS}:no_endpoint"))
        with pytest.raises(RewakeError, match="answered 404 to discovery") as caught:
            await pool.start()
        assert caught.value.code is ErrorCode.DISCOVERY_REFUSED
        await pool.close()

    asyncio.run(main())
