"""The engine as the routes see it: the public ingress API over HTTP, so that any engine will do.

REWAKE_INGRESS_URL      its address, unless the chat has one; `rewake run` sets it for the app it serves
REWAKE_ENCRYPTION_KEYS  where the app encrypts its values (rewake.ext.sealed): requests are encrypted, too
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote, urlsplit

try:
    import httpx2 as httpx
except ImportError as problem:  # pragma: no cover
    raise ImportError("The routes of rewake.ext.chat need an HTTP client: pip install 'rewake[chat]'") from problem

from rewake.ext.sealed import Sealer, is_sealed
from rewake.ext.sealed.keys import VARIABLE as KEYS_VARIABLE
from rewake.ext.sealed.subjects import VARIABLE as SUBJECTS_VARIABLE

JSON: Final = {"content-type": "application/json"}
URL_VARIABLE: Final = "REWAKE_INGRESS_URL"
TOKEN_VARIABLE: Final = "REWAKE_TOKEN"
URL: Final = "http://localhost:8080"
_TIMEOUT_S: Final = 30.0
_OVER: Final = (404, 409)
"""Statuses for a run that was killed or forgotten. Other failures are the handler's, which records them."""

_STREAM_TIMEOUT: Final = httpx.Timeout(_TIMEOUT_S, read=60.0)  # a stream says something, be it a sign of life


class EngineUnavailable(Exception):
    """The engine cannot be reached, or answers with an error of its own."""


class Refused(Exception):
    """The engine refuses the request. status: as the engine answered."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class IngressClient:
    """One service of an engine. url: None for the variable's, else http://localhost:8080."""

    def __init__(self, service: str, url: str | None = None) -> None:
        self.service = service
        self._url = url
        self._client: httpx.AsyncClient | None = None

    async def call(self, key: str, handler: str, body: Any, *, service: str | None = None) -> Any:
        """The result of a short handler of the object with this key. service: another one than this chat's."""
        service = service or self.service
        path = f"/{quote(service, safe='')}/{quote(key, safe='')}/{handler}"
        return await self._post(path, body, service=service, key=key)

    async def failure(self, invocation: str) -> str | None:
        """The reason if a run was killed or forgotten; None otherwise. Raises EngineUnavailable without an answer."""
        path = f"/restate/invocation/{quote(invocation, safe='')}/output"
        try:
            response = await self._http().get(path)
        except httpx.HTTPError as problem:
            raise EngineUnavailable(f"The engine at {self.url} does not answer: {problem!r}") from problem
        return _message(response) if response.status_code in _OVER else None

    async def resolve(self, awakeable: str, value: Any) -> None:
        """Answer an awakeable. Raises Refused when it is unknown, or over."""
        await self._post(f"/restate/awakeables/{quote(awakeable, safe='')}/resolve", value)

    @cached_property
    def _sealer(self) -> Sealer | None:
        if KEYS_VARIABLE not in os.environ:
            return None
        return Sealer.from_sources(None, os.environ.get(SUBJECTS_VARIABLE))

    async def _post(self, path: str, body: Any, *, service: str | None = None, key: str | None = None) -> Any:
        content = json.dumps(body).encode()
        if self._sealer is not None:
            content = self._sealer.seal(content, service or self.service, key)
        try:
            response = await self._http().post(path, content=content, headers=JSON)
        except httpx.HTTPError as problem:
            raise EngineUnavailable(f"The engine at {self.url} does not answer: {problem!r}") from problem
        return _result(response, self._sealer)

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


def _result(response: httpx.Response, sealer: Sealer | None = None) -> Any:
    if response.is_success:
        content: bytes | None = response.content
        if content and is_sealed(content):
            content = None if sealer is None else sealer.open(content)
            if content is None:
                raise EngineUnavailable("The answer is encrypted with a key that is not here.")
        return json.loads(content) if content else None
    message = _message(response)
    if response.is_server_error:
        raise EngineUnavailable(f"The engine answers {response.status_code}: {message}")
    raise Refused(response.status_code, message)


def _message(response: httpx.Response) -> str:
    """What the engine, or a handler, says about an error."""
    try:
        found = response.json()["message"]
    except (ValueError, KeyError, TypeError):
        found = response.text
    return str(found)[:500]
