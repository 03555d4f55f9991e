"""What is compared, each as a peer that starts, answers and stops.

`Restate` is the real server from npm with the app on hypercorn (h2c, hypercorn's defaults); `Rewake` is `rewake run`;
`RewakeHttp2` is `rewake server` with the very same app process that the real server drives. `RestateTypeScript` and
`RewakeTypeScript` are the two engines with the TypeScript app, again the same process for both. `RewakeBefore` is
`rewake run` of another commit.
All get free ports, an empty data folder on the same disk and their own default durability: none is set to skip an
fsync. See README.md for what those defaults are.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from bench import npm, processes
from bench.npm import REPOSITORY, SCRATCH, PeerError

START_SECONDS_MAX = 60.0
POLL_SECONDS = 0.005


class Peer:
    """An engine with the app behind it. `roles` names its child processes: the engine, the handlers.

    home: folder that its processes start in.   first_call: path and answer of the request that shows that it is ready.
    """

    name = ""
    home = REPOSITORY
    first_call: tuple[str, bytes] = ("/Steps/route2", b'"medical:0"')

    def __init__(self) -> None:
        self.roles: dict[str, subprocess.Popen[bytes]] = {}
        self.ingress_port = self.admin_port = 0
        self.headers: dict[str, str] = {}
        self.first_answer_seconds = 0.0
        self.data = SCRATCH / "data" / self.name

    def start(self) -> None:
        """Starts on an empty data folder and returns when the first request has been answered."""
        npm.make_scratch()
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
        """Calls until it answers."""
        path, expected = self.first_call
        while True:
            self.check_alive()
            status, body = self.call("POST", path, b"0")
            if status == 200 and body == expected:
                return
            if time.perf_counter() > deadline:
                raise PeerError(f"{self.name}: no answer within {START_SECONDS_MAX:.0f} s, last was {status} {body!r}")
            time.sleep(POLL_SECONDS)

    def call(self, method: str, path: str, body: bytes = b"", *, admin: bool = False) -> tuple[int, bytes]:
        """Status and body of one request; status 0 when there was no connection."""
        port = self.admin_port if admin else self.ingress_port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS_MAX)
        headers = {"accept": "application/json"} | ({"content-type": "application/json"} if body else {}) | self.headers
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
        """Starts a child process in `home`, its output in a log file beside the data."""
        with self.log_path(role).open("wb") as log:
            self.roles[role] = subprocess.Popen(
                command, cwd=self.home, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT
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


class WithApp(Peer):
    """An engine and an app that it drives over HTTP/2, two process trees, the app registered by its address."""

    engine_role = "engine"

    def launch(self) -> None:
        app_port = free_port()
        self.launch_engine()
        self.launch_app(app_port)
        await_port(app_port, time.perf_counter() + START_SECONDS_MAX)
        self.register(f"http://127.0.0.1:{app_port}", time.perf_counter() + START_SECONDS_MAX)

    def launch_engine(self) -> None:
        """Spawns the engine."""
        raise NotImplementedError

    def launch_app(self, port: int) -> None:
        """Spawns the app, listening there."""
        raise NotImplementedError

    def restart_engine(self) -> None:
        """Ends the engine and spawns it again on the same data and ports; does not wait until it answers."""
        processes.stop(self.roles.pop(self.engine_role))
        self.launch_engine()

    def register(self, uri: str, deadline: float) -> None:
        """Registers an app that is there, as soon as the engine is."""
        body = json.dumps({"uri": uri}).encode()
        while time.perf_counter() < deadline:
            self.check_alive()
            status, answer = self.call("POST", "/deployments", body, admin=True)
            if status == 201:
                return
            time.sleep(POLL_SECONDS)
        raise PeerError(f"{self.name}: registration answered {status} {answer!r}")


class RestateEngine(WithApp):
    """`restate-server` as the engine."""

    engine_role = "server"

    def __init__(self) -> None:
        super().__init__()
        self.binary = npm.restate_binary()

    def launch_engine(self) -> None:
        self.spawn(
            "server",
            [str(self.binary), "--base-dir", str(self.data), "--node-name", "bench", "--no-logo"],
            DO_NOT_TRACK="1",
            TMPDIR=str(self.data),  # it leaves folders there when it is killed
            RESTATE_LISTEN_MODE="tcp",
            RESTATE_BIND_ADDRESS=f"127.0.0.1:{free_port()}",
            RESTATE_INGRESS__BIND_ADDRESS=f"127.0.0.1:{self.ingress_port}",
            RESTATE_ADMIN__BIND_ADDRESS=f"127.0.0.1:{self.admin_port}",
        )


class RewakeEngine(WithApp):
    """`rewake server` as the engine."""

    def launch_engine(self) -> None:
        ports = ["--ingress-port", str(self.ingress_port), "--admin-port", str(self.admin_port)]
        self.spawn("engine", [*rewake_command(), "server", "--data", str(self.data), *ports])


class PythonApp(WithApp):
    """app.py on hypercorn."""

    def __init__(self, hypercorn_options: Sequence[str] = ()) -> None:
        super().__init__()
        self.hypercorn_options = hypercorn_options

    def launch_app(self, port: int) -> None:
        options = ["--bind", f"127.0.0.1:{port}", *self.hypercorn_options]
        self.spawn("hypercorn", [sys.executable, "-m", "hypercorn", *options, "bench.app:app"])


class TypeScriptApp(WithApp):
    """typescript/app.ts on Node, with the SDK's own HTTP/2 server."""

    def __init__(self) -> None:
        super().__init__()
        self.node, self.folder = npm.node_binary(), npm.typescript_app()

    def launch_app(self, port: int) -> None:
        self.spawn("node", [str(self.node), str(self.folder / "app.ts")], PORT=str(port), NODE_ENV="production")


class Restate(PythonApp, RestateEngine):
    """`restate-server` and the app on hypercorn."""

    name = "restate"


class RewakeHttp2(PythonApp, RewakeEngine):
    """`rewake server` and the app on hypercorn."""

    name = "rewake-http2"


class RestateTypeScript(TypeScriptApp, RestateEngine):
    """`restate-server` and the TypeScript app on Node."""

    name = "restate-typescript"


class RewakeTypeScript(TypeScriptApp, RewakeEngine):
    """`rewake server` and the TypeScript app on Node."""

    name = "rewake-typescript"


RUNS_MAX = "10000000"
"""Queued runs: callers of the bench do not come back after a 429."""


class Rewake(Peer):
    """`rewake run`, one process tree: the engine and its worker. environment: variables of the app.   options: more."""

    name = "rewake"
    app = "bench/app.py"

    def __init__(self) -> None:
        super().__init__()
        self.environment = {"REWAKE_WAITING_MAX": RUNS_MAX, "REWAKE_WAITING_PER_SERVICE_MAX": RUNS_MAX}
        self.options: list[str] = []

    def launch(self) -> None:
        ports = ["--ingress-port", str(self.ingress_port), "--admin-port", str(self.admin_port)]
        command = [*rewake_command(), "run", self.app, "--data", str(self.data), *ports, *self.options]
        self.spawn("engine", command, **self.environment)


class RewakeBefore(Rewake):
    """`rewake run` of another commit: its code and its bench app, with the packages that are installed now."""

    name = "rewake-before"

    def __init__(self, commit: str) -> None:
        super().__init__()
        self.home = exported(commit)
        self.environment["PYTHONPATH"] = str(self.home / "src")

    def launch(self) -> None:
        ports = ["--ingress-port", str(self.ingress_port), "--admin-port", str(self.admin_port)]
        command = [sys.executable, "-m", "rewake", "run", self.app, "--data", str(self.data), *ports]
        self.spawn("engine", command, **self.environment)


def exported(commit: str) -> Path:
    """A folder with the source and the bench of a commit, made once. Raises PeerError for one that is unknown."""
    name = _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}").decode().strip()
    folder = SCRATCH / "against" / name[:12]
    if not folder.exists():
        npm.make_scratch()
        half_done = folder.with_suffix(".new")
        shutil.rmtree(half_done, ignore_errors=True)
        with tarfile.open(fileobj=io.BytesIO(_git("archive", name, "src", "bench"))) as archive:
            archive.extractall(half_done, filter="data")
        half_done.rename(folder)
    return folder


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, check=False)
    if done.returncode:
        raise PeerError(f"git {' '.join(arguments[:1])} failed: {done.stderr.decode().strip() or 'no such commit'}")
    return done.stdout


def rewake_command() -> list[str]:
    """The `rewake` command of the interpreter that runs the bench."""
    script = Path(sys.executable).with_name("rewake")
    return [str(script)] if script.exists() else [sys.executable, "-m", "rewake"]


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
