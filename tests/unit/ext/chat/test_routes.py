"""The routes of a chat in front of an engine that stands for all: any request is answered, none is an error of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from rewake.ext.chat.inbox import ID_MAX
from rewake.ext.chat.ingress import Refused
from rewake.ext.chat.routes import Routes

PATHS = ("/c", "/c/ag-ui", "/c/one/messages", "/c/one/stop", "/c/one/approvals/a1")
NAMES = ("id", "threadId", "runId", "messages", "role", "parts", "content", "text", "resume", "interruptId", "approval")
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(["user", "assistant", "one"])
HALVES = LEAVES | st.just("\ud800")
BODIES = st.recursive(
    HALVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
RECORD = {"id": "m1", "text": "?", "invocation": "inv_1", "status": "ended", "steps": []}


class Engine:
    """Remembers what it is asked; each message has been answered."""

    service = "Desk"

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []

    async def call(self, key: str, handler: str, body: Any, *, service: str = "Desk") -> Any:
        key.encode()  # as the path of the request would
        self.asked.append((key, handler, body))
        if handler == "view":
            texts = [asked["id"] for _, name, asked in self.asked if name == "post"]
            turns = [RECORD | {"id": each} for each in ["m1", *texts]]
            return {"turns": turns[-body.get("turns", 50) :]}
        return {"post": {"invocation": "inv_2"}, "waiting": []}.get(handler, False)

    async def events(self, invocation: str, after: int = 0) -> Any:
        raise Refused(404, "no stream")
        yield

    async def failure(self, invocation: str) -> str | None:
        return None


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    routes = Routes(Engine(), None, ())  # type: ignore[arg-type]  # stands for the ingress
    with TestClient(Starlette(routes=routes.routes("/c"))) as client:
        yield client


@given(path=st.sampled_from(PATHS), body=BODIES)
@settings(max_examples=150)
def test_any_json_gets_an_answer(client: TestClient, path: str, body: Any) -> None:
    response = client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert response.status_code in (200, 202, 400, 409)


@pytest.mark.parametrize("chat", ["a/b", "a/stream", "é ?#&+", "\u202e \u2028", "x" * ID_MAX, "a..b", "stop"])
def test_any_text_names_a_chat(chat: str) -> None:
    """Also one with slashes, in each route."""
    engine = Engine()
    with TestClient(Starlette(routes=Routes(engine, None, ()).routes("/c"))) as client:  # type: ignore[arg-type]
        message = {"id": "m2", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}
        assert client.post("/c", json={"id": chat, "messages": [message]}).status_code == 200
        path = f"/c/{quote(chat, safe='')}"
        assert client.post(f"{path}/messages", json={"id": "m3", "text": "Hi"}).status_code == 202
        assert client.post(f"{path}/stop", json={}).status_code == 200
        assert client.get(f"{path}/events").status_code == 200
        assert client.get(f"{path}/stream").status_code == 204
        if not chat.endswith("/stream"):
            assert client.get(path).json()["turn"] == "m3"
        assert {key for key, _, _ in engine.asked} == {chat}


@pytest.mark.parametrize("chat", ["", ".", "..", "x" * (ID_MAX + 1), "\ud800", "a\nb", 7, None])
def test_what_names_no_chat_is_refused(client: TestClient, chat: Any) -> None:
    body = {"id": chat, "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}]}
    response = client.post("/c", content=json.dumps(body), headers={"content-type": "application/json"})
    assert response.status_code == 400


def test_half_characters_of_a_message_are_mended() -> None:
    """They would fail in the model's client at each attempt, and hold up the conversation for ever."""
    engine = Engine()
    with TestClient(Starlette(routes=Routes(engine, None, ()).routes("/c"))) as client:  # type: ignore[arg-type]
        body = '{"id": "m2", "text": "a \\ud83d\\ude00 b \\ud83d"}'
        client.post("/c/one/messages", content=body, headers={"content-type": "application/json"})
    (posted,) = [body for _, handler, body in engine.asked if handler == "post"]
    assert posted["text"] == "a \U0001f600 b \ufffd"
