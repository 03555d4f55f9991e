"""WorkerProcess: one worker process on the engine's side, with its link, its streams and its end.

It lives once: spawned, ready or failed, perhaps retired, dead. worker_pool.py reacts to its death. The socket's
end-of-file shows the death, before the kernel reports the exit. Bytes that arrived are processed first; then every open
attempt fails. worker_main.py is the child's side, mux.py the framing between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import structlog

from rewake.core.model import Blame
from rewake.deployments import mux
from rewake.deployments.base import DiscoveryResponse
from rewake.deployments.framed_attempt import FramedAttempt, discovery_response
from rewake.deployments.speech import Hearing
from rewake.errors import ErrorCode, RewakeError
from rewake.outlets import ChildOutput, outlet_of

READ_BYTES: Final = 256 * 1024
START_TIMEOUT_S: Final = 60.0
"""Time for a child to import the app. Model frameworks take seconds; a server that is started at import never ends."""

EXIT_KNOWN_WITHIN_S: Final = 0.5
"""How long attempts of a quarantined worker wait for its exit code."""

OUTPUT_WITHIN_S: Final = 0.2
"""How long the report of its exit waits for its last lines of output."""

EXIT_TIMEOUT_S: Final = 3.0
"""Time for a child to exit after its link is closed; then it is killed."""

log = structlog.get_logger("rewake.deployments")

LoopKind = Literal["auto", "asyncio", "uvloop"]


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How children are started. app_ref: see app_loader.load_app.   loop: auto uses uvloop if it is installed.

    module: the child's module; tests use another one that runs code before worker_main.
    """

    app_ref: str
    module: str = "rewake.deployments.worker_main"
    loop: LoopKind = "auto"
    cwd: str | None = None
    env: dict[str, str] | None = None


class WorkerStream:
    """RequestStream of one attempt on a worker; keeps frames until it is bound to one.

    loss_count: workers that the invocation lost in a row.   group: attempts that may share its quarantine process.
    """

    __slots__ = ("_held", "attempt", "group", "id", "loss_count", "process")

    def __init__(self, loss_count: int = 0) -> None:
        self.loss_count = loss_count
        self.group: int | str = loss_count
        self.process: WorkerProcess | None = None
        self.id = 0
        self.attempt: FramedAttempt
        self._held: list[tuple[int, bytes]] | None = None

    def bind(self, process: WorkerProcess) -> None:
        """Open the stream on a ready worker, and send the kept frames."""
        self.process = process
        self.id = process.open_stream(self)
        held, self._held = self._held, None
        for kind, payload in held or ():
            process.link.write_frame(kind, self.id, payload)

    def hold(self, open_payload: bytes) -> None:
        """Keep the stream's frames until there is a worker."""
        self._held = [(mux.OPEN, open_payload)]

    def _write(self, kind: int, payload: bytes = b"") -> None:
        if self.process is not None:
            self.process.link.write_frame(kind, self.id, payload)
        elif self._held is not None:
            self._held.append((kind, payload))

    @property
    def handler(self) -> str:
        """`service/handler`."""
        start = self.attempt.start
        return f"{start.service}/{start.handler}"

    # RequestStream

    def write(self, data: bytes) -> None:
        self._write(mux.DATA, data)

    def end(self) -> None:
        self._write(mux.HALF_CLOSE)

    def finish(self) -> None:
        """Nothing to send: the child closes the request by itself after a terminal message."""
        if self.process is not None:
            self.process.forget_stream(self)
        del self.attempt  # It refers back to this object; without it there is no cycle to collect.

    def reset(self) -> None:
        self._held = None
        if self.process is not None and self.process.forget_stream(self):
            self.process.link.write_frame(mux.ABORT, self.id)


class EngineLink(mux.MuxProtocol):
    """The engine's end of the link: passes frames to the streams of its process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, process: WorkerProcess) -> None:
        super().__init__(loop)
        self._process = process
        self._hearing = Hearing()

    def data_received(self, data: bytes) -> None:
        self._process.heard_at_s = self.loop.time()
        super().data_received(data)

    def frame_received(self, kind: int, stream_id: int, payload: bytes) -> None:
        process = self._process
        if kind >= mux.SPEAK:
            self._hearing.take(kind, stream_id, payload)
            return
        if stream_id == mux.LINK:
            process.on_link_frame(kind, payload)
            return
        stream = process.streams.get(stream_id)
        if stream is None:
            return  # The stream was aborted, or ended, before the child sent this.
        if kind == mux.BODY:
            stream.attempt.on_data(payload)
        elif kind == mux.HEAD:
            stream.attempt.on_head(*mux.decode_head(payload))
        elif kind == mux.END:
            process.forget_stream(stream)
            stream.attempt.on_end()
        elif kind == mux.ERROR:
            process.forget_stream(stream)
            stream.attempt.on_app_error(payload.decode(errors="replace"))
        else:
            raise mux.MuxError(f"a frame of kind {kind} came from the worker")

    def link_lost(self, reason: Exception | None) -> None:
        self._hearing.lost()
        self._process.on_link_lost()


class WorkerProcess:
    """One child from spawn to exit.

    ready: resolves to the discovery answer, or fails with a RewakeError RW1xxx or RW2001, whose facts have a
    `returncode` if the child ended without a message.   exited: resolves to the return code.   on_dead: called once, as
    soon as no attempt can run here any more; not after close().   is_quarantine: it runs suspects; a suspect that was
    alone here when it died caused the death.   on_stream_end: called when an attempt has ended here.
    """

    def __init__(
        self, options: WorkerOptions, on_dead: Callable[[WorkerProcess], None], *, is_quarantine: bool = False
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.link = EngineLink(self.loop, self)
        self.streams: dict[int, WorkerStream] = {}
        self.ready: asyncio.Future[DiscoveryResponse] = self.loop.create_future()
        self.exited: asyncio.Future[int] = self.loop.create_future()
        self.started_at_s = self.loop.time()
        self.is_dead = False
        self.is_retired = False
        self.is_ping_open = False
        self.heard_at_s = 0.0
        self.restart_delay_ms = 0
        self.missing_keys: list[str] = []
        self.has_web = False
        self._options = options
        self._on_dead = on_dead
        self.is_quarantine = is_quarantine
        self.on_stream_end: Callable[[], None] | None = None
        self._on_drained: Callable[[], None] | None = None
        self._next_stream_id = 1
        self._timers: list[asyncio.TimerHandle] = []
        self._process = self._spawn()
        self.pid = self._process.pid

    def _spawn(self) -> subprocess.Popen[bytes]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._unread = ours.dup()
        options = self._options
        command = [sys.executable, "-m", options.module, "--fd", str(theirs.fileno())]
        command += ["--app", options.app_ref, "--loop", options.loop]
        outputs = {fd: ChildOutput(outlet) for fd in (1, 2) if (outlet := outlet_of(fd)) is not None}
        with theirs, contextlib.ExitStack() as on_failure:
            for resource in (ours.close, self._unread.close, *(output.discard for output in outputs.values())):
                on_failure.callback(resource)
            process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=outputs[1].fd if 1 in outputs else None,
                stderr=outputs[2].fd if 2 in outputs else None,
                cwd=options.cwd,
                env=child_env(options.env),
            )
            on_failure.pop_all()
        self._outputs = list(outputs.values())
        for output in self._outputs:
            output.start()
        threading.Thread(target=self._wait_for_exit, args=(process,), daemon=True).start()
        self._connecting = asyncio.ensure_future(self.loop.create_unix_connection(lambda: self.link, sock=ours))
        self._timers.append(self.loop.call_later(START_TIMEOUT_S, self._on_start_timeout))
        return process

    def _wait_for_exit(self, process: subprocess.Popen[bytes]) -> None:
        returncode = process.wait()
        for output in self._outputs:
            output.join(OUTPUT_WITHIN_S)
        with contextlib.suppress(RuntimeError):  # The loop is closed.
            self.loop.call_soon_threadsafe(self._on_exit, returncode)

    # Streams

    @property
    def is_available(self) -> bool:
        """Whether new attempts may start here."""
        return self.ready.done() and not self.is_dead and not self.is_retired and self.ready.exception() is None

    @property
    def is_busy(self) -> bool:
        """Whether it is too slow: its loop is blocked, or it does not read fast enough."""
        return self.is_ping_open or self.link.is_paused

    def open_stream(self, stream: WorkerStream) -> int:
        """Open a stream, and return its id for frames."""
        stream_id = self._next_stream_id
        self._next_stream_id = stream_id + 1 if stream_id < 0xFFFF_FFFF else 1
        self.streams[stream_id] = stream
        return stream_id

    def forget_stream(self, stream: WorkerStream) -> bool:
        """Close a stream; returns whether it was open here."""
        was_open = self.streams.pop(stream.id, None) is not None
        if self.on_stream_end is not None:
            self.on_stream_end()
        if not self.streams and self._on_drained is not None:
            self._on_drained()
        return was_open

    def ping(self) -> None:
        """Send a PING; it is_busy until the answer comes."""
        if self.is_available and not self.is_ping_open:
            self.is_ping_open = True
            self.link.write_frame(mux.PING, mux.LINK)

    # From the child

    def on_link_frame(self, kind: int, payload: bytes) -> None:
        """IMPORTING, READY, FAILED or PONG."""
        if kind == mux.PONG:
            self.is_ping_open = False
        elif kind == mux.IMPORTING:
            log.warning("still_importing", app=self._options.app_ref, pid=self.pid, **json.loads(payload))
        elif kind == mux.READY and not self.ready.done() and not self.is_dead:
            self._on_ready(json.loads(payload))
        elif kind == mux.FAILED and not self.ready.done():
            self._set_failed(_failure_of(json.loads(payload)))

    def _on_ready(self, told: dict[str, Any]) -> None:
        self._cancel_timers()
        where = f"The app {self._options.app_ref!r}"
        try:
            discovery = discovery_response(told["status"], told["headers"], told["body"].encode(), where=where)
        except RewakeError as error:
            self._set_failed(error)
            self.kill()
        else:
            self.missing_keys = told.get("missing_keys", [])
            self.has_web = bool(told.get("has_web"))
            self.ready.set_result(discovery)

    def on_link_lost(self) -> None:
        """The child died or closed the link: every attempt on it fails now."""
        if self.exited.done() or not self.is_quarantine:
            self._die()
        else:
            self._timers.append(self.loop.call_later(EXIT_KNOWN_WITHIN_S, self._die))
        if not self.exited.done():  # It closed its socket but may still run.
            self._timers.append(self.loop.call_later(EXIT_TIMEOUT_S, self.kill))

    def _on_exit(self, returncode: int) -> None:
        if not self.exited.done():
            self.exited.set_result(returncode)
        self._cancel_timers()
        if not self.ready.done():
            self._set_failed(self.died_young(returncode))
        self._die()

    def _on_start_timeout(self) -> None:
        text = f"It was not ready after {START_TIMEOUT_S:.0f} s."
        hint = "If the file starts a server when imported, put that under: if __name__ == '__main__':"
        self._set_failed(self._start_failed(text, hint))
        self.kill()

    def _start_failed(self, reason: str, hint: str = "What it printed above may say why.") -> RewakeError:
        message = f"The worker process for {self._options.app_ref!r} did not start.\n{reason}"
        return RewakeError(ErrorCode.WORKER_START_FAILED, message, hint, pid=self.pid)

    def died_young(self, returncode: int | None = None) -> RewakeError:
        """The error for a child that ended before it was ready or before its first attempt."""
        how = "" if returncode is None else f" with {describe_exit(returncode)}"
        error = self._start_failed(f"It ended{how} before it was ready.")
        error.facts["returncode"] = returncode
        return error

    def _set_failed(self, error: RewakeError) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # Mark as retrieved: not every caller waits for it.

    def _die(self) -> None:
        if self.is_dead:
            return
        self.is_dead = True
        self._read_out()
        if not self.is_retired:
            self._on_dead(self)
        is_alone = self.is_quarantine and len(self.streams) == 1
        if is_alone:
            self._fail_streams(self._killed(), None, Blame.ALONE)
        else:
            self._fail_streams(f"The worker process {self.pid} died.", 0, Blame.SHARED)
        if self.link.transport is not None:
            self.link.transport.abort()

    def _read_out(self) -> None:
        """Read what the child wrote before it died: it may have results of steps.

        The exit may be known before all bytes are read, and a write to the dead peer makes the transport drop them.
        """
        with self._unread:
            while self.link.transport is not None:
                try:
                    data = self._unread.recv(READ_BYTES)
                except OSError:
                    return
                if not data:
                    return
                self.link.data_received(data)

    def _killed(self) -> str:
        """The message for the only attempt in the dead process."""
        code = ErrorCode.WORKER_KILLED
        how = f" ({describe_exit(self.exited.result())})" if self.exited.done() else ""
        return (
            f"{code.value} The worker process {self.pid} died{how} while it ran this invocation and nothing else. "
            f"See: rewake explain {code.value}"
        )

    def _fail_streams(self, message: str, retry_after_ms: int | None, blame: Blame) -> None:
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            stream.attempt.on_error(message, retry_after_ms, blame)

    # The end

    def retire(self, grace_s: float) -> None:
        """Accept no new attempts; let the open ones suspend or finish, then exit.

        Attempts that are open after grace_s fail.
        """
        self.is_retired = True
        self._on_drained = self._hang_up
        for stream in list(self.streams.values()):
            stream.attempt.close_request()
        if self.streams:
            self._timers.append(self.loop.call_later(grace_s, self._end_of_grace))
        else:
            self._hang_up()

    def _end_of_grace(self) -> None:
        self._fail_streams("The worker process was replaced by a new one.", 0, Blame.NOBODY)
        self._hang_up()

    def _hang_up(self) -> None:
        self._on_drained = None
        if self.link.transport is not None:
            self.link.transport.close()

    async def close(self) -> None:
        """Abort every attempt without a call to its sink, and wait for the exit."""
        self.is_retired = True
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            stream.attempt.is_over = True
        self._cancel_timers()
        with contextlib.suppress(OSError):
            await self._connecting
        self._hang_up()
        done, _ = await asyncio.wait([self.exited], timeout=EXIT_TIMEOUT_S)
        if not done:
            self.kill()
            await self.exited

    def kill(self) -> None:
        """End the child by force."""
        if not self.exited.done():
            self._process.kill()

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


def describe_exit(returncode: int) -> str:
    """`exit code 3` or `os_signal SIGKILL`."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"os_signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"os_signal {-returncode}"


def _failure_of(told: dict[str, str]) -> RewakeError:
    error = RewakeError(ErrorCode(told["code"]), told["message"], told["hint"])
    error.facts["traceback"] = told["traceback"]
    return error


def child_env(more: dict[str, str] | None = None) -> dict[str, str]:
    """The environment for a child that can import this package. more: additional variables."""
    env = {**os.environ, **(more or {})}
    root = str(Path(__file__).resolve().parents[2])
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [root, env.get("PYTHONPATH")]))
    return env
