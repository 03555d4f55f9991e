"""The ingress between transport and engine: what the engine is asked, and what its answers and failures become."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from tests.unit.ingress.fake_engine import GREETER, INVOCATION_ID, NOW_MS, FakeEngine, completed

from rewake.core.effects import Reply, ReplyStatus
from rewake.core.ids import InvocationId, awakeable_id_format, invocation_id_to_str
from rewake.core.model import Target
from rewake.errors import EXPLAIN, ErrorCode, RewakeError
from rewake.ingress.api import Ingress
from rewake.ingress.message import Request, Response
from rewake.protocol.discovery import HandlerKind, HandlerManifest, InputRules, ServiceType
from rewake.protocol.messages import Failure, Success

JSON = {"content-type": "application/json"}
ID = invocation_id_to_str(INVOCATION_ID)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def ask(
    engine: FakeEngine, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> Response:
    path, _, query = target.partition("?")
    return asyncio.run(Ingress(engine).handle(Request(method, path, query, dict(headers or {}), body)))


def head_of(response: Response) -> dict[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in response.head}


def test_a_call_hands_over_body_headers_key_and_trace(engine: FakeEngine) -> None:
    headers = {**JSON, "host": "h", "idempotency-key": "k", "traceparent": "00-ab-cd-01", "x-a": "1"}
    response = ask(engine, "POST", "/Greeter/greet?q=1", headers, b'"x"')
    assert engine.asked == [
        {
            "target": Target("Greeter", "greet", None, ServiceType.SERVICE, HandlerKind.PLAIN),
            "body": b'"x"',
            "headers": (
                ("x-restate-ingress-path", "/Greeter/greet?q=1"),
                ("content-type", "application/json"),
                ("traceparent", "00-ab-cd-01"),
                ("x-a", "1"),
            ),
            "idempotency_key": "k",
            "execute_at_ms": None,
            "traceparent": "00-ab-cd-01",
            "wait": True,
        }
    ]
    assert (response.status, response.body) == (200, b'"hi"')
    assert head_of(response)["x-restate-id"] == ID


def test_a_key_is_part_of_the_target(engine: FakeEngine) -> None:
    ask(engine, "POST", "/Counter/a%2Fb/add/send?delay=1m")
    assert engine.asked[0]["target"].key == "a/b"
    assert (engine.asked[0]["wait"], engine.asked[0]["execute_at_ms"]) == (False, NOW_MS + 60_000)


def test_a_send_shows_the_execution_time_unless_it_joined_an_earlier_one(engine: FakeEngine) -> None:
    engine.answer = Reply(0, ReplyStatus.ACCEPTED, InvocationId(INVOCATION_ID))
    sent = ask(engine, "POST", "/Greeter/empty/send?delay=0s")
    assert sent.status == 202
    assert json.loads(sent.body) == {
        "invocationId": ID,
        "executionTime": "2026-11-22T13:14:50.978000000Z",
        "status": "Accepted",
    }
    engine.answer = Reply(0, ReplyStatus.PREVIOUSLY_ACCEPTED, InvocationId(INVOCATION_ID))
    joined = ask(engine, "POST", "/Greeter/empty/send?delay=0s")
    assert json.loads(joined.body) == {"invocationId": ID, "status": "PreviouslyAccepted"}


def test_a_far_delay_is_still_printable(engine: FakeEngine) -> None:
    engine.answer = Reply(0, ReplyStatus.ACCEPTED, InvocationId(INVOCATION_ID))
    sent = ask(engine, "POST", "/Greeter/empty/send?delay=9000000000000s")
    assert json.loads(sent.body)["executionTime"] == "9999-12-31T23:59:59.999000000Z"


def test_content_type_when_the_output_is_empty(engine: FakeEngine) -> None:
    engine.answer = completed(Success(b""))
    assert head_of(ask(engine, "POST", "/Greeter/empty"))["content-type"] == "text/plain"
    assert "content-type" not in head_of(ask(engine, "POST", "/Greeter/greet"))


def test_a_result_from_storage_says_until_when(engine: FakeEngine) -> None:
    engine.answer = completed(Success(b"1"), expires_at_ms=NOW_MS)
    assert head_of(ask(engine, "GET", "/Greeter/greet"))["idempotency-expires"] == "2026-11-22T13:14:50.978+00:00"


def test_a_required_body_must_be_there(engine: FakeEngine) -> None:
    assert ask(engine, "POST", "/Greeter/must").status == 400
    assert ask(engine, "POST", "/Greeter/must", {"content-type": "text/plain"}, b"x").status == 200


def test_a_new_revision_is_seen_at_once(engine: FakeEngine) -> None:
    async def main() -> list[int]:
        ingress = Ingress(engine)

        async def call() -> int:
            return (await ingress.handle(Request("POST", "/Greeter/greet", "", JSON, b'"x"'))).status

        statuses = [await call()]
        strict = HandlerManifest(name="greet", input=InputRules(content_type="text/plain"))
        engine.register(msgspec.structs.replace(GREETER, handlers=(strict,)), revision=2)
        statuses.append(await call())
        engine.register(msgspec.structs.replace(GREETER, handlers=()), revision=3)
        statuses.append(await call())
        del engine.services["Greeter"]
        statuses.append(await call())
        return statuses

    assert asyncio.run(main()) == [200, 400, 404, 404]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCode.STORE_FULL, 503),
        (ErrorCode.STORE_FAILED, 503),
        (ErrorCode.ENGINE_STOPPED, 503),
        (ErrorCode.ENGINE_BUG, 500),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/Greeter/empty"), ("POST", "/Greeter/empty/send"), ("GET", f"/restate/output/{ID}")]
)
def test_what_the_engine_cannot_take_is_told(
    engine: FakeEngine, method: str, path: str, code: ErrorCode, status: int
) -> None:
    engine.answer = RewakeError(code, "The disk is full.", "Make room.")
    response = ask(engine, method, path)
    assert response.status == status
    assert json.loads(response.body) == {
        "code": status,
        "message": "The disk is full.",
        "source": "ingress",
        "error_code": code.value,
        "hint": "Make room.",
        "docs": EXPLAIN + code.value,
    }
    head = head_of(response)
    assert head["x-restate-error-source"] == "ingress"
    assert head.get("retry-after") == ("1" if status == 503 else None)


def test_a_bug_is_a_500_and_the_ingress_goes_on(engine: FakeEngine) -> None:
    engine.answer = KeyError("oops")
    response = ask(engine, "POST", "/Greeter/empty")
    assert (response.status, json.loads(response.body)["error_code"]) == (500, ErrorCode.ENGINE_BUG.value)
    engine.answer = completed(Success(b"1"))
    assert ask(engine, "POST", "/Greeter/empty").status == 200


@pytest.mark.parametrize(("code", "status"), [(100, 500), (199, 500), (200, 200), (599, 599), (999, 999), (1000, 500)])
def test_codes_of_failures_become_statuses(engine: FakeEngine, code: int, status: int) -> None:
    engine.answer = completed(Failure(code, "no", (("a", "b"),)))
    response = ask(engine, "POST", "/Greeter/empty")
    assert response.status == status
    assert response.body == b'{"code":%d,"message":"no","metadata":{"a":"b"},"source":"invocation"}' % code


@pytest.mark.parametrize(
    ("verb", "body", "result"),
    [
        ("resolve", b"\x00\xff", Success(b"\x00\xff")),
        ("resolve", b"", Success(b"")),
        ("reject", b"no", Failure(500, "no")),
        ("reject", b"\xff", Failure(500, "\ufffd")),
    ],
)
def test_awakeables_are_completed_with_the_bytes(engine: FakeEngine, verb: str, body: bytes, result: Any) -> None:
    name = awakeable_id_format(INVOCATION_ID, 17)
    assert ask(engine, "POST", f"/restate/a/{name}/{verb}", {}, body).status == 202
    assert engine.asked == [{"awakeable": INVOCATION_ID, "signal": 17, "result": result}]


def test_in_flight_requests_are_counted_down_when_callers_leave(engine: FakeEngine) -> None:
    async def main() -> int:
        async def wait(*_: Any, **__: Any) -> Reply:
            await asyncio.Event().wait()
            raise AssertionError

        ingress = Ingress(engine, concurrency_max=1)
        invoke, engine.invoke = engine.invoke, wait  # type: ignore[method-assign]
        request = Request("POST", "/Greeter/empty", "", {}, b"")
        gone = asyncio.ensure_future(ingress.handle(request))
        await asyncio.sleep(0)
        assert (await ingress.handle(request)).status == 429
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        engine.invoke = invoke  # type: ignore[method-assign]
        return (await ingress.handle(request)).status

    assert asyncio.run(main()) == 200


def test_a_service_with_too_many_waiting_runs_is_refused_and_no_other(engine: FakeEngine) -> None:
    engine.full = {"Greeter": "waiting-per-service-max"}
    refused = ask(engine, "POST", "/Greeter/empty", {}, b"")
    assert (refused.status, dict(refused.head)[b"retry-after"]) == (429, b"1")
    assert b"waiting-per-service-max" in refused.body
    assert engine.asked == []
    assert ask(engine, "POST", "/Counter/k/add", {"content-type": "application/json"}, b"1").status != 429


def test_answers_that_open_calls_wait_for_are_taken(engine: FakeEngine) -> None:
    ingress = Ingress(engine, concurrency_max=0)
    name = awakeable_id_format(INVOCATION_ID, 17)
    request = Request("POST", f"/restate/awakeables/{name}/resolve", "", {}, b"1")
    assert asyncio.run(ingress.handle(request)).status == 202
    assert asyncio.run(ingress.handle(Request("GET", "/restate/health", "", {}, b""))).status == 429
