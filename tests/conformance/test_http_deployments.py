"""Deployments reached by URL, with the official SDK behind real HTTP servers: attempts, losses, registration, signing.

The rules of single attempts over HTTP/2 are in test_transports.py, as for every full-duplex transport.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from chaos_proxy import ChaosProxy
from http_apps import STEP_COUNT
from http_service import HTTP1_SERVERS, ServerKind, Service, Services, typescript
from stage import FAST_RETRY, Stage, reaches, run, until
from under_fire import PERSISTENT, many_under_fire, register_patiently

from rewake.core import ids
from rewake.core.model import HandlerOptions, Status
from rewake.deployments.http.exchange import HttpOptions
from rewake.deployments.http.identity import load_key, new_key
from rewake.engine import Engine, EngineOptions
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.messages import Success

FIRST_AWAKEABLE = 17


@pytest.fixture
def services(stage: Stage) -> Iterator[Services]:
    """Services that know where this test's marks go."""
    running = Services()
    yield running
    running.close()


@asynccontextmanager
async def engine_on(stage: Stage, **options: Any) -> AsyncIterator[Engine]:
    """An engine without an app of its own."""
    options.setdefault("defaults", PERSISTENT)
    async with Engine(stage.data, options=EngineOptions(**options)) as engine:
        engine.drive()
        yield engine


# Attempts


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn"])
def test_steps_and_calls_run_to_their_end(stage: Stage, services: Services, server: ServerKind) -> None:
    """Full duplex in one attempt, request and response in one for every step."""

    async def main() -> None:
        async with engine_on(stage) as engine:
            is_http1 = server == "uvicorn"
            uri = services.get("http_apps:app", server).uri
            result = await engine.register_http(uri, use_http_11=is_http1)
            assert result.status == "created"
            assert result.deployment.protocol_type == ("request_response" if is_http1 else "bidi")
            assert result.deployment.http_version == ("HTTP/1.1" if is_http1 else "HTTP/2.0")
            assert await engine.call("Chain", "steps", 10) == 10 + STEP_COUNT
            assert await engine.call("Chain", "long_sleep", 20) == "woken"

    run(main())


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn"])
def test_large_payloads_and_long_replays(stage: Stage, services: Services, server: ServerKind) -> None:
    """10 MB each way, and a journal of 10 MB replayed after a suspension, beside small calls on the same connection."""

    async def main() -> None:
        async with engine_on(stage, defaults=HandlerOptions(inactivity_timeout_ms=50)) as engine:
            await engine.register_http(services.get("http_apps:app", server).uri, use_http_11=server == "uvicorn")
            large = "x" * 10_000_000
            answers = await asyncio.gather(
                engine.call("Chain", "echo", large),
                *(engine.call("Chain", "steps", number) for number in range(20)),
                engine.call("Chain", "tenfold", "y" * 1_000_000),
            )
            is_whole = answers[0] == large
            assert is_whole
            assert answers[1:-1] == [number + STEP_COUNT for number in range(20)]
            assert answers[-1] == 10_000_000

    run(main())


def test_more_attempts_than_streams(stage: Stage, services: Services) -> None:
    """hypercorn allows 100 streams a connection; attempts beyond that get connections of their own, or wait."""

    async def main() -> None:
        async with engine_on(stage, http=HttpOptions(connections_max=2)) as engine:
            await engine.register_http(services.get("http_apps:app").uri)
            answers = await asyncio.gather(*(engine.call("Chain", "long_sleep", 30) for _ in range(450)))
            assert answers == ["woken"] * 450

    run(main())


def test_connections_are_replaced_before_hypercorn_gives_them_up(stage: Stage, services: Services) -> None:
    """It ends a connection after 1,000 requests and with it whatever runs there; nothing may be lost to that."""

    async def main() -> None:
        async with engine_on(stage) as engine:
            await engine.register_http(services.get("http_apps:app").uri)
            slots = asyncio.Semaphore(50)

            async def one(number: int) -> str:
                async with slots:
                    return await engine.send("Chain", "same", number)

            sent = await asyncio.gather(*(one(number) for number in range(1_200)))
            results = await asyncio.gather(*(engine.result(each) for each in sent))
            assert results == list(range(1_200))
            failed = await engine.query("SELECT COUNT(*) AS n FROM sys_journal_events")
            assert failed.rows[0][0] == 0

    run(main())


def test_headers_of_the_deployment_reach_the_handler(stage: Stage, services: Services) -> None:
    async def main() -> None:
        async with engine_on(stage) as engine:
            service = services.get("http_apps:app")
            await engine.register_http(service.uri, additional_headers={"X-Team": "claims"})
            assert await engine.call("Chain", "headers", "x-team") == "claims"

    run(main())


# Losses


@pytest.mark.parametrize(
    ("server", "count", "life_bytes"),
    [("hypercorn", 200, 110_000), ("uvicorn", 100, 20_000), ("node_http1", 100, 20_000)],
)
def test_connections_cut_at_random(
    stage: Stage, services: Services, server: ServerKind, count: int, life_bytes: int
) -> None:
    """With the usual limits of connections; and over HTTP/1.1, where a cut mostly costs a new request, no attempt.

    test_http_storm.py has TypeScript over HTTP/2.
    """

    async def main() -> None:
        is_typescript = server.startswith("node")
        service = services.get(typescript("chain.ts") if is_typescript else "http_apps:app", server)
        async with ChaosProxy(service.port, seed=1, life_bytes=life_bytes) as proxy, engine_on(stage) as engine:
            uri = f"http://127.0.0.1:{proxy.port}"
            result = await register_patiently(engine, uri, use_http_11=server in HTTP1_SERVERS)
            recorder = await many_under_fire(stage, engine, result, count, "TsChain" if is_typescript else "Chain")
            assert proxy.cut_count > 1 and (server in HTTP1_SERVERS or recorder.failed_count >= proxy.cut_count)

    run(main())


def test_a_service_killed_in_mid_run_goes_on_when_it_is_back(stage: Stage) -> None:
    async def main() -> None:
        service = Service("http_apps:app")
        try:
            async with engine_on(stage) as engine:
                await engine.register_http(service.uri)
                sent = [await engine.send("Chain", "held", f"n{index}") for index in range(20)]
                await until(lambda: sum(line.startswith("waiting") for line in stage.marks) == 20)
                service.kill()
                await until(lambda: engine.stats()["attempts_started"] >= 40)
                service.start()
                for each in sent:
                    await _signal(engine, each, "home")
                results = await asyncio.gather(*(engine.result(each) for each in sent))
                assert results == [f"n{index} home" for index in range(20)]
                assert sum(line.startswith("begun") for line in stage.marks) == 20
        finally:
            service.kill()

    run(main())


def test_a_half_open_connection_is_found_out(stage: Stage, services: Services) -> None:
    """Nothing comes and nothing ends: only an unanswered PING tells."""

    async def main() -> None:
        service = services.get("http_apps:app")
        options = HttpOptions(ping_interval_s=0.1, ping_timeout_s=0.1)
        async with ChaosProxy(service.port) as proxy, engine_on(stage, http=options) as engine:
            result = await engine.register_http(f"http://127.0.0.1:{proxy.port}")
            sent = await engine.send("Chain", "held", "a")
            await until(lambda: any(line.startswith("waiting") for line in stage.marks))
            proxy.hang()
            async with ChaosProxy(service.port) as another:
                await asyncio.sleep(0)
                with pytest.raises(RewakeError):  # It is asked in any case, and does not answer.
                    await asyncio.wait_for(engine.update_deployment(result.deployment.id, additional_headers={}), 5)
                await engine.update_deployment(result.deployment.id, uri=f"http://127.0.0.1:{another.port}")
                await until(lambda: sum(line.startswith("waiting") for line in stage.marks) >= 2)
                await _signal(engine, sent, "found")
                assert await engine.result(sent) == "a found"

    run(main())


def test_a_stopped_engine_goes_on_with_its_deployments(stage: Stage, services: Services) -> None:
    async def main() -> None:
        uri = services.get("http_apps:app").uri
        async with engine_on(stage) as engine:
            await engine.register_http(uri, additional_headers={"x-team": "claims"})
            sent = await engine.send("Chain", "held", "a")
            await until(lambda: any(line.startswith("waiting") for line in stage.marks))
        async with engine_on(stage) as engine:
            assert await engine.call("Chain", "headers", "x-team") == "claims"
            await _signal(engine, sent, "again")
            assert await engine.result(sent) == "a again"

    run(main())


async def _signal(engine: Engine, invocation_id: str, text: str) -> None:
    """Resolve the only awakeable of the invocation."""
    result = Success(b'"' + text.encode() + b'"')
    await engine.complete_awakeable(ids.invocation_id_from_str(invocation_id), FIRST_AWAKEABLE, result)


# The life of a deployment


def test_the_same_address_is_registered_once(stage: Stage, services: Services) -> None:
    async def main() -> None:
        async with engine_on(stage) as engine:
            service = services.get("http_apps:app")
            first = await engine.register_http(service.uri, metadata={"team": "claims"})
            service.kill()  # It is not even asked.
            again = await engine.register_http(service.uri + "/", metadata={"team": "others"})
            assert (again.status, again.deployment) == ("unchanged", first.deployment)
            assert first.deployment.uri == service.uri + "/"
            assert first.deployment.metadata == {"team": "claims"}

    run(main())


def test_force_keeps_the_id_and_makes_new_revisions(stage: Stage, services: Services) -> None:
    async def main() -> None:
        async with engine_on(stage) as engine:
            uri = services.get("http_apps:app").uri
            first = await engine.register_http(uri)
            dry = await engine.register_http(uri, force=True, dry_run=True)
            assert dry.status == "overwritten" and dict(dry.deployment.services) == {"Chain": 2}
            assert engine.deployments[first.deployment.id] == first.deployment
            forced = await engine.register_http(uri, force=True)
            assert forced.status == "overwritten"
            assert forced.deployment.id == first.deployment.id
            assert [service.revision for service in forced.services] == [2]
            assert await engine.call("Chain", "same", 1) == 1

    run(main())


def test_a_dry_run_stores_nothing(stage: Stage, services: Services) -> None:
    async def main() -> None:
        async with engine_on(stage) as engine:
            result = await engine.register_http(services.get("http_apps:app").uri, dry_run=True)
            assert result.status == "created" and [each.name for each in result.services] == ["Chain"]
            assert not engine.deployments and not engine.services and not engine.clients

    run(main())


def test_running_invocations_stay_and_new_ones_go_to_the_newest(stage: Stage, services: Services) -> None:
    async def main() -> None:
        async with engine_on(stage) as engine:
            first = await engine.register_http(services.get("http_apps:app").uri)
            sent = await engine.send("Chain", "held", "a")
            await until(lambda: any(line.startswith("waiting") for line in stage.marks))
            second = await engine.register_http(services.get("http_apps:second_app").uri)
            assert second.status == "created" and [each.revision for each in second.services] == [2]
            assert await engine.call("Chain", "held", "b") == "second b"
            with pytest.raises(RewakeError) as caught:
                await engine.remove_deployment(first.deployment.id, force=False)
            assert caught.value.code is ErrorCode.DEPLOYMENT_IN_USE
            assert "1 open invocation is pinned to it" in caught.value.message
            await _signal(engine, sent, "old")
            assert await engine.result(sent) == "a old"
            assert await engine.remove_deployment(first.deployment.id, force=False)
            assert list(engine.deployments) == [second.deployment.id]
            with pytest.raises(RewakeError, match="latest revision of Chain"):
                await engine.remove_deployment(second.deployment.id, force=False)

    run(main())


def test_a_removed_deployment_stops_what_is_pinned_to_it(stage: Stage, services: Services) -> None:
    """What runs may finish there; its next attempt cannot, until it is moved."""

    async def main() -> None:
        async with engine_on(stage, defaults=HandlerOptions(retry=FAST_RETRY, inactivity_timeout_ms=20)) as engine:
            first = await engine.register_http(services.get("http_apps:app").uri)
            sent = await engine.send("Chain", "held", "a")
            await reaches(engine, sent, Status.SUSPENDED)
            assert await engine.remove_deployment(first.deployment.id, force=True)
            assert not await engine.remove_deployment(first.deployment.id)
            with pytest.raises(RewakeError):
                await engine.call("Chain", "same", 1)
            await _signal(engine, sent, "moved")
            paused = await reaches(engine, sent, Status.PAUSED)
            assert paused.last_error is not None and paused.last_error.restate_code == "RT0011"
            again = await engine.register_http(services.get("http_apps:app").uri)
            await engine.resume(ids.invocation_id_from_str(sent), again.deployment.id)
            assert await engine.result(sent) == "a moved"

    run(main())


def test_a_removed_local_deployment_cuts_off_what_runs_there(stage: Stage) -> None:
    """It ends with its client, so nothing may be left waiting for an answer of it."""
    import http_apps

    async def main() -> None:
        options = EngineOptions(defaults=HandlerOptions(retry=FAST_RETRY))
        async with Engine(stage.data, http_apps.app, options=options) as engine:
            sent = await engine.send("Chain", "held", "a")
            await until(lambda: any(line.startswith("waiting") for line in stage.marks))
            (deployment_id,) = engine.deployments
            assert await engine.remove_deployment(deployment_id)
            paused = await reaches(engine, sent, Status.PAUSED)
            assert paused.last_error is not None and paused.last_error.restate_code == "RT0011"

    run(main())


def test_an_address_that_moves(stage: Stage, services: Services) -> None:
    async def main() -> None:
        old = Service("http_apps:app")
        async with engine_on(stage) as engine:
            first = await engine.register_http(old.uri, additional_headers={"x-team": "claims"})
            sent = await engine.send("Chain", "held", "a")
            await until(lambda: any(line.startswith("waiting") for line in stage.marks))
            new = services.get("http_apps:app")
            moved = await engine.update_deployment(first.deployment.id, uri=new.uri)
            assert moved is not None and moved.deployment.id == first.deployment.id
            assert moved.deployment.services == {"Chain": 1}
            old.kill()
            await _signal(engine, sent, "there")
            assert await engine.result(sent) == "a there"
            assert await engine.call("Chain", "headers", "x-team") == "claims"
            await engine.update_deployment(first.deployment.id, additional_headers={})
            assert await engine.call("Chain", "headers", "x-team") is None
            other = services.get("http_apps:second_app")
            kept = await engine.update_deployment(first.deployment.id, uri=other.uri)
            assert kept is not None and "steps" in kept.services[0].handlers
            taken = await engine.update_deployment(first.deployment.id, uri=other.uri, overwrite=True)
            assert taken is not None and list(taken.services[0].handlers) == ["held"]
            assert taken.deployment.services == {"Chain": 1}
            assert await engine.update_deployment("dp_unknown") is None

    run(main())


# Refusals: one clear error each, and nothing half-registered


async def _refused(engine: Engine, uri: str, **options: Any) -> RewakeError:
    before = dict(engine.deployments), dict(engine.services), dict(engine.clients)
    with pytest.raises(RewakeError) as caught:
        await engine.register_http(uri, **options)
    assert (dict(engine.deployments), dict(engine.services), dict(engine.clients)) == before
    return caught.value


@pytest.mark.parametrize(
    ("kind", "code", "text"),
    [
        ("status404", ErrorCode.DISCOVERY_REFUSED, "answered 404 to discovery (META0003).\nnothing here"),
        ("status503", ErrorCode.DISCOVERY_REFUSED, "answered 503"),
        ("html", ErrorCode.DISCOVERY_INVALID, "'text/html'"),
        ("garbage", ErrorCode.DISCOVERY_INVALID, "no endpoint manifest"),
        ("no_services", ErrorCode.DISCOVERY_INVALID, "missing required field"),
        ("version3", ErrorCode.PROTOCOL_VERSION_UNSUPPORTED, "1 to 3"),
    ],
)
@pytest.mark.parametrize("server", ["hypercorn", "uvicorn"])
def test_what_is_no_endpoint(
    stage: Stage, server: ServerKind, impostors: Services, kind: str, code: ErrorCode, text: str
) -> None:
    async def main() -> None:
        uri = impostors.get("http_apps:impostor", server).uri
        async with engine_on(stage) as engine:
            error = await _refused(engine, f"{uri}/{kind}", use_http_11=server == "uvicorn")
            assert error.code is code
            assert text in error.message
            assert f"{uri}/{kind}/" in error.message

    run(main())


@pytest.fixture(scope="module")
def impostors() -> Iterator[Services]:
    running = Services()
    yield running
    running.close()


def test_nobody_listens(stage: Stage, unused_port: int) -> None:
    async def main() -> None:
        async with engine_on(stage) as engine:
            error = await _refused(engine, f"http://127.0.0.1:{unused_port}")
            assert error.code is ErrorCode.DEPLOYMENT_UNREACHABLE
            assert error.message.endswith(f"the deployment at 'http://127.0.0.1:{unused_port}/': Connection refused.")

    run(main())


@pytest.fixture
def unused_port() -> int:
    from http_service import free_port

    return free_port()


def test_a_server_without_http2(stage: Stage, services: Services) -> None:
    async def main() -> None:
        async with engine_on(stage) as engine:
            error = await _refused(engine, services.get("http_apps:app", "uvicorn").uri)
            assert error.code is ErrorCode.DEPLOYMENT_NOT_HTTP2
            assert "answered in HTTP/1.1" in error.message

    run(main())


@pytest.mark.parametrize("use_http_11", [False, True])
def test_a_server_that_speaks_no_http(stage: Stage, use_http_11: bool) -> None:
    async def main() -> None:
        def shout(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP ready\r\n" * 20)
            writer.close()

        server = await asyncio.start_server(shout, "127.0.0.1", 0)
        async with server, engine_on(stage) as engine:
            port = server.sockets[0].getsockname()[1]
            error = await _refused(engine, f"http://127.0.0.1:{port}", use_http_11=use_http_11)
            assert error.code is ErrorCode.DEPLOYMENT_UNREACHABLE

    run(main())


def test_a_service_that_would_change_its_type(stage: Stage, services: Services) -> None:
    async def main() -> None:
        async with engine_on(stage) as engine:
            await engine.register_http(services.get("http_apps:app").uri)
            uri = services.get("http_apps:object_app").uri
            error = await _refused(engine, uri)
            assert error.code is ErrorCode.SERVICE_TYPE_CHANGED
            assert "registered as SERVICE and would become VIRTUAL_OBJECT" in error.message
            assert (await engine.register_http(uri, breaking=True)).status == "created"
            assert await engine.call("Chain", "steps", 5, key="k") == 5

    run(main())


def test_a_reserved_name(stage: Stage, services: Services) -> None:
    async def main() -> None:
        async with engine_on(stage) as engine:
            error = await _refused(engine, services.get("http_apps:reserved_app").uri)
            assert error.code is ErrorCode.SERVICE_NAME_RESERVED

    run(main())


@pytest.mark.parametrize("uri", ["localhost:9080", "ftp://host", "http://", "http://host:0", "http://u:p@host"])
def test_addresses_that_are_none(stage: Stage, uri: str) -> None:
    async def main() -> None:
        async with engine_on(stage) as engine:
            error = await _refused(engine, uri)
            assert error.code is ErrorCode.DEPLOYMENT_ADDRESS_INVALID

    run(main())


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, and its key beside it."""
    folder = tmp_path_factory.mktemp("tls")
    certificate = folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is missing: it makes the certificate")
    return certificate


def test_over_tls_the_server_chooses_the_version(
    stage: Stage, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP/2 with hypercorn, HTTP/1.1 with uvicorn, and neither with a certificate nobody vouches for."""
    key = str(certificate.with_name("key.pem"))

    async def main() -> None:
        hypercorn = Service("http_apps:app", options=("--certfile", str(certificate), "--keyfile", key))
        uvicorn = Service(
            "http_apps:app", "uvicorn", options=("--ssl-certfile", str(certificate), "--ssl-keyfile", key)
        )
        try:
            async with engine_on(stage) as engine:
                uri = hypercorn.uri.replace("http:", "https:")
                error = await _refused(engine, uri)
                assert error.code is ErrorCode.DEPLOYMENT_TLS_FAILED
                assert "self-signed certificate" in error.message
                error = await _refused(engine, hypercorn.uri)  # TLS where plain HTTP is expected
                assert error.code is ErrorCode.DEPLOYMENT_UNREACHABLE
                monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
                over_http2 = await engine.register_http(uri)
                assert over_http2.deployment.http_version == "HTTP/2.0"
                assert over_http2.deployment.protocol_type == "bidi"
                assert await engine.call("Chain", "steps", 1) == 1 + STEP_COUNT
                over_http1 = await engine.register_http(uvicorn.uri.replace("http:", "https:"))
                assert over_http1.deployment.http_version == "HTTP/1.1"
                assert over_http1.deployment.protocol_type == "request_response"
                assert await engine.call("Chain", "steps", 2) == 2 + STEP_COUNT
        finally:
            hypercorn.kill()
            uvicorn.kill()

    assert ssl.HAS_ALPN
    run(main())


def test_plain_http_where_tls_is_expected(stage: Stage, services: Services) -> None:
    async def main() -> None:
        async with engine_on(stage) as engine:
            uri = services.get("http_apps:app").uri.replace("http:", "https:")
            error = await _refused(engine, uri)
            assert error.code is ErrorCode.DEPLOYMENT_TLS_FAILED

    run(main())


# Identity


@pytest.mark.parametrize("prefix", ["", "/v1/agents"])
def test_signed_requests_are_accepted_by_the_sdk(stage: Stage, prefix: str) -> None:
    """With the key it was given; without, or with another, discovery is refused."""
    file = stage.path / "key.pem"
    file.write_bytes(new_key())
    other = stage.path / "other.pem"
    other.write_bytes(new_key())

    async def main() -> None:
        options = ("--root-path", prefix) if prefix else ()
        service = Service("http_apps:identified", options=options, IDENTITY_KEY=load_key(file).public_form)
        uri = service.uri + prefix
        try:
            async with engine_on(stage) as engine:
                error = await _refused(engine, uri)
                assert error.code is ErrorCode.DISCOVERY_REFUSED
                assert "401" in error.message
            async with engine_on(stage, identity_key_file=str(other)) as engine:
                error = await _refused(engine, uri)
                assert "401" in error.message
            async with engine_on(stage, identity_key_file=str(file)) as engine:
                await engine.register_http(uri)
                assert await engine.call("Chain", "steps", 1) == 1 + STEP_COUNT
        finally:
            service.kill()

    run(main())


def test_a_key_that_cannot_be_used_stops_the_engine_from_starting(stage: Stage) -> None:
    async def main() -> None:
        with pytest.raises(RewakeError) as caught:
            async with engine_on(stage, identity_key_file=str(stage.path / "missing.pem")):
                pass
        assert caught.value.code is ErrorCode.IDENTITY_KEY_INVALID
        async with engine_on(stage):
            pass  # The directory was let go of.

    run(main())
