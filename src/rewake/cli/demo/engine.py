"""The demo's engine: `rewake run` as a child process. Its log gives events, its admin API the journal."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rewake.cli.admin_client import AdminClient, sql_text
from rewake.errors import ErrorCode, RewakeError

TAIL_LINES: Final = 30
STOP_TIMEOUT_S: Final = 15.0

WORKER_DIED: Final = "RT0010"
FAILURES_MAX: Final = 2
"""Failed attempts the engine may have to retry, crashes aside, before the demo gives up."""

Event = dict[str, Any]


class DemoEngine:
    """`rewake run app` on ports of its own."""

    def __init__(self, app: Path, data: Path, environment: Mapping[str, str], ports: tuple[int, int]) -> None:
        command = [sys.executable, "-m", "rewake", "run", str(app), "--data", str(data), "--log-format", "json"]
        command += ["--exit-with-stdin"]  # However the demo ends, the engine and its workers end with it.
        command += ["--ingress-port", str(ports[0]), "--admin-port", str(ports[1]), "--stop-grace", "1s"]
        # A session of its own: Ctrl-C is ours to pass on, once the story has been cleaned up.
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.ingress_port = self.admin_port = 0
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._failures: list[Event] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._tail.append(line.rstrip())
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    self._events.put(event)
                    if event.get("event") == "attempt_failed" and event.get("code") != WORKER_DIED:
                        self._failures.append(event)
        self._events.put(None)

    def wait_for(self, name: str, timeout_s: float) -> Event:
        """The next event `name`. Raises RewakeError when the engine ends or the time is up."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                event = self._events.get(timeout=max(deadline_s - time.monotonic(), 0))
            except queue.Empty:
                raise self.failed(f"The engine did not report {name!r} within {timeout_s:.0f} s.") from None
            if event is None:
                raise self.failed(f"The engine ended with exit code {self._process.wait()}.")
            if event.get("event") == name:
                return event

    def wait_until_ready(self, timeout_s: float) -> list[int]:
        """Wait for the engine and its workers; the workers' process ids."""
        event = self.wait_for("ready", timeout_s)
        self.ingress_port, self.admin_port = event["ingress_port"], event["admin_port"]
        pids: list[int] = event["worker_pids"]
        return pids

    def check(self) -> None:
        """Raise RewakeError when attempts keep failing, with what the last one said."""
        if len(self._failures) > FAILURES_MAX:
            raise RewakeError(
                ErrorCode.DEMO_FAILED,
                f"The agents keep failing.\n{self._failures[-1].get('message')}",
                "Check OPENAI_API_KEY and OPENAI_BASE_URL, or unset OPENAI_API_KEY to use the scripted model server.",
            )

    @property
    def ingress_url(self) -> str:
        """Root of the ingress."""
        return f"http://127.0.0.1:{self.ingress_port}"

    @property
    def admin_url(self) -> str:
        """Root of the admin API."""
        return f"http://127.0.0.1:{self.admin_port}"

    def invocation_of(self, target: str) -> str | None:
        """The id of the one invocation of `target`; None while it does not exist."""
        rows = AdminClient(self.admin_url).query(f"select id from sys_invocation where target = {sql_text(target)}")
        return rows[0]["id"] if rows else None

    def journal(self, invocation_id: str) -> list[dict[str, Any]]:
        """The journal's entries, decoded, in order."""
        rows = AdminClient(self.admin_url).query(
            f"select entry_json from sys_journal where id = {sql_text(invocation_id)} order by index"
        )
        return [json.loads(row["entry_json"]) for row in rows]

    def failed(self, message: str) -> RewakeError:
        """An error that shows what the engine said last."""
        tail = "\n".join(self._tail)
        return RewakeError(ErrorCode.DEMO_FAILED, f"{message}\nIts last lines:\n{tail}" if tail else message)

    def wait_for_end(self) -> None:
        """Wait until interrupted. Raises RewakeError when the engine ends by itself."""
        raise self.failed(f"The engine ended with exit code {self._process.wait()}.")

    def stop(self) -> None:
        """End it gracefully, or by force when that takes too long. Idempotent."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.close()


def preferred_ports(*, keep: bool) -> tuple[int, int]:
    """The usual ports if both are free and somebody will use them, else any."""
    usual = (8080, 9070)
    return usual if keep and all(_is_free(port) for port in usual) else (0, 0)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
