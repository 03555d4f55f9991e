"""A relay between the agents and an OpenAI provider: passes calls on, records them, and can hold back an answer.

With the real provider nobody else could say how often a model was asked. The provider is asked at once; it is the
answer that waits, so what a crash loses is a call the provider has really had.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from rewake.testing.models import ModelRequest
from rewake.testing.models.apis import responses

PROVIDER_TIMEOUT_S: Final = 120.0
_PASSED_ON: Final = ("authorization", "content-type", "openai-organization", "openai-project")


@dataclass(slots=True)
class _Call:
    request: ModelRequest
    is_answered: bool = False


class OpenAIRelay:
    """Relays the Responses API to `url`; holds answers to calls for which `is_held`, until released."""

    def __init__(self, url: str, *, is_held: Callable[[ModelRequest], bool]) -> None:
        self._url = url.rstrip("/")
        self._is_held = is_held
        self._calls: list[_Call] = []
        self._is_released = threading.Event()
        self._is_reached = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> str:
        """Serve from a thread; the base URL for clients."""
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                relay._relay(self)

            def log_message(self, *_: object) -> None:
                """Print nothing: story.py prints the story."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def wait_until_held(self, timeout_s: float) -> None:
        """Return once an answer is being held back. Raises TimeoutError."""
        if not self._is_reached.wait(timeout_s):
            raise TimeoutError(f"no specialist asked the model within {timeout_s:.0f} s")

    def release(self) -> None:
        """Let answers through."""
        self._is_released.set()

    def calls(self) -> list[tuple[ModelRequest, bool]]:
        """Every call so far, and whether its answer was delivered."""
        return [(call.request, call.is_answered) for call in self._calls]

    def stop(self) -> None:
        """Stop serving."""
        self.release()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _relay(self, handler: BaseHTTPRequestHandler) -> None:
        content = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        body = json.loads(content)
        call = _Call(responses.parse(body, str(body.get("model", "")), bool(body.get("stream"))))
        self._calls.append(call)
        headers = {name: value for name in _PASSED_ON if (value := handler.headers.get(name))}
        status, content_type, answer = self._ask(handler.path.removeprefix("/v1"), content, headers)
        if self._is_held(call.request) and not self._is_released.is_set():
            self._is_reached.set()
            self._is_released.wait()
        if _has_left(handler.connection):
            return
        call.is_answered = status < 300
        handler.send_response(status)
        handler.send_header("content-type", content_type)
        handler.send_header("content-length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)

    def _ask(self, path: str, content: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
        request = urllib.request.Request(self._url + path, content, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=PROVIDER_TIMEOUT_S) as reply:
                return reply.status, reply.headers.get("content-type", "application/json"), reply.read()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.headers.get("content-type", "application/json"), refusal.read()
        except (OSError, http.client.HTTPException) as problem:
            error = {"error": {"message": f"The provider could not be reached: {problem}", "type": "relay"}}
            return 502, "application/json", json.dumps(error).encode()


def _has_left(connection: socket.socket) -> bool:
    """Whether the client has hung up."""
    readable, _, _ = select.select([connection], [], [], 0)
    try:
        return bool(readable) and not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True
