"""The processes: the engine with its workers, the same app over HTTP, the scripted models; and what is done to them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil

from rewake.testing.models import ModelRequest, ModelServer, Text, ToolCalls, rule, text, tool_call

ROOT: Final = Path(__file__).parents[2]
APP: Final = ROOT / "tests" / "chaos" / "app.py"
PREFIXES: Final = ("", "Far")
ACCOUNTS: Final = 10
UP_WITHIN_S: Final = 120.0  # a worker imports agents for long where others use the machine, too
FROZEN_S: Final = 0.7
_PORTS: Final = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections, or one of them takes a port while its owner is dead."""


class World:
    """All of it, until the `with` ends. options: of `rewake run`.

    ledger: what was done, see ledger.py.   recoveries_s: from each fault to the next answer.
    """

    def __init__(self, folder: Path, chance: random.Random, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._options = options
        self.ledger = folder / "ledger"
        self.ledger.touch()
        self.faults: Counter[str] = Counter()
        self.recoveries_s: list[float] = []
        self.ingress_port, self.admin_port, self.app_port = _free_ports(3, chance)
        self._ledger = os.open(self.ledger, os.O_WRONLY | os.O_APPEND)
        self._models = ModelServer(self._rules())
        self._engine: subprocess.Popen[bytes] | None = None
        self._app: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.push(self)
            self._models.start()
            self._start_engine()
            self._start_app()
            self._await_answer("")
            self._register()
            self._await_answer("Far")
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (self._engine, self._app):
            if process is not None:
                _kill_tree(process)
        self._models.stop()
        os.close(self._ledger)

    # What is asked

    def call(self, path: str, body: Any, *, idempotency_key: str = "", leaves_after_s: float | None = None) -> Any:
        """The answer of a call; without a body, that of a GET.

        Raises OSError or HTTPException without an answer, ValueError for an error.

        leaves_after_s: the caller goes away then, whatever has come.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.ingress_port, timeout=leaves_after_s or UP_WITHIN_S)
        headers = {"content-type": "application/json"}
        if idempotency_key:
            headers["idempotency-key"] = idempotency_key
        try:
            if body is None:
                connection.request("GET", path)
            else:
                connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= 500:
            raise ConnectionError(f"{response.status} {answer[:200]!r}")
        if response.status >= 300:
            raise ValueError(f"{path} {body!r}: {response.status} {answer[:500]!r}")
        return json.loads(answer)

    def count(self, prefix: str, account: int, *, leaves_after_s: float | None = None) -> Any:
        """How many bookings an account has."""
        return self.call(f"/{prefix}Account/{prefix}-{account}/count", {}, leaves_after_s=leaves_after_s)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a query."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=UP_WITHIN_S)
        try:
            headers = {"content-type": "application/json", "accept": "application/json"}
            connection.request("POST", "/query", json.dumps({"query": sql}), headers)
            rows: list[dict[str, Any]] = json.loads(connection.getresponse().read())["rows"]
        finally:
            connection.close()
        return rows

    @property
    def engine_pid(self) -> int:
        """Of the engine that runs at the moment."""
        assert self._engine is not None
        return self._engine.pid

    # What is done to it

    def fault(self, chance: random.Random) -> None:
        """One of the faults; returns when an answer comes again."""
        faults = {
            self.kill_engine: 3,
            self.kill_worker: 4,
            self.kill_app: 3,
            self.stop_engine: 1,
            self.freeze_worker: 1,
        }
        fault = chance.choices(list(faults), list(faults.values()))[0]
        self.faults[fault.__name__.replace("_", " ")] += 1
        began = time.monotonic()
        fault()
        self._await_answer("Far" if fault == self.kill_app else "")
        self.recoveries_s.append(time.monotonic() - began)

    def kill_engine(self) -> None:
        """SIGKILL; its workers go with it. Started again at once."""
        assert self._engine is not None
        self._engine.kill()
        self._engine.wait()
        self._start_engine()

    def stop_engine(self) -> None:
        """SIGTERM, as a deploy does."""
        assert self._engine is not None
        self._engine.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._engine.wait(UP_WITHIN_S)
        _kill_tree(self._engine)
        self._start_engine()

    def kill_worker(self) -> None:
        """SIGKILL of the worker; the engine replaces it."""
        for worker in self._workers():
            with contextlib.suppress(psutil.Error):
                worker.kill()

    def freeze_worker(self) -> None:
        """A worker that stands still for a while."""
        workers = self._workers()
        for worker in workers:
            with contextlib.suppress(psutil.Error):
                worker.suspend()
        time.sleep(FROZEN_S)
        for worker in workers:
            with contextlib.suppress(psutil.Error):
                worker.resume()

    def kill_app(self) -> None:
        """SIGKILL of the deployment that is reached over HTTP. Started again at once."""
        assert self._app is not None
        self._app.kill()
        self._app.wait()
        self._start_app()

    # Processes

    def _workers(self) -> list[psutil.Process]:
        assert self._engine is not None
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self._engine.pid).children()
        return []

    def _start_engine(self) -> None:
        ports = ["--ingress-port", str(self.ingress_port), "--admin-port", str(self.admin_port)]
        options = ["--data", str(self.data), "--stop-grace", "2s", *self._options]
        self._engine = self._spawn("engine", "run", str(APP), *ports, *options)

    def _start_app(self) -> None:
        self._app = self._spawn("app", "serve", str(APP), "--port", str(self.app_port), CHAOS_PREFIX="Far")

    def _spawn(self, name: str, *args: str, **more: str) -> subprocess.Popen[bytes]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("REWAKE_", "OPENAI_"))}
        environment = {**kept, **self._models.env(), "CHAOS_LEDGER": str(self.ledger), **more}
        environment["PYTHONPATH"] = str(ROOT / "src")
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "rewake", *args, "--log-format", "json"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _register(self) -> None:
        deadline = time.monotonic() + UP_WITHIN_S
        body = json.dumps({"uri": f"http://127.0.0.1:{self.app_port}"})
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=UP_WITHIN_S)
            connection.request("POST", "/deployments", body, {"content-type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            connection.close()
            if response.status in (200, 201):
                return
            assert time.monotonic() < deadline, answer
            time.sleep(0.05)  # It is not up yet.

    def _await_answer(self, prefix: str) -> None:
        """Until a deployment answers through the engine."""
        deadline = time.monotonic() + UP_WITHIN_S
        while True:
            try:
                self.count(prefix, 0, leaves_after_s=2.0)
            except (OSError, http.client.HTTPException, ValueError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    # The models

    def _rules(self) -> list[Any]:
        return [
            rule(system="You route", answer=self._hand_over),
            rule(system="You are the specialist", after_tool="look_up_cover", answer=self._answer),
            rule(system="You are the specialist", answer=self._use_tool),
        ]

    def _note(self, request: ModelRequest, number: int) -> str:
        found = re.search(r"\[([^\]]+)\]", request.messages[0].text)
        assert found is not None
        os.write(self._ledger, f"{found[1]} {number} model\n".encode())
        return found[1]

    def _hand_over(self, request: ModelRequest) -> ToolCalls:
        self._note(request, 0)
        return tool_call("transfer_to_specialist")

    def _use_tool(self, request: ModelRequest) -> ToolCalls:
        return tool_call("look_up_cover", {"run": self._note(request, 1)})

    def _answer(self, request: ModelRequest) -> Text:
        self._note(request, 3)
        return text(request.tool_results[-1].text.rpartition(" ")[2])


def _free_ports(count: int, chance: random.Random) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        port = chance.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    process.kill()
    process.wait()
