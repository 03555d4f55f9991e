"""The ingress as an ASGI app in someone else's server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from tests.unit.ingress.fake_engine import FakeEngine

from rewake.core.effects import Reply
from rewake.ingress.api import Ingress
from rewake.ingress.asgi import IngressApp

JSON = [(b"Content-Type", b"application/json"), (b"content-type", b"x/y")]


def exchange(
    app: IngressApp, scope: dict[str, Any], *events: dict[str, Any], then: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """What the app sends for a scope and the events it receives; `then` comes after a moment, else nothing does."""
    sent: list[dict[str, Any]] = []

    async def main() -> None:
        async def incoming() -> AsyncGenerator[dict[str, Any]]:
            for event in events:
                yield event
            await asyncio.sleep(0.01 if then else 60)
            if then:
                yield then

        stream = incoming()

        async def send(event: Any) -> None:
            sent.append(event)

        full = {"type": "http", "method": "POST", "query_string": b"", "headers": JSON, "root_path": "", **scope}
        await app(full, stream.__anext__, send)
        await stream.aclose()

    asyncio.run(main())
    return sent


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def test_a_call_in_pieces_under_a_prefix(engine: FakeEngine) -> None:
    scope = {"path": "/in/Counter/a b/add", "raw_path": b"/in/Counter/a%20b/add?x", "root_path": "/in"}
    start, body = exchange(
        IngressApp(Ingress(engine)),
        scope,
        {"type": "http.request", "body": b'"a', "more_body": True},
        {"type": "http.request", "body": b'b"'},
    )
    assert (start["status"], body["body"]) == (200, b'"hi"')
    assert (b"content-length", b"4") in start["headers"]
    assert engine.asked[0]["target"].key == "a b"
    assert engine.asked[0]["body"] == b'"ab"'
    assert ("content-type", "application/json") in engine.asked[0]["headers"]


def test_an_address_for_deltas_alone_has_nothing_else(engine: FakeEngine) -> None:
    app = IngressApp(Ingress(engine), takes_deltas_alone=True)
    for path in ("/Greeter/greet", "/restate/health", "/restate/deltas/x"):
        events = exchange(app, {"path": path, "method": "POST"}, {"type": "http.request"})
        assert events[0]["status"] == 404, path


def test_bodies_over_the_limit(engine: FakeEngine) -> None:
    app = IngressApp(Ingress(engine), body_bytes_max=3)
    early, text = exchange(app, {"path": "/Greeter/greet", "headers": [(b"content-length", b"4")]})
    assert (early["status"], text["body"]) == (413, b"length limit exceeded")
    late, _ = exchange(app, {"path": "/Greeter/greet"}, {"type": "http.request", "body": b"1234"})
    assert late["status"] == 413
    assert engine.asked == []


def test_a_caller_that_leaves(engine: FakeEngine) -> None:
    app = IngressApp(Ingress(engine))
    assert exchange(app, {"path": "/Greeter/greet"}, {"type": "http.disconnect"}) == []
    assert engine.asked == []

    async def wait(*_: Any, **asked: Any) -> Reply:
        engine.asked.append(asked)
        await asyncio.Event().wait()
        raise AssertionError

    engine.invoke = wait  # type: ignore[method-assign]
    request = {"type": "http.request", "body": b""}
    assert exchange(app, {"path": "/Greeter/empty", "headers": []}, request, then={"type": "http.disconnect"}) == []
    assert len(engine.asked) == 1


def test_a_head_has_no_body(engine: FakeEngine) -> None:
    start, body = exchange(
        IngressApp(Ingress(engine)), {"path": "/Greeter/greet", "method": "HEAD"}, {"type": "http.request"}
    )
    assert (start["status"], body["body"]) == (405, b"")


def test_it_only_speaks_http(engine: FakeEngine) -> None:
    with pytest.raises(ValueError, match="websocket"):
        exchange(IngressApp(Ingress(engine)), {"type": "websocket", "path": "/"})


def test_bodies_have_a_limit_together(engine: FakeEngine) -> None:
    """What is held is let go of with the answer, also after a refusal."""
    ingress = Ingress(engine, held_bytes_max=10)
    app = IngressApp(ingress)
    call = {"path": "/Greeter/greet", "headers": [(b"content-type", b"application/json")]}
    for _ in range(2):
        refused = exchange(app, call, {"type": "http.request", "body": b'"12345678901"'})
        assert (refused[0]["status"], dict(refused[0]["headers"])[b"retry-after"]) == (429, b"1")
        assert b"open-mib-max" in refused[1]["body"]
        assert exchange(app, call, {"type": "http.request", "body": b'"12345678"'})[0]["status"] == 200
