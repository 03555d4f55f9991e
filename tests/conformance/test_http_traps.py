"""What makes servers in front of handlers fall silent or hang up, seen on the wire with both SDKs behind their servers.

Too many small frames, words after the last one, notifications nobody reads, a process that stands still, streams reset
and connections left by the server. Losses and limits are in test_http_deployments.py and test_http_storm.py.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from chaos_proxy import ChaosProxy
from http2_tap import LAST, Data, invocations
from http_service import Service, typescript
from stage import FAST_RETRY, Stage, run, until
from under_fire import PERSISTENT, many_under_fire

from rewake.core.ids import invocation_id_from_str
from rewake.core.model import HandlerOptions
from rewake.deployments.http.http2_state import FRAMES_PER_TURN
from rewake.engine import Engine, EngineOptions
from rewake.protocol.messages import FIRST_USER_SIGNAL, Success

QUICK = HandlerOptions(retry=FAST_RETRY, inactivity_timeout_ms=30)
PATIENT = HandlerOptions(retry=FAST_RETRY, inactivity_timeout_ms=60_000)


class Sdk(NamedTuple):
    """Handlers that do the same in either language, as (service, handler)."""

    awakeables: tuple[str, str]
    awakeable: tuple[str, str]
    echo: tuple[str, str]
    held: tuple[str, str]
    fails_first: tuple[str, str, Any]
    signal: tuple[str, str]
    name_of_signal: str


PYTHON = Sdk(
    ("Waits", "awakeables"),
    ("Waits", "awakeable"),
    ("Steps", "same"),
    ("Steps", "slow"),
    ("Steps", "second_time", "x"),
    ("Waits", "signaller"),
    "resolve",
)
TYPESCRIPT = Sdk(
    ("TsSteps", "awakeables"),
    ("TsWaits", "awakeable"),
    ("TsSteps", "echo"),
    ("TsSteps", "held"),
    ("TsSteps", "failsAtFirst", 1),
    ("TsWaits", "signal"),
    "name",
)


def service_of(sdk: Sdk, stage: Stage) -> Service:
    if sdk is PYTHON:
        return Service("durable_app:app")
    (stage.path / "marks").mkdir(exist_ok=True)
    return Service(typescript("app.ts"), "node")


@asynccontextmanager
async def engine_on(stage: Stage, *services: Service | ChaosProxy, defaults: HandlerOptions) -> AsyncIterator[Engine]:
    async with Engine(stage.data, options=EngineOptions(defaults=defaults)) as engine:
        engine.drive()
        for service in services:
            await engine.register_http(f"http://127.0.0.1:{service.port}")
        yield engine


@pytest.fixture(params=[PYTHON, TYPESCRIPT], ids=["python", "typescript"])
def sdk(request: pytest.FixtureRequest) -> Sdk:
    sdk: Sdk = request.param
    return sdk


async def begun(stage: Stage, invocation_id: str, times: int = 1) -> None:
    """Wait until its handler has left so many marks; Python's are in one file, TypeScript's in one for each."""

    def marks() -> int:
        own = stage.path / "marks" / invocation_id
        file = own if (stage.path / "marks").is_dir() else stage.path / "marks"
        return len(file.read_text().splitlines()) if file.exists() else 0

    await until(lambda: marks() >= times)


# Frames


def test_what_is_committed_at_once_is_few_frames(stage: Stage, sdk: Sdk) -> None:
    """Fifty notifications: servers built on Rust's h2 hang up on many small frames, hypercorn stops reading at ten."""
    count = 50

    async def main() -> None:
        service = service_of(sdk, stage)
        try:
            async with ChaosProxy(service.port) as proxy, engine_on(stage, proxy, defaults=PATIENT) as engine:
                sent = await engine.send(*sdk.awakeables, count)
                await begun(stage, sent)
                target = invocation_id_from_str(sent)
                completions = (
                    engine.complete_awakeable(target, FIRST_USER_SIGNAL + index, Success(b"%d" % index))
                    for index in range(count)
                )
                await asyncio.gather(*completions)
                assert await engine.result(sent) == list(range(count))
            ((_, frames),) = invocations(proxy)
            ours = [frame for frame in frames if frame.sender == "engine" and frame.body]
            assert sum(len(frame.messages) for frame in ours[1:]) == count
            commits_max = 3  # that fifty commands at once may become
            assert 2 <= len(ours) <= 1 + commits_max * FRAMES_PER_TURN
            assert_silent_after_the_last(frames)
        finally:
            service.kill()

    run(main())


def test_silence_after_the_last_message(stage: Stage, sdk: Sdk) -> None:
    """End, Suspension and Error are each answered by the end of the request and by nothing else."""

    async def main() -> None:
        service = service_of(sdk, stage)
        try:
            async with ChaosProxy(service.port) as proxy, engine_on(stage, proxy, defaults=QUICK) as engine:
                assert await engine.call(*sdk.echo, "x") == "x"
                await engine.call(*sdk.fails_first)
                sent = await engine.send(*sdk.awakeable)
                target = invocation_id_from_str(sent)
                await begun(stage, sent)
                await until(lambda: engine.stats()["attempts_running"] == 0)
                await engine.complete_awakeable(target, FIRST_USER_SIGNAL, Success(b'"late"'))
                assert "late" in await engine.result(sent)
                for late in range(5):  # the invocation is over, and nothing of this may reach its handler
                    await engine.complete_awakeable(target, FIRST_USER_SIGNAL + late, Success(b""))
            seen = invocations(proxy)
            for _, frames in seen:
                assert_silent_after_the_last(frames)
            assert {kind for _, frames in seen for frame in frames for kind in frame.messages if kind in LAST} == LAST
        finally:
            service.kill()

    run(main())


def assert_silent_after_the_last(frames: list[Data]) -> None:
    """The last message is the last, we end the request after it at the latest, and say nothing more."""
    (at,) = [index for index, frame in enumerate(frames) if LAST & set(frame.messages)]
    assert frames[at].sender == "service" and frames[at].messages[-1] in LAST
    assert not any(frame.body for frame in frames[at + 1 :])
    assert sum(frame.is_end for frame in frames if frame.sender == "engine") == 1
    assert all(frame.body or frame.is_end for frame in frames)


# Those who do not read


def test_notifications_that_a_handler_does_not_read(stage: Stage, sdk: Sdk) -> None:
    """It is in a step while sixty come, each a frame; others on its connection go on."""

    async def main() -> None:
        service = service_of(sdk, stage)
        try:
            async with engine_on(stage, service, defaults=PATIENT) as engine:
                sent = await engine.send(*sdk.held, "gate")
                await begun(stage, sent)
                for number in range(60):
                    request = {sdk.name_of_signal: f"signal {number}", "to": sent, "value": "x"}
                    await engine.call(*sdk.signal, request)
                stage.open_gate("gate")
                assert await engine.result(sent) in ("slow gate", "held after")
                assert engine.stats()["attempts_started"] == 61
        finally:
            service.kill()

    run(main())


def test_a_process_that_stands_still_holds_up_no_other(stage: Stage, sdk: Sdk) -> None:
    """Megabytes wait for it meanwhile; when it reads again all of them arrive."""
    large = "x" * 1_000_000

    async def main() -> None:
        other = TYPESCRIPT if sdk is PYTHON else PYTHON
        standing, running = service_of(sdk, stage), service_of(other, stage)
        try:
            async with engine_on(stage, standing, running, defaults=PATIENT) as engine:
                assert await engine.call(*sdk.echo, "warm") == "warm"
                standing.signal(signal.SIGSTOP)
                waiting = [await engine.send(*sdk.echo, large) for _ in range(12)]
                answers = await asyncio.gather(*(engine.call(*other.echo, number) for number in range(40)))
                assert answers == list(range(40))
                assert engine.stats()["attempts_running"] == 12
                standing.signal(signal.SIGCONT)
                results = await asyncio.gather(*(engine.result(each) for each in waiting))
                assert all(result == large for result in results)
                assert engine.stats()["attempts_started"] == 1 + 12 + 40
        finally:
            standing.kill()
            running.kill()

    run(main())


# Servers that give up


def test_streams_that_the_server_resets(stage: Stage) -> None:
    """Every fifth, in mid-run: those attempts are made again, their neighbours on the connection do not notice."""

    async def main() -> None:
        service = Service(typescript("chain.ts"), "node", RESETS_EVERY="5")
        try:
            async with engine_on(stage, defaults=PERSISTENT) as engine:
                result = await engine.register_http(service.uri)
                recorder = await many_under_fire(stage, engine, result.deployment.id, 100, "TsChain")
                assert recorder.failed_count >= 15
                assert recorder.failed_count <= len(recorder.started_ns) // 5 + 1
        finally:
            service.kill()

    run(main())


def test_a_server_that_leaves_its_connections(stage: Stage) -> None:
    """GOAWAY: what it has begun finishes there, what it has not goes elsewhere, and no step runs twice."""
    count = 150

    async def main() -> None:
        service = Service(typescript("chain.ts"), "node", LEAVES_AFTER="10")
        try:
            async with engine_on(stage, defaults=PERSISTENT) as engine:
                result = await engine.register_http(service.uri)
                await many_under_fire(stage, engine, result.deployment.id, count, "TsChain")
                steps = [line.rpartition(" ")[0] for line in stage.marks]
                assert len(steps) == len(set(steps)) == 4 * count
        finally:
            service.kill()

    run(main())
