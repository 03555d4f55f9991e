"""Handlers in TypeScript with each version of the protocol, and served in ways that are rare.

The real server negotiates only version 6 by itself, so this is Rewake alone; test_typescript_*.py have version 6.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from http_service import HTTP1_SERVERS, ServerKind, Service, typescript
from stage import DEFAULTS, VERSIONS, Stage, journal, reaches, row, run, status, until

from rewake.core.ids import awakeable_id_parse, invocation_id_from_str
from rewake.core.model import Status
from rewake.engine import Engine, EngineOptions, InvocationFailed
from rewake.protocol.messages import Success


@asynccontextmanager
async def engine_with(
    stage: Stage, server: ServerKind, version: int = 6, *, mode: str | None = None
) -> AsyncIterator[Engine]:
    """mode: how Node serves it, when not as usual with this server; see ts/app.ts."""
    (stage.path / "marks").mkdir()
    app = typescript("app.ts")
    service = Service(app, server) if mode is None else Service(app, server, HTTP_MODE=mode)
    options = EngineOptions(defaults=DEFAULTS, protocol_version_max=version)
    try:
        async with Engine(stage.data, options=options) as engine:
            engine.drive()
            await engine.register_http(service.uri, use_http_11=server in HTTP1_SERVERS)
            yield engine
    finally:
        service.kill()


def marks(stage: Stage, invocation_id: str) -> list[str]:
    file = stage.path / "marks" / invocation_id
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server", ["node", "node_http1"])
def test_every_version(stage: Stage, server: ServerKind, version: int) -> None:
    """Steps, a call, combinators over a suspension, state over a suspension, a promise, a failure, a cancellation."""

    async def main() -> None:
        async with engine_with(stage, server, version) as engine:
            sent = await engine.send("TsSteps", "route", "Ada")
            assert await engine.result(sent) == "pick, ask Ada, check"
            assert marks(stage, sent) == ["ran pick", "ran check"]
            found = row(engine, sent)
            assert found is not None and found.pinned_version == version
            assert journal(engine, sent)[1:3] == ["RUN pick", "RUN_COMPLETION"]

            names = [f"step {number}" for number in range(10)]
            assert await engine.call("TsSteps", "together", names) == names
            assert await engine.call("TsSteps", "stepGivesUp", 2) == "500 flaky does not work yet"
            with pytest.raises(InvocationFailed, match="no luck"):
                await engine.call("TsWaits", "fails", "luck")

            for handler, expected in (("race", ["gone", "late b"]), ("nested", ["1", "2"])):
                sent = await engine.send("TsWaits", handler)
                await reaches(engine, sent, Status.SUSPENDED)
                for name, value in (("go", "gone"), ("one", "1"), ("two", "2")):
                    await engine.call("TsWaits", "signal", {"to": sent, "name": name, "value": value})
                assert await engine.result(sent) == expected
            assert await engine.call("TsWaits", "anyFails") == ["418 no a", "418 no b"]

            used = await engine.call("TsLazyCounter", "use", key="k")
            assert used == await engine.call("TsCounter", "use", key="k")
            flow = await engine.send("TsFlow", "run", "claim", key="k")
            await reaches(engine, flow, Status.SUSPENDED)
            await engine.call("TsFlow", "approve", "ja", key="k")
            assert await engine.result(flow) == "claim: ja"

            sent = await engine.send("TsCancels", "catches", 1)
            await reaches(engine, sent, Status.SUSPENDED)
            await engine.cancel(invocation_id_from_str(sent))
            assert await engine.result(sent) == "caught 1"
            assert marks(stage, sent).count("ran compensation 1") == 1

    run(main())


@pytest.mark.parametrize("server", ["node", "node_http1"])
def test_version_7_says_what_to_do_about_a_changed_journal(stage: Stage, server: ServerKind) -> None:
    """Pause or fail, as the handler's options have it; before, it could only be tried again."""

    async def main() -> None:
        async with engine_with(stage, server, 7) as engine:
            paused = await engine.send("TsOptions", "changesAndPauses")
            found = await reaches(engine, paused, Status.PAUSED)
            assert found.last_error is not None and found.last_error.restate_code == "RT0016"
            assert marks(stage, paused) == ["attempt", "ran one", "attempt"]
            await engine.resume(invocation_id_from_str(paused))
            assert await engine.result(paused) == "one"
            with pytest.raises(InvocationFailed) as caught:
                await engine.call("TsOptions", "changesAndFails")
            assert caught.value.code == 570
            assert await engine.call("TsOptions", "changes") == "one"

    run(main())


@pytest.mark.parametrize(("server", "mode"), [("node", "http2_request_response"), ("node_http1", "http1_bidi")])
def test_endpoints_that_ask_for_the_unusual(stage: Stage, server: ServerKind, mode: str) -> None:
    """Requests and responses over HTTP/2, as asked for; over HTTP/1.1 too, whose request has to end first."""

    async def main() -> None:
        async with engine_with(stage, server, mode=mode) as engine:
            (deployment,) = engine.deployments.values()
            assert deployment.protocol_type == "request_response"
            assert deployment.http_version == ("HTTP/2.0" if server == "node" else "HTTP/1.1")
            assert await engine.call("TsSteps", "route", "Ada") == "pick, ask Ada, check"
            assert await engine.call("TsWaits", "mapped") == ["LATE C", "so no luck"]
            assert await engine.call("TsCounter", "use", key="k") == await engine.call("TsLazyCounter", "use", key="k")

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_completed_while_a_step_runs_is_read_after_it(stage: Stage, version: int) -> None:
    async def main() -> None:
        async with engine_with(stage, "node", version) as engine:
            sent = await engine.send("TsWaits", "awakeableLater", "gate")
            await until(lambda: marks(stage, sent))
            target, index = awakeable_id_parse(marks(stage, sent)[0].removeprefix("awakeable "))
            await engine.complete_awakeable(target, index, Success(b'"early"'))
            await asyncio.sleep(0)
            assert status(engine, sent) is Status.INVOKED
            stage.open_gate("gate")
            assert await engine.result(sent) == "early"

    run(main())
