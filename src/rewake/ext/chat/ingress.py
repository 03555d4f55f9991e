"""The engine as the routes see it: the public ingress API over HTTP, so that any engine will do.

REWAKE_INGRESS_URL   where it is, unless the chat says so; `rewake run` sets it for the app it serves
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from typing import Any, Final
from urllib.parse import quote, urlsplit

try:
    import httpx2 as httpx
except ImportError as problem:  # pragma: no cover
    raise ImportError("The routes of rewake.ext.chat need an HTTP client: pip install 'rewake[chat]'") from problem

URL_VARIABLE: Final = "REWAKE_INGRESS_URL"
TOKEN_VARIABLE: Final = "REWAKE_TOKEN"
URL: Final = "http://localhost:8080"
_TIMEOUT_S: Final = 30.0
_STREAM_TIMEOUT: Final = httpx.Timeout(_TIMEOUT_S, read=60.0)  # a stream says something, be it a sign of life


class EngineUnavailable(Exception):
    """The engine cannot be reached, or answers with an error of its own."""


class Refused(Exception):
    """The engine refuses the request. status: as the engine answered."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Ingress:
    """One service of an engine. url: None for the variable's, else http://localhost:8080."""

    def __init__(self, service: str, url: str | None = None) -> None:
        self._service = quote(service, safe="")
        self._url = url
        self._client: httpx.AsyncClient | None = None

    async def call(self, key: str, handler: str, body: Any) -> Any:
        """The result of a short handler of the object with this key."""
        return await self._post(f"/{self._service}/{quote(key, safe='')}/{handler}", body)

    async def send(self, key: str, handler: str, body: Any, idempotency_key: str) -> str:
        """Start a handler; the id of its invocation, the same for the same idempotency key."""
        path = f"/{self._service}/{quote(key, safe='')}/{handler}/send"
        sent = await self._post(path, body, {"idempotency-key": idempotency_key})
        return str(sent["invocationId"])

    async def resolve(self, awakeable: str, value: Any) -> None:
        """Answer an awakeable. Raises Refused when it is unknown, or over."""
        await self._post(f"/restate/awakeables/{quote(awakeable, safe='')}/resolve", value)

    async def _post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        try:
            response = await self._http().post(path, json=body, headers=headers)
        except httpx.HTTPError as problem:
            raise EngineUnavailable(f"The engine at {self.url} does not answer: {problem!r}") from problem
        return _result(response)

    async def events(self, invocation_id: str, after: int = 0) -> AsyncGenerator[list[dict[str, Any]]]:
        """The events of a run's stream after this offset, as they come, until it ends.

        Raises Refused where there is no stream, EngineUnavailable when it breaks off.
        """
        path = f"/restate/stream/{quote(invocation_id, safe='')}"
        headers = {"accept": "text/event-stream"} | ({"last-event-id": str(after)} if after else {})
        try:
            async with self._http().stream("GET", path, headers=headers, timeout=_STREAM_TIMEOUT) as response:
                if not response.is_success:
                    await response.aread()
                    _result(response)
                rest = b""
                async for data in response.aiter_bytes():
                    *blocks, rest = (rest + data).split(b"\n\n")
                    if events := [event for block in blocks if (event := _event(block)) is not None]:
                        yield events
        except httpx.HTTPError as problem:
            raise EngineUnavailable(f"The stream of {invocation_id} broke off: {problem!r}") from problem

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    @property
    def url(self) -> str:
        """Where the engine is."""
        return (self._url or os.environ.get(URL_VARIABLE) or URL).rstrip("/")

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            token = os.environ.get(TOKEN_VARIABLE)
            headers = {"x-rewake-token": token} if token else {}
            # On loopback nobody is in between, and a certificate is for another name.
            is_near = urlsplit(self.url).hostname in ("127.0.0.1", "::1", "localhost")
            self._client = httpx.AsyncClient(
                base_url=self.url, headers=headers, timeout=_TIMEOUT_S, trust_env=False, verify=not is_near
            )
        return self._client


def _event(block: bytes) -> dict[str, Any] | None:
    """The JSON of a server-sent event; None for a comment."""
    data = [line.removeprefix(b"data:").strip() for line in block.split(b"\n") if line.startswith(b"data:")]
    found: dict[str, Any] | None = json.loads(b"\n".join(data)) if data else None
    return found


def _result(response: httpx.Response) -> Any:
    if response.is_success:
        return json.loads(response.content) if response.content else None
    message = response.text[:500]
    if response.is_server_error:
        raise EngineUnavailable(f"The engine answers {response.status_code}: {message}")
    raise Refused(response.status_code, message)
