"""ModelServer: the scripted model server inside a test or a program.

It serves on its own thread, so tests and agents that block still get answers, and it works as a plain and as an async
context manager. `python -m rewake.testing.models` runs the same server as a process.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from rewake.http_server.encodings import plain_only
from rewake.http_server.limits import Limits
from rewake.http_server.listening import listening_socket
from rewake.http_server.server import HttpServer

from .app import make_app
from .request import ModelRequest
from .rules import Rule
from .script import CallCount, Exchange, Script

WAIT_DEFAULT_S = 10.0
STOP_GRACE_S = 1
BACKLOG = 128
API_KEY = "scripted-model-server"


class HeldRule:
    """A rule whose calls are held; as a context manager it releases them at its end."""

    def __init__(self, server: ModelServer, rule_name: str) -> None:
        self._server = server
        self._rule_name = rule_name

    async def reached(self, count: int = 1, *, timeout_s: float = WAIT_DEFAULT_S) -> None:
        """Return once a total of `count` calls has arrived at the gate.   Raises TimeoutError."""
        await asyncio.to_thread(self.wait_reached, count, timeout_s=timeout_s)

    def wait_reached(self, count: int = 1, *, timeout_s: float = WAIT_DEFAULT_S) -> None:
        """The same for code that is not async."""
        self._server._wait_reached(self._rule_name, count, timeout_s)

    def release(self) -> None:
        """Answer the held calls, and answer later ones at once."""
        self._server.release(self._rule_name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class ModelServer:
    """A scripted model server on loopback. on_request: called before each request is answered, on the server's thread.

    Example:
        >>> from rewake.testing.models import ModelServer, rule, text
        >>> with ModelServer([rule(says="hello", answer=text("Hello yourself"))]) as server:
        ...     print(server.base_url.startswith("http://127.0.0.1:"), server.requests)
        True ()
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: Limits | None = None,
        on_request: Callable[[Exchange], None] | None = None,
    ) -> None:
        self._script = Script(rules, on_request)
        self._address = (host, port)
        self._limits = limits
        self._socket: socket.socket | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """The root URL, such as `http://127.0.0.1:41234`, for Gemini clients and ModelServerClient."""
        if self._socket is None:
            raise RuntimeError("The model server is not running: use it as a context manager, or call start().")
        host, port = self._socket.getsockname()[:2]
        return f"http://{host}:{port}"

    @property
    def base_url(self) -> str:
        """The `base_url` for OpenAI clients: the root with `/v1`."""
        return f"{self.url}/v1"

    def env(self) -> dict[str, str]:
        """Environment variables that make OpenAI and Gemini clients, and frameworks on them, use this server.

        They also switch off the trace export of the OpenAI Agents SDK, which would send data to the internet.
        """
        return client_environment(self.url)

    @property
    def requests(self) -> tuple[ModelRequest, ...]:
        """Every request so far, oldest first, unmatched ones included."""
        return tuple(exchange.request for exchange in self._script.exchanges())

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """Every request with the rule that took it, its outcome and its time."""
        return self._script.exchanges()

    @property
    def counts(self) -> dict[str, CallCount]:
        """Calls per rule."""
        return self._script.counts()

    def count(self, rule_name: str) -> CallCount:
        """Calls of one rule.   Raises ValueError for an unknown rule."""
        self._script.gate(rule_name)
        return self._script.count(rule_name)

    def hold(self, rule_name: str) -> HeldRule:
        """Hold the calls of a rule until `release`.   Raises ValueError for an unknown rule."""
        self._script.hold(rule_name)
        return HeldRule(self, rule_name)

    def release(self, rule_name: str) -> None:
        """Answer the held calls of a rule, and answer later ones at once."""
        self._script.release(rule_name)

    def use(self, *rules: Rule) -> None:
        """Replace the rules, and clear all records and counts."""
        self._script.use(rules)

    def reset(self) -> None:
        """Clear all records and counts, and set the gates back to the rules' own."""
        self._script.reset()

    def start(self) -> None:
        """Listen and serve.   Raises OSError if the port is in use."""
        if self._thread is not None:
            raise RuntimeError(f"The model server is already running at {self.url}")
        self._socket = listening_socket(*self._address, backlog=BACKLOG)
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name="model-server", daemon=True)
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        """Drop held calls and stop serving."""
        if self._thread is None or self._loop is None or self._stop is None or self._socket is None:
            return
        self._script.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._socket.close()
        self._thread = self._stop = self._socket = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _serve(self, ready: threading.Event) -> None:
        async def main() -> None:
            assert self._socket is not None
            self._loop = asyncio.get_running_loop()
            self._stop = asyncio.Event()
            self._script.attach(self._loop)
            # A client that was killed must count as gone at once, so its end of the connection is the end.
            server = HttpServer(plain_only(make_app(self._script)), self._limits, answers_half_closed=False)
            try:
                await server.start(self._socket)
                ready.set()
                await self._stop.wait()
                await server.stop(STOP_GRACE_S)
            finally:
                self._script.attach(None)
                self._loop = None

        asyncio.run(main())

    def _wait_reached(self, rule_name: str, count: int, timeout_s: float) -> None:
        if self._loop is None:
            raise RuntimeError("The model server is not running.")
        gate = self._script.gate(rule_name)
        arrived = asyncio.run_coroutine_threadsafe(self._script.wait_until(lambda: gate.reached >= count), self._loop)
        try:
            arrived.result(timeout_s)
        except TimeoutError:
            arrived.cancel()
            raise TimeoutError(
                f"{gate.reached} of {count} calls reached the rule {rule_name!r} within {timeout_s:g} s; "
                f"requests so far: {[exchange.rule for exchange in self.exchanges]}"
            ) from None


def client_environment(url: str) -> dict[str, str]:
    """The variables of ModelServer.env(), for a server in another process."""
    return {
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": API_KEY,
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "GOOGLE_GEMINI_BASE_URL": url,
        "GOOGLE_API_KEY": API_KEY,
        "GOOGLE_GENAI_USE_VERTEXAI": "false",
    }
