"""A chat's routes in front of an engine, called as `useChat` calls them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from http_service import Service
from node_tour import EngineKind
from starlette.testclient import TestClient
from subject import Subject

from rewake.testing.models import ModelServer, Rule

Chunk = dict[str, Any]


class Desk:
    """The chat on one engine, called as `useChat` calls it."""

    def __init__(self, subject: Subject, client: TestClient, models: ModelServer, folder: Path) -> None:
        self.subject, self.client, self.models, self.folder = subject, client, models, folder

    def say(self, chat_id: str, message_id: str, said: str) -> list[Chunk]:
        message = {"id": message_id, "role": "user", "parts": [{"type": "text", "text": said}]}
        return self.post({"id": chat_id, "messages": [message], "trigger": "submit-message"})

    def answer(self, chat_id: str, approval: str, *, approved: bool, reason: str | None = None) -> list[Chunk]:
        answer = {"id": approval, "approved": approved} | ({} if reason is None else {"reason": reason})
        part = {"type": "dynamic-tool", "state": "approval-responded", "approval": answer}
        return self.post({"id": chat_id, "messages": [{"id": "x", "role": "assistant", "parts": [part]}]})

    def post(self, body: Any) -> list[Chunk]:
        return read(self.client.post("/api/chat", json=body))

    def get(self, chat_id: str, query: str = "") -> Any:
        return self.client.get(f"/api/chat/{chat_id}{query}").json()


def read(response: Any) -> list[Chunk]:
    assert response.status_code == 200, response.text
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta")


def outputs_of(chunks: list[Chunk]) -> list[Any]:
    """Results of calls, without what nested agents said meanwhile."""
    found = [chunk for chunk in chunks if chunk["type"] == "tool-output-available"]
    return [chunk["output"] for chunk in found if not chunk.get("preliminary")]


def approval_of(chunks: list[Chunk]) -> str:
    assert chunks[-1] == {"type": "finish", "finishReason": "tool-calls"}
    return next(str(chunk["approvalId"]) for chunk in chunks if chunk["type"] == "tool-approval-request")


def desk_of(kind: EngineKind, chat: Any, app: str, rules: Sequence[Rule], folder: Path) -> Iterator[Desk]:
    """The chat on an engine of this kind. app: the module with its handlers."""
    with ModelServer(rules) as models:
        environment = models.env() | {"LAB_FOLDER": str(folder), "PYTHONPATH": str(Path(__file__).parent)}
        service = Service(app, "hypercorn", options=(), **environment)
        subject = Subject(kind, folder, service)
        web = chat.web(ingress_url=f"http://127.0.0.1:{subject.ingress_port}")
        with TestClient(web, base_url="http://desk") as client:
            yield Desk(subject, client, models, folder)
        subject.close()
