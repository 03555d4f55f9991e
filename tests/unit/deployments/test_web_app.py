"""A program's web app behind its door, with its lifespan."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rewake.deployments.app_loader import load
from rewake.deployments.web_app import GuardedApp, Lifespan
from rewake.http_server.origins import Door

Sent = list[dict[str, Any]]


async def page(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def asked(method: str, **headers: str) -> int:
    """The status that a request gets."""
    sent: Sent = []

    async def send(event: Any) -> None:
        sent.append(event)

    async def receive() -> Any:
        raise AssertionError("nobody reads a body")

    head = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "headers": head}
    asyncio.run(GuardedApp(page, Door())(scope, receive, send))
    status: int = sent[0]["status"]
    return status


def test_pages_of_other_sites_and_foreign_names_are_refused() -> None:
    assert asked("GET", host="localhost:8000") == 200
    assert asked("POST", host="localhost:8000", origin="http://localhost:8000") == 200
    assert asked("POST", host="localhost:8000", origin="https://evil.example") == 403
    assert asked("GET", host="evil.example:8000") == 403


async def played(said: list[str], scope: Any, receive: Any, send: Any) -> None:
    """An app with a lifespan."""
    assert scope["type"] == "lifespan"
    for word in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{word}"
        said.append(word)
        await send({"type": f"lifespan.{word}.complete"})


def test_the_lifespan_frames_the_requests() -> None:
    said: list[str] = []

    async def main() -> None:
        lifespan = Lifespan(lambda scope, receive, send: played(said, scope, receive, send))
        await lifespan.start()
        said.append("serving")
        await lifespan.stop()

    asyncio.run(main())
    assert said == ["startup", "serving", "shutdown"]


def test_an_app_without_a_lifespan_is_served_and_one_that_fails_is_not() -> None:
    async def without(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("I speak HTTP alone")

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    async def main() -> None:
        await Lifespan(without).start()
        with pytest.raises(RuntimeError, match="no database"):
            await Lifespan(failing).start()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("line", "is_found"),
    [
        ("async def web(scope, receive, send): ...", True),
        ("class App:\n    async def __call__(self, scope, receive, send): ...\nweb = App()", True),
        ("def web(query): ...", False),
        ("class web: ...", False),
        ("import string as web", False),
    ],
)
def test_a_module_offers_a_web_app_by_its_name(line: str, is_found: bool, tmp_path: Any) -> None:
    file = tmp_path / f"offer_{abs(hash(line))}.py"
    file.write_text(f"import restate\nservice = restate.Service('Greeter')\n{line}\n")
    assert (load(str(file)).web is not None) is is_found
