"""The ingress on the wire: bodies and their limits, callers that leave, a server that stops or has too much to do.

Bodies and callers are the same on both engines.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from pathlib import Path

import http_app
import pytest
from raw_http import Wire, fetch, request
from running_server import RunningServer, running_server
from subject import JSON, Subject, first_awakeable, until

from rewake.core.ids import (
    awakeable_id_parse,
)
from rewake.errors import ErrorCode
from rewake.ingress.api import BODY_BYTES_MAX
from rewake.protocol.messages import Success


@pytest.fixture
def port(surfaces: Subject) -> int:
    return surfaces.ingress_port


def wait_for_awakeable() -> str:
    return http_app.awakeables.get(timeout=10)


# Bodies on the wire


def test_a_compressed_body_is_passed_on_as_it_is(port: int) -> None:
    """Nothing is unpacked on the way, so a small body stays small; the handler sees how it is encoded."""
    bomb = gzip.compress(bytes(1_000_000))
    headers = {"content-type": "application/x", "content-encoding": "gzip"}
    answer = fetch(port, "POST", "/Greeter/raw", headers, bomb)
    assert (answer.status, answer.body, answer.headers.get("content-encoding")) == (200, bomb, None)


def test_a_chunked_body_arrives_whole(port: int) -> None:
    headers = {**JSON, "transfer-encoding": "chunked"}
    answer = fetch(port, "POST", "/Greeter/greet", headers, b'3\r\n"bo\r\n2\r\nb"\r\n0\r\n\r\n')
    assert answer.body == b'"hi bob"'


def test_a_caller_that_asks_is_told_to_continue(port: int) -> None:
    with Wire(port) as wire:
        wire.send(request("POST", "/Greeter/greet", {**JSON, "expect": "100-continue", "content-length": "5"}))
        wire._until(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert wire.exchange(b'"bob"').body == b'"hi bob"'


def test_a_length_over_the_limit_is_refused_before_the_body(port: int) -> None:
    with Wire(port) as wire:
        answer = wire.exchange(request("POST", "/Nope/x", {**JSON, "content-length": str(BODY_BYTES_MAX + 1)}))
        assert (answer.status, answer.reason, answer.body) == (413, "Payload Too Large", b"length limit exceeded")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert wire.is_closed()


def test_a_chunked_body_over_the_limit_is_refused_readably(port: int) -> None:
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    with Wire(port) as wire:
        wire.send(request("POST", "/Greeter/greet", {**JSON, "transfer-encoding": "chunked"}))
        for _ in range(33):
            wire.send(chunk)
        answer = wire.answer()
        assert answer.status == 413
        assert answer.json["message"] == "cannot read body: LengthLimitError"


def test_a_body_just_under_the_limit_goes_through(port: int) -> None:
    body = b"x" * BODY_BYTES_MAX
    answer = fetch(port, "POST", "/Greeter/greet", {"content-type": "wrong/type"}, body)
    assert answer.status == 400
    assert answer.json["message"].startswith("input validation error: Content-type 'wrong/type'")


# Callers and servers that go away


def test_a_caller_that_disconnects_leaves_the_invocation_running(surfaces: Subject) -> None:
    key = surfaces.unique()
    named = {"target": "idempotentInvocation", "service": "Greeter", "handler": "wait", "idempotencyKey": key}
    name = surfaces.ingress("POST", "/restate/lookup", named).json["invocationId"]
    with Wire(surfaces.ingress_port) as caller:
        caller.send(request("POST", "/Greeter/wait", {"idempotency-key": key}))
        until(lambda: "> Run" in surfaces.journal(name), lambda: str(surfaces.journal(name)))
    surfaces.resolve(first_awakeable(name), "kept")
    assert surfaces.result(name) == "kept"


@pytest.mark.parametrize("engine_kind", ["rewake"])  # the public server loses some of them
def test_a_request_is_taken_even_when_its_caller_does_not_stay_for_the_answer(surfaces: Subject) -> None:
    keys = [surfaces.unique() for _ in range(20)]
    for key in keys:
        with Wire(surfaces.ingress_port) as caller:
            caller.send(request("POST", "/Greeter/greet/send", {**JSON, "idempotency-key": key}, b'"x"'))
    for key in keys:
        path = f"/restate/invocation/Greeter/greet/{key}/attach"
        until(lambda path=path: surfaces.ingress("GET", path).status == 200, lambda path=path: path)  # type: ignore[misc]


def test_a_caller_that_leaves_is_forgotten(tmp_path: Path) -> None:
    """Else everybody who ever attached to a run would be remembered until it ends."""
    with running_server(tmp_path, http_app.app) as here, Wire(here.ingress_port) as first:
        first.send(request("POST", "/Greeter/wait", {"idempotency-key": "k"}))
        awakeable = wait_for_awakeable()
        with contextlib.ExitStack() as callers:
            for _ in range(50):
                caller = callers.enter_context(Wire(here.ingress_port))
                caller.send(request("GET", "/restate/invocation/Greeter/wait/k/attach"))
            until(lambda: here.engine.stats()["callers_waiting"] == 51, lambda: str(here.engine.stats()))
        until(lambda: here.engine.stats()["callers_waiting"] == 1, lambda: str(here.engine.stats()))
        here.run(_resolve(here, awakeable, b'"x"'))
        assert first.answer().json == "x"


def test_stopping_lets_an_answer_out_and_says_that_the_connection_closes(tmp_path: Path) -> None:
    with (
        running_server(tmp_path, http_app.app) as here,
        Wire(here.ingress_port) as idle,
        Wire(here.ingress_port) as waiting,
    ):
        assert idle.exchange(request("GET", "/Greeter/nothing")).status == 200
        waiting.send(request("GET", "/Greeter/wait"))
        awakeable = wait_for_awakeable()
        stopping = here.run(_begin_stop(here))
        assert idle.is_closed()
        with pytest.raises(ConnectionRefusedError):
            Wire(here.ingress_port)
        here.run(_resolve(here, awakeable, b'"out"'))
        answer = waiting.answer()
        assert (answer.status, answer.body, answer.headers["connection"]) == (200, b'"out"', "close")
        assert waiting.is_closed()
        here.run(_finish(stopping))


def test_what_does_not_finish_in_time_is_cut(tmp_path: Path) -> None:
    with running_server(tmp_path, http_app.app, drain_s=0.05) as here, Wire(here.ingress_port) as waiting:
        waiting.send(request("GET", "/Greeter/wait"))
        wait_for_awakeable()
        here.run(here.server.stop())
        assert waiting.is_closed()


async def _begin_stop(here: RunningServer) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(here.server.stop())
    await asyncio.sleep(0)
    return task


async def _finish(task: asyncio.Task[None]) -> None:
    await task


async def _resolve(here: RunningServer, name: str, value: bytes) -> None:
    invocation_id, signal = awakeable_id_parse(name)
    await here.engine.complete_awakeable(invocation_id, signal, Success(value))


def test_too_many_requests_are_told_so_even_for_health(tmp_path: Path) -> None:
    with running_server(tmp_path, http_app.app, ingress_concurrency_max=1) as here, Wire(here.ingress_port) as waiting:
        waiting.send(request("GET", "/Greeter/wait"))
        awakeable = wait_for_awakeable()
        for path in ("/restate/health", "/Greeter/nothing"):
            answer = fetch(here.ingress_port, "GET", path)
            assert answer.status == 429
            assert answer.json["message"] == "too many requests, the ingress is overloaded. Retry later."
            assert answer.json["error_code"] == ErrorCode.OVERLOADED.value
        here.run(_resolve(here, awakeable, b'"x"'))
        assert waiting.answer().status == 200
        assert fetch(here.ingress_port, "GET", "/restate/health").status == 200
