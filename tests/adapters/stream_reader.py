"""A reader of a run's stream, on a real socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from pathlib import Path
from typing import Any

from cli_process import WAIT_S


def connection_to(port: int, trusts: Path | None) -> http.client.HTTPConnection:
    """trusts: the certificate of a server that speaks TLS."""
    if trusts is None:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    context = ssl.create_default_context(cafile=str(trusts))
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=WAIT_S, context=context)


SSE = {"accept": "text/event-stream"}


class Reader:
    """Reads server-sent events, and goes on where it was. text: the deltas that are not void."""

    def __init__(
        self,
        port: int,
        path: str,
        *,
        method: str = "GET",
        body: Any = None,
        secret: str = "",
        trusts: Path | None = None,
        idempotency_key: str = "",
    ) -> None:
        self.trusts = trusts
        self.path, self.method, self.body = path, method, body
        self.own_headers = {"authorization": f"Bearer {secret}"} if secret else {}
        self.own_headers |= {"idempotency-key": idempotency_key} if idempotency_key else {}
        self.events: list[dict[str, Any]] = []
        self.text = ""
        self.invocation_id = ""
        self.connect(port)

    def connect(self, port: int) -> None:
        self._connection = connection_to(port, self.trusts)
        headers = SSE | self.own_headers | ({"last-event-id": str(self.events[-1]["offset"])} if self.events else {})
        path = f"/restate/stream/{self.invocation_id}" if self.events else self.path
        body = None if self.body is None or self.events else json.dumps(self.body)
        kind = {} if body is None else {"content-type": "application/json"}
        self._connection.request("GET" if self.events else self.method, path, body, headers | kind)
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self.invocation_id = self._response.headers["x-restate-id"]

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def until(self, kind: str, text: str | None = None) -> dict[str, Any]:
        """The next event of a type; of deltas the one that completes `text`."""
        while (event := self._next()) is not None:
            self.events.append(event)
            self._take(event)
            if event["type"] == kind and (text is None or self.text == text):
                return event
        raise AssertionError(f"ended before {kind}: {self.events}")

    def rest(self) -> None:
        while (event := self._next()) is not None:
            self.events.append(event)
            self._take(event)

    def _next(self) -> dict[str, Any] | None:
        with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
            while line := self._response.readline():
                if line.startswith(b"data: "):
                    found: dict[str, Any] = json.loads(line[6:])
                    return found
        return None

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] == "delta" and isinstance(event["data"], str):
            self.text += event["data"]
        elif event["type"] == "void" and event.get("steps"):
            self.text = ""

    @property
    def kinds(self) -> list[str]:
        """Types, repeated ones once."""
        found: list[str] = []
        for event in self.events:
            if found[-1:] != [event["type"]]:
                found.append(event["type"])
        return found
