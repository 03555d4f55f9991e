"""How the routes of a chat speak to the engine: with values that are encrypted where the environment names keys."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2 as httpx
import pytest

from rewake.ext.chat.ingress import EngineUnavailable, IngressClient
from rewake.ext.sealed import Sealer, is_sealed, new_key


def ask(answer: Any) -> tuple[Any, list[httpx.Request]]:
    """The result of a call, and the requests it made. answer: from the body of the request to that of the response."""
    seen: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=answer(request.content))

    async def main() -> Any:
        ingress = IngressClient("Desk")
        ingress._client = httpx.AsyncClient(transport=httpx.MockTransport(respond), base_url="http://here")
        try:
            return await ingress.call("ada", "say", {"text": "hello"})
        finally:
            await ingress.close()

    return asyncio.run(main()), seen


def test_without_keys_values_go_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REWAKE_ENCRYPTION_KEYS", raising=False)
    result, (request,) = ask(lambda body: body)
    assert result == {"text": "hello"}
    assert (request.url.path, request.headers["content-type"]) == ("/Desk/ada/say", "application/json")
    with pytest.raises(EngineUnavailable, match="encrypted"):
        ask(lambda _: b"\x00RWS\x01\x00\x00" + bytes(40))


def test_with_keys_requests_are_encrypted_and_results_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYS_OF_A_TEST", new_key())
    monkeypatch.setenv("REWAKE_ENCRYPTION_KEYS", "env:KEYS_OF_A_TEST")
    result, (request,) = ask(lambda body: body)
    assert result == {"text": "hello"}
    assert is_sealed(request.content)
    opened = Sealer.from_sources(None, None).open(request.content)
    assert json.loads(opened or b"") == {"text": "hello"}
    assert ask(lambda _: b'"plain"')[0] == "plain"
