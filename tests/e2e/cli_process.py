"""`rewake` as a real process: short commands run to their end, `run` and `server` kept open beside a test."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

from tests.warm import Warm, framework_of, run_warm

ROOT: Final = Path(__file__).parents[2]
WAIT_S: Final = 90.0
POLL_S: Final = 0.02

APP: Final = '''
"""Handlers the tests of the CLI call."""
import time
from datetime import timedelta

import restate

steps = restate.Service("Steps")
counter = restate.VirtualObject("Counter")


async def one() -> int:
    return 1


@steps.handler()
async def two(ctx: restate.Context, number: int) -> int:
    """Two steps and a call."""
    first = await ctx.run_typed("first", one)
    return number + first + await ctx.object_call(add, "k", 1)


@steps.handler()
async def fail(ctx: restate.Context, number: int) -> int:
    raise ValueError("not today")


@steps.handler()
async def refuse(ctx: restate.Context, number: int) -> int:
    raise restate.TerminalError("we do not do that", 418)


@steps.handler()
async def wait(ctx: restate.Context, number: int) -> int:
    _, resolved = ctx.awakeable(type_hint=int)
    return await resolved


@steps.handler()
async def nap(ctx: restate.Context, seconds: float) -> str:
    await ctx.sleep(timedelta(seconds=seconds))
    return "rested"


@steps.handler()
async def block(ctx: restate.Context, seconds: float) -> str:
    """Stalls its whole process."""
    time.sleep(seconds)
    return "done"


@steps.handler()
async def pid(ctx: restate.Context) -> int:
    import os
    return os.getpid()


@counter.handler()
async def add(ctx: restate.ObjectContext, number: int) -> int:
    count = (await ctx.get("count", type_hint=int) or 0) + number
    ctx.set("count", count)
    return count
'''


def environment(**more: str) -> dict[str, str]:
    """The environment of a user: this package importable, none of its settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REWAKE_", "OPENAI_"))}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1", **more}


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "rewake", *map(str, args)]


def rewake(*args: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    framework = _framework(args, cwd)
    return run_warm(command(*args), framework=framework, timeout_s=WAIT_S, cwd=cwd, env=environment(**env))


def _framework(args: Sequence[str | Path], cwd: Path) -> str:
    """What the app of a command imports."""
    if args[0] == "demo":
        return "agents"
    return framework_of(cwd / args[1]) if args[0] in ("run", "serve") and len(args) > 1 else ""


class Running:
    """`rewake run`, `server`, `serve` or `ui` on free ports, until the `with` ends. Its log is read as events."""

    def __init__(self, *args: str | Path, cwd: Path, log_format: str = "json", framework: str = "", **env: str) -> None:
        ports = ("--port",) if args[0] in ("serve", "ui") else ("--ingress-port", "--admin-port")
        free = [word for port in ports if port not in args for word in (port, "0")]
        self.process = Warm(
            command(*args, *free, "--log-format", log_format),
            framework=framework or _framework(args, cwd),
            cwd=cwd,
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.cwd = cwd
        self.lines: list[str] = []
        self.ingress_port = self.admin_port = self.port = 0
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._unmatched: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        try:
            ready = self.wait_for("ready")
        except BaseException:
            self.close()
            raise
        self.ingress_port, self.admin_port = ready.get("ingress_port", 0), ready.get("admin_port", 0)
        self.port, self.web_port = ready.get("port", 0), ready.get("web_port", 0)
        self.worker_pids: list[int] = ready.get("worker_pids", [])
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            with contextlib.suppress(ValueError):
                self._events.put(json.loads(line))
        self._events.put(None)

    def wait_for(self, name: str, timeout_s: float = WAIT_S) -> dict[str, Any]:
        """The earliest event `name` of the log that nobody has waited for yet."""
        for index, event in enumerate(self._unmatched):
            if event.get("event") == name:
                return self._unmatched.pop(index)
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                told = self._events.get(timeout=max(deadline_s - time.monotonic(), 0))
            except queue.Empty:
                raise AssertionError(f"no {name!r} within {timeout_s} s; log:\n" + "\n".join(self.lines)) from None
            if told is None:
                raise AssertionError(f"ended before {name!r}; log:\n" + "\n".join(self.lines))
            if told.get("event") == name:
                return told
            self._unmatched.append(told)

    def wait_for_worker(self) -> int:
        """The process id of the next worker that became ready."""
        pid: int = self.wait_for("worker_became_ready")["pid"]
        return pid

    def kill_worker(self) -> None:
        """kill -9 of the only one, once it is ready."""
        os.kill(self.wait_for_worker(), signal.SIGKILL)

    def stop(self, os_signal: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop and wait; its exit code."""
        self.process.send_signal(os_signal)
        return self.process.wait(WAIT_S)

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def call(self, path: str, body: Any = None, *, method: str = "POST") -> tuple[int, Any]:
        """Status and decoded body of one ingress request."""
        with self.connection() as connection:
            given = (json.dumps(body), {"content-type": "application/json"}) if body is not None else (None, {})
            connection.request(method, path, *given)
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text else None

    @contextlib.contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection("127.0.0.1", self.ingress_port, timeout=WAIT_S)
        try:
            yield connection
        finally:
            connection.close()

    def send(self, path: str, body: Any = None) -> str:
        """Enqueue a call; its invocation id."""
        status, answer = self.call(f"{path}/send", body)
        assert status == 202, answer
        return str(answer["invocationId"])

    def cli(self, *args: str) -> subprocess.CompletedProcess[str]:
        """A client command against this engine."""
        return rewake(*args, cwd=self.cwd, REWAKE_ADMIN=self.admin_url)

    def rows(self, sql: str) -> Any:
        """The rows of a query, over the command line."""
        result = self.cli("sql", sql, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def until(self, sql: str, timeout_s: float = WAIT_S) -> Any:
        """The rows of a query, asked again over HTTP until there are some."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=WAIT_S)
            headers = {"content-type": "application/json", "accept": "application/json"}
            connection.request("POST", "/query", json.dumps({"query": sql}), headers)
            rows = json.loads(connection.getresponse().read())["rows"]
            connection.close()
            if rows:
                return rows
            assert time.monotonic() < deadline_s, f"no rows for {sql!r}; log:\n" + "\n".join(self.lines)
            time.sleep(POLL_S)  # The engine under test needs the processor.
