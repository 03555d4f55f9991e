"""The child process: loads the app and serves attempts over an inherited socket.

worker.py runs it as `python -m rewake.deployments.worker_main --fd N --app REF`. One asyncio task per attempt calls the
ASGI app; everything else is callbacks. It does not decode messages, but after a terminal message it closes the request
by itself, which saves a round trip. It exits when the engine does, even if user code blocks the loop. It imports as
little as possible, because this time passes between a crash and the resume.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

from rewake.deployments import mux
from rewake.deployments.asgi import (
    DISCONNECT,
    END_OF_REQUEST,
    REQUEST_SCOPE,
    Event,
    Receiving,
    call_discovery,
)
from rewake.deployments.provider_keys import missing_keys
from rewake.deployments.speech import Speech
from rewake.deployments.waking import Waker, watching
from rewake.errors import RewakeError
from rewake.ext import direct
from rewake.garbage import GC_THRESHOLD, give_back
from rewake.json_records import configure_records
from rewake.lean_imports import without
from rewake.protocol.peeking import read_sent

EXIT_GRACE_S: Final = 2.0
"""Time for user code to clean up after the engine has ended."""

PARENT_CHECK_MS: Final = 1000
"""Time between checks of the parent's pid, in case another process holds the parent's end of the socket."""

COLLECT_AFTER_ATTEMPTS: Final = 1_000
COLLECT_WHEN_QUIET_S: Final = 1.0
"""After so many attempts, and then so long without any, garbage is collected and free memory released."""

# Exit codes of the child, for worker.py and the log.
EXIT_IMPORT_FAILED: Final = 3
EXIT_ENGINE_GONE: Final = 4

_PR_SET_PDEATHSIG: Final = 1

App = Callable[[dict[str, Any], Any, Any], Coroutine[Any, Any, None]]


class ChildStream(Receiving):
    """One attempt inside the child: the `receive` and `send` of its ASGI call."""

    __slots__ = ("_body", "_link", "id", "is_ended", "is_request_over", "task")

    def __init__(self, link: ChildLink, stream_id: int, body: bytes) -> None:
        super().__init__(link.loop, link.waker)
        self.id = stream_id
        self.is_ended = False
        self.is_request_over = False
        self.task: asyncio.Task[None] | None = None
        self._link = link
        self._body: list[bytes] = []
        if body:
            self._events.append({"type": "http.request", "body": body, "more_body": True})

    def feed(self, body: bytes) -> None:
        """A further part of the request."""
        if not self.is_request_over:
            super().feed(body)

    def finish_request(self) -> None:
        """The request ended; idempotent."""
        if not self.is_request_over:
            self.is_request_over = self.is_deaf = True
            self.put(END_OF_REQUEST)

    def abort(self) -> None:
        """The engine aborted the attempt: let the app know, and stop its task."""
        self.is_request_over = self.is_ended = self.is_deaf = True
        self._body.clear()
        self.put(DISCONNECT)
        if self.task is not None:
            self.task.cancel()

    async def send(self, event: Event) -> None:
        """ASGI send: waits only if the engine reads more slowly than the handlers write."""
        if self.is_ended:
            return
        link = self._link
        if event["type"] == "http.response.body":
            body = event.get("body", b"")
            if body:
                if not self._body:
                    link.has_body_to_send(self)
                self._body.append(body)
                sent = read_sent(body)
                self._waker.answered(self, sent.command_count)
                if sent.ends_attempt:
                    self.finish_request()
            if not event.get("more_body", False):
                self._end(mux.END)
        elif event["type"] == "http.response.start":
            link.write_frame(mux.HEAD, self.id, link.head_of(event))
        if link.is_paused:
            await link.drain()

    def on_task_done(self, task: asyncio.Task[None]) -> None:
        """The app returned or raised; report that to the engine if the response has not ended."""
        self._link.forget(self)
        self.task = self.channel = None  # Both refer back to this object; without them there is no cycle to collect.
        self.is_deaf = True
        error = None if task.cancelled() else task.exception()
        if self.is_ended:
            return
        if error is None:
            self._end(mux.END)
        else:
            self._end(mux.ERROR, "".join(traceback.format_exception_only(error)).strip().encode())

    def _end(self, kind: int, payload: bytes = b"") -> None:
        self.is_ended = True
        self.write_body()
        self._link.write_frame(kind, self.id, payload)

    def write_body(self) -> None:
        """Write all bytes since the last flush as one frame."""
        if self._body:
            body, self._body = self._body, []
            self._link.write_frame(mux.BODY, self.id, body[0] if len(body) == 1 else b"".join(body))


class ChildLink(mux.MuxProtocol):
    """The child's end of the link: starts and feeds the streams."""

    def __init__(self, loop: asyncio.AbstractEventLoop, app: App) -> None:
        super().__init__(loop)
        self.waker = Waker(loop)
        direct.relay = Speech(self).open
        self._app = app
        self._streams: dict[int, ChildStream] = {}
        self._with_body: list[ChildStream] = []
        self._heads: dict[int, tuple[Any, bytes]] = {}
        self._ended_count = 0
        self._collecting: asyncio.TimerHandle | None = None
        self.closed = loop.create_future()

    def frame_received(self, kind: int, stream_id: int, payload: bytes) -> None:
        if kind == mux.OPEN:
            self._open(stream_id, payload)
            return
        if stream_id == mux.LINK:
            if kind == mux.PING:
                self.write_frame(mux.PONG, mux.LINK, payload)
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            return  # The stream ended before this arrived.
        if kind == mux.DATA:
            stream.feed(payload)
        elif kind == mux.HALF_CLOSE:
            stream.finish_request()
        elif kind == mux.ABORT:
            stream.abort()

    def _open(self, stream_id: int, payload: bytes) -> None:
        path, headers, body = mux.decode_open(payload)
        scope = REQUEST_SCOPE.copy()
        scope["path"] = path.decode()
        scope["raw_path"] = path
        scope["headers"] = headers
        stream = self._streams[stream_id] = ChildStream(self, stream_id, body)
        stream.task = self.loop.create_task(self._app(scope, stream.receive, stream.send), context=watching(stream))
        stream.task.add_done_callback(stream.on_task_done)

    def head_of(self, event: Event) -> bytes:
        """The HEAD payload. An SDK sends only a few different heads, so the last one of each status is kept."""
        status, headers = event["status"], event.get("headers", [])
        known = self._heads.get(status)
        if known is not None and known[0] == headers:
            return known[1]
        head = mux.encode_head(status, [(name, value) for name, value in headers])
        self._heads[status] = (headers, head)
        return head

    def has_body_to_send(self, stream: ChildStream) -> None:
        """Write the stream's body at the next flush."""
        self._with_body.append(stream)
        self.flush_soon()

    def before_flush(self) -> None:
        streams, self._with_body = self._with_body, []
        for stream in streams:
            stream.write_body()

    def forget(self, stream: ChildStream) -> None:
        self._streams.pop(stream.id, None)
        self._ended_count += 1
        if not self._streams and self._ended_count >= COLLECT_AFTER_ATTEMPTS and self._collecting is None:
            self._collecting = self.loop.call_later(COLLECT_WHEN_QUIET_S, self._collect)

    def _collect(self) -> None:
        self._collecting = None
        if not self._streams:
            self._ended_count = 0
            gc.collect()
            give_back()

    def link_lost(self, reason: Exception | None) -> None:
        for stream in list(self._streams.values()):
            stream.abort()
        if not self.closed.done():
            self.closed.set_result(None)


async def _serve(sock: socket.socket, app: App, *, has_web: bool) -> None:
    loop = asyncio.get_running_loop()
    link = ChildLink(loop, app)
    status, headers, body = await call_discovery(app)
    ready = {
        "pid": os.getpid(),
        "status": status,
        "headers": headers,
        "body": body.decode(errors="replace"),
        "missing_keys": missing_keys(),
        "has_web": has_web,
    }
    link.write_frame(mux.READY, mux.LINK, json.dumps(ready).encode())
    await loop.create_unix_connection(lambda: link, sock=sock)
    await link.closed
    for task in asyncio.all_tasks(loop) - {asyncio.current_task()}:
        task.cancel()


# Life and death


def _run(loop: asyncio.AbstractEventLoop, serving: Coroutine[Any, Any, None]) -> None:
    """Run to the end. If user code in a task calls sys.exit(), the loop is run again for the other attempts."""
    task = loop.create_task(serving)
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt):
            if task.done():
                raise
            traceback.print_exc()


def _watch_the_engine(sock: socket.socket, parent_pid: int) -> None:
    """End the process when the engine has ended, even if the loop is blocked. Runs in its own thread."""
    poller = select.poll()
    poller.register(sock, getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR)
    while not poller.poll(PARENT_CHECK_MS) and os.getppid() == parent_pid:
        pass
    time.sleep(EXIT_GRACE_S)
    os._exit(EXIT_ENGINE_GONE)


def die_with_parent() -> None:
    """Have Linux do the same, for user code that never releases the interpreter lock."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _report_failure(sock: socket.socket, error: RewakeError, traceback_text: str) -> None:
    with contextlib.suppress(OSError):
        sock.setblocking(True)
    _report(sock, mux.FAILED, {**error.to_json(), "traceback": traceback_text})


def _report(sock: socket.socket, kind: int, facts: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        sock.sendall(mux.encode_frame(kind, mux.LINK, json.dumps(facts).encode()))


@contextlib.contextmanager
def loop_runner(kind: str) -> Iterator[asyncio.Runner]:
    factory = None
    if kind != "asyncio":
        try:
            import uvloop

            factory = uvloop.new_event_loop
        except ImportError:
            if kind == "uvloop":
                raise
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner


def main(argv: list[str] | None = None) -> int:
    """Entry point of the child. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="rewake-worker")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--app", required=True)
    parser.add_argument("--loop", choices=("auto", "asyncio", "uvloop"), default="auto")
    options = parser.parse_args(argv)

    # The terminal sends Ctrl-C to the whole process group; the engine decides for its workers.
    signal.signal(signal.SIGINT, lambda *_: None)
    sock = socket.socket(fileno=options.fd)
    os.set_inheritable(options.fd, False)
    die_with_parent()
    threading.Thread(target=_watch_the_engine, args=(sock, os.getppid()), daemon=True).start()
    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):
            output.reconfigure(line_buffering=True)

    configure_records()
    gc.set_threshold(*GC_THRESHOLD)  # Before the import, so that the app may change it.
    from rewake.deployments.app_loader import AppImportError, load
    from rewake.deployments.repeated_tracebacks import print_tracebacks_once
    from rewake.deployments.slow_imports import reported
    from rewake.deployments.step_lines import keep_lines

    sys.argv = [options.app]
    try:
        with without("httpx._main"), reported(lambda facts: _report(sock, mux.IMPORTING, facts)):
            loaded = load(options.app)
    except AppImportError as error:
        _report_failure(sock, error, error.traceback_text)
        return EXIT_IMPORT_FAILED
    print_tracebacks_once()
    keep_lines()
    gc.freeze()  # Objects made by the import stay: collections skip them.
    with loop_runner(options.loop) as runner:
        _run(runner.get_loop(), _serve(sock, loaded.app, has_web=loaded.web is not None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
