"""What is compared, each as a peer that starts, answers and stops.

`Restate` is the real server from npm with the app on hypercorn (h2c, hypercorn's defaults); `Rewake` is `rewake run`;
`RewakeHttp2` is `rewake server` with the very same app process that the real server drives.
Both get free ports, an empty data folder on the same disk and their own default durability: neither is told to skip an
fsync. See README.md for what those defaults are.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from bench import processes

REPOSITORY = Path(__file__).resolve().parent.parent
SCRATCH = REPOSITORY / ".bench"
RESTATE_PACKAGE = "@restatedev/restate-server@1.7.12"
START_SECONDS_MAX = 60.0
POLL_SECONDS = 0.005


class PeerError(Exception):
    """A peer cannot be had here, did not start, or answered wrongly; the text is for the reader of the table."""


class Peer:
    """An engine with the app behind it. `roles` names its child processes: the engine, the handlers."""

    name = ""

    def __init__(self) -> None:
        self.roles: dict[str, subprocess.Popen[bytes]] = {}
        self.ingress_port = self.admin_port = 0
        self.first_answer_seconds = 0.0
        self.data = SCRATCH / "data" / self.name

    def start(self) -> None:
        """Starts on an empty data folder and returns when the first request has been answered."""
        make_scratch()
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True)
        self.ingress_port, self.admin_port = free_port(), free_port()
        started = time.perf_counter()
        try:
            self.launch()
            self.await_first_answer(started + START_SECONDS_MAX)
        except BaseException:
            self.stop()
            raise
        self.first_answer_seconds = time.perf_counter() - started

    def launch(self) -> None:
        """Spawns the processes, and registers the app where that is a step of its own."""
        raise NotImplementedError

    def await_first_answer(self, deadline: float) -> None:
        """Calls route2 until it answers."""
        while True:
            self.check_alive()
            status, body = self.call("POST", "/Steps/route2", b"0")
            if status == 200 and body == b'"medical:0"':
                return
            if time.perf_counter() > deadline:
                raise PeerError(f"{self.name}: no answer within {START_SECONDS_MAX:.0f} s, last was {status} {body!r}")
            time.sleep(POLL_SECONDS)

    def call(self, method: str, path: str, body: bytes = b"", *, admin: bool = False) -> tuple[int, bytes]:
        """Status and body of one request; status 0 when there was no connection."""
        port = self.admin_port if admin else self.ingress_port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS_MAX)
        headers = {"content-type": "application/json", "accept": "application/json"}
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error).encode()
        finally:
            connection.close()

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a query over the `sys_*` tables."""
        status, body = self.call("POST", "/query", json.dumps({"query": sql}).encode(), admin=True)
        if status != 200:
            raise PeerError(f"{self.name}: /query answered {status} {body!r}")
        rows: list[dict[str, Any]] = json.loads(body)["rows"]
        return rows

    def spawn(self, role: str, command: list[str], **environment: str) -> None:
        """Starts a child process in the repository's root, its output in a log file beside the data."""
        with self.log_path(role).open("wb") as log:
            self.roles[role] = subprocess.Popen(
                command, cwd=REPOSITORY, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT
            )

    def log_path(self, role: str) -> Path:
        """Where a child process's output goes."""
        return self.data.parent / f"{self.name}-{role}.log"

    def check_alive(self) -> None:
        """Raises when a child process has ended by itself, with the end of what it said."""
        for role, child in self.roles.items():
            if child.poll() is not None:
                said = self.log_path(role).read_text(errors="replace")[-2000:]
                raise PeerError(f"{self.name}: {role} ended with code {child.returncode}\n{said}")

    def processes(self, role: str | None = None) -> list[psutil.Process]:
        """All processes of one role, or of the peer."""
        return processes.process_tree(child.pid for name, child in self.roles.items() if role in (None, name))

    def stop(self) -> None:
        """Ends all processes. The log files stay, the data is removed at the next start."""
        for child in self.roles.values():
            processes.stop(child)
        self.roles.clear()


class WithHypercorn(Peer):
    """A server and the app on hypercorn, two process trees, the app registered by its address."""

    def __init__(self, hypercorn_options: Sequence[str] = ()) -> None:
        super().__init__()
        self.hypercorn_options = hypercorn_options

    def launch(self) -> None:
        app_port = free_port()
        self.launch_server()
        options = ["--bind", f"127.0.0.1:{app_port}", *self.hypercorn_options]
        self.spawn("hypercorn", [sys.executable, "-m", "hypercorn", *options, "bench.app:app"])
        self.register(app_port, time.perf_counter() + START_SECONDS_MAX)

    def launch_server(self) -> None:
        """Spawns the engine."""
        raise NotImplementedError

    def register(self, app_port: int, deadline: float) -> None:
        """Registers the app as soon as the server and the app are there."""
        body = json.dumps({"uri": f"http://127.0.0.1:{app_port}"}).encode()
        await_port(app_port, deadline)
        while time.perf_counter() < deadline:
            self.check_alive()
            status, answer = self.call("POST", "/deployments", body, admin=True)
            if status == 201:
                return
            time.sleep(POLL_SECONDS)
        raise PeerError(f"{self.name}: registration answered {status} {answer!r}")


class Restate(WithHypercorn):
    """`restate-server` and the app on hypercorn."""

    name = "restate"

    def __init__(self, hypercorn_options: Sequence[str] = ()) -> None:
        super().__init__(hypercorn_options)
        self.binary = restate_binary()

    def launch_server(self) -> None:
        self.spawn(
            "server",
            [str(self.binary), "--base-dir", str(self.data), "--node-name", "bench", "--no-logo"],
            DO_NOT_TRACK="1",
            RESTATE_LISTEN_MODE="tcp",
            RESTATE_BIND_ADDRESS=f"127.0.0.1:{free_port()}",
            RESTATE_INGRESS__BIND_ADDRESS=f"127.0.0.1:{self.ingress_port}",
            RESTATE_ADMIN__BIND_ADDRESS=f"127.0.0.1:{self.admin_port}",
        )


class RewakeHttp2(WithHypercorn):
    """`rewake server` and the app on hypercorn."""

    name = "rewake-http2"

    def launch_server(self) -> None:
        ports = ["--ingress-port", str(self.ingress_port), "--admin-port", str(self.admin_port)]
        self.spawn("engine", [*rewake_command(), "server", "--data", str(self.data), *ports])


class Rewake(Peer):
    """`rewake run`, one process tree: the engine and its worker."""

    name = "rewake"

    def launch(self) -> None:
        ports = ["--ingress-port", str(self.ingress_port), "--admin-port", str(self.admin_port)]
        self.spawn("engine", [*rewake_command(), "run", "bench/app.py", "--data", str(self.data), *ports])


def rewake_command() -> list[str]:
    """The `rewake` command of the interpreter that runs the bench."""
    script = Path(sys.executable).with_name("rewake")
    return [str(script)] if script.exists() else [sys.executable, "-m", "rewake"]


def restate_binary() -> Path:
    """The server's program, installed from npm into `.bench/` when it is not there yet."""
    folder = Path(os.environ.get("REWAKE_BENCH_NPM", SCRATCH / "npm"))
    found = _find_binary(folder)
    if found is None:
        npm = shutil.which("npm")
        if npm is None:
            raise PeerError("npm is missing, so restate-server cannot be installed")
        _npm_install(npm, folder)
        found = _find_binary(folder)
    if found is None:
        raise PeerError(f"{RESTATE_PACKAGE} brings no program for this platform")
    return found


def make_scratch() -> None:
    """The folder for programs and data, which tells git to ignore all of it."""
    SCRATCH.mkdir(exist_ok=True)
    (SCRATCH / ".gitignore").write_text("*\n")


def free_port() -> int:
    """A TCP port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_port(port: int, deadline: float) -> None:
    """Returns when something accepts connections, or when the deadline is over."""
    while time.perf_counter() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(POLL_SECONDS)


def _find_binary(folder: Path) -> Path | None:
    """The native program itself: the Node script npm links to would only add a process."""
    return next(iter(sorted(folder.glob("node_modules/@restatedev/restate-server-*/bin/restate-server"))), None)


def _npm_install(npm: str, folder: Path) -> None:
    make_scratch()
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", RESTATE_PACKAGE]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise PeerError(f"npm install {RESTATE_PACKAGE} failed: {done.stderr.strip()[-300:]}")
