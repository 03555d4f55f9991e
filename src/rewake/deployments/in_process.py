"""Handlers inside the engine's own loop: each attempt is one task that calls the ASGI app.

This is the smallest transport, without a process or a socket. A handler that blocks also blocks the engine, so it is
for embedding and tests, and `rewake run` uses worker.py. The rules of the protocol are in framed_attempt.py.
"""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from typing import Any

from rewake.deployments.asgi import (
    DISCONNECT,
    END_OF_REQUEST,
    REQUEST_SCOPE,
    Event,
    Receiving,
    call_discovery,
)
from rewake.deployments.base import AttemptHandle, AttemptSink, AttemptStart, DiscoveryResponse, ProtocolType
from rewake.deployments.channels import feed_channels_at_once
from rewake.deployments.containment import contain
from rewake.deployments.framed_attempt import (
    FramedAttempt,
    discovery_response,
    invoke_path,
    protocol_type_of,
    request_headers,
)
from rewake.deployments.signatures import remember_signatures
from rewake.deployments.step_lines import keep_lines
from rewake.deployments.waking import Waker, watching
from rewake.protocol.peeking import read_sent


class InProcessDeployment:
    """DeploymentClient for an ASGI app object in this process."""

    def __init__(self, app: Any) -> None:
        contain()
        keep_lines()
        remember_signatures()
        feed_channels_at_once()
        self.protocol_type: ProtocolType = "bidi"
        self._app = app
        self._calls: set[_Call] = set()
        self._context = contextvars.copy_context()
        self._waker: Waker | None = None

    async def discover(self) -> DiscoveryResponse:
        """Call the app's discovery with a scope for HTTP/2, so that the app offers full duplex.

        It runs on another thread: at its first request on the main thread the SDK replaces the SIGTERM handler for
        good, and the embedding program would lose its own.
        """
        status, headers, body = await asyncio.to_thread(lambda: asyncio.run(call_discovery(self._app)))
        response = discovery_response(status, headers, body, where="The app")
        self.protocol_type = protocol_type_of(response)
        return response

    def start_attempt(self, start: AttemptStart, sink: AttemptSink) -> AttemptHandle:
        """Begin one attempt; the app starts in the next turn of the event loop."""
        loop = asyncio.get_running_loop()
        if self._waker is None:
            self._waker = Waker(loop)
        call = _Call(start, sink, loop, self._waker, self._context)
        scope = REQUEST_SCOPE.copy()
        scope["raw_path"] = path = invoke_path(start)
        scope["path"] = path.decode()
        scope["headers"] = request_headers(start)
        call.task = loop.create_task(self._app(scope, call.receive, call.send), context=watching(call))
        call.task.add_done_callback(call.on_task_done)
        self._calls.add(call)
        call.task.add_done_callback(lambda _: self._calls.discard(call))
        return call.attempt

    async def close(self) -> None:
        """Abort every attempt and wait for their tasks to end."""
        calls = list(self._calls)
        for call in calls:
            call.attempt.abort()
            call.reset()
        await asyncio.gather(*(call.task for call in calls if call.task is not None), return_exceptions=True)


class _Call(Receiving):
    """One ASGI call: a RequestStream for the FramedAttempt, and `receive` and `send` for the app."""

    __slots__ = ("_context", "_incoming", "_is_closed", "attempt", "task")

    def __init__(
        self,
        start: AttemptStart,
        sink: AttemptSink,
        loop: asyncio.AbstractEventLoop,
        waker: Waker,
        context: contextvars.Context,
    ) -> None:
        super().__init__(loop, waker)
        self.attempt = FramedAttempt(start, sink, self)
        self.task: asyncio.Task[None] | None = None
        self._context = context
        self._incoming: list[Event] = []
        self._is_closed = False
        if start.frames:
            self.put({"type": "http.request", "body": start.frames, "more_body": True})

    # RequestStream

    def write(self, data: bytes) -> None:
        self.feed(data)

    def end(self) -> None:
        if not self._is_closed:
            self._is_closed = self.is_deaf = True
            self.put(END_OF_REQUEST)

    def finish(self) -> None:
        self.end()

    def reset(self) -> None:
        self._is_closed = self.is_deaf = True
        self.put(DISCONNECT)
        if self.task is not None:
            self.task.cancel()

    # ASGI

    async def send(self, event: Event) -> None:
        """Keep the event for the loop's next turn: the engine must not run inside the handler's call or context."""
        if not self._incoming:
            self._loop.call_soon(self._deliver, context=self._context)
        self._incoming.append(event)
        if body := event.get("body"):
            self._waker.answered(self, read_sent(body).command_count)

    def on_task_done(self, task: asyncio.Task[None]) -> None:
        self._loop.call_soon(self._deliver_end, task, context=self._context)

    def _deliver(self) -> None:
        events, self._incoming = self._incoming, []
        for event in events:
            if event["type"] == "http.response.start":
                self.attempt.on_head(event["status"], event.get("headers", ()))
            elif event["type"] == "http.response.body":
                if body := event.get("body", b""):
                    self.attempt.on_data(bytes(body))
                if not event.get("more_body", False):
                    self.attempt.on_end()

    def _deliver_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            self.attempt.on_end()
        else:
            text = "".join(traceback.format_exception_only(error)).strip()
            self.attempt.on_app_error(text)
