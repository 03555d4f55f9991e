"""What the tests of the TypeScript tour stand on: Node 22, the apps with their packages, engines and app processes.

Everything downloaded goes to `.cache/` in the repository, which ignores itself; with neither Node 22 nor npm the tests
skip. An engine is a process here, `rewake server` or the real restate-server (`pytest --engine restate`): the apps
are registered by address with either, and the same test must hold.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import platform
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.warm import Warm

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = REPOSITORY / "src"
EXAMPLES = SOURCES / "rewake" / "examples"
CACHE = REPOSITORY / ".cache"
HYPERCORN = (sys.executable, "-m", "hypercorn", "--workers", "0")  # in one process, so that a kill leaves none behind
NODE_VERSION = "22.23.3"
NODE_OLDEST = (22, 18)  # runs .ts files without a flag; the SDK itself needs 22
ENGINE_VARIABLE = "REWAKE_TEST_ENGINE"
RESTATE_PACKAGE = "@restatedev/restate-server@1.7.12"
NPM_SECONDS_MAX = 300
READY_SECONDS_MAX = 30.0
POLL_SECONDS = 0.02
PORTS = range(20_000, 32_000)

EngineKind = Literal["rewake", "restate"]


# --- programs and packages -------------------------------------------------------------------------------------------


@cache
def node() -> Path:
    """Node 22 or newer: the one on the path, or the one npm has as a package."""
    found = shutil.which("node")
    if found is not None and _node_version(found) >= NODE_OLDEST:
        return Path(found)
    return npm_program(f"{_node_package()}@{NODE_VERSION}", "bin/node")


def npm_program(package: str, program: str) -> Path:
    """A program that npm carries, installed into the cache; skips the test where that cannot be.

    program: its path in the package's folder, or in that of any package it brings; may hold wildcards.
    """
    folder = CACHE / package.replace("/", "+")
    with _locked(folder):
        found = _find_program(folder, program)
        if found is None:
            _npm(folder, "install", "--no-save", package)
            found = _find_program(folder, program)
    if found is None:
        pytest.skip(f"{package} brings no program for {platform.system()} {platform.machine()}")
    return found


def npm_folder(package: str) -> Path:
    """A folder with a package, whose scripts can import it; skips the test where it cannot be installed."""
    name = package.rpartition("@")[0]
    folder = CACHE / package.replace("/", "+")
    with _locked(folder):
        if not (folder / "node_modules" / name / "package.json").exists():
            _npm(folder, "install", "--no-save", package)
    return folder


def installed(example: str, parent: Path = EXAMPLES) -> Path:
    """A folder with the example and its packages, as its lock file says. The example's own folder stays clean."""
    source = parent / example
    lock = (source / "package-lock.json").read_bytes()
    folder = CACHE / f"{example}-{hashlib.sha256(lock).hexdigest()[:12]}"
    with _locked(folder):
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder)
        if not (folder / "node_modules" / ".package-lock.json").exists():
            _npm(folder, "ci", "--omit=dev")
        for path in (*source.glob("*.ts"), *source.glob("*.py"), *source.glob("*.json")):
            _copy_if_new(path, folder / path.name)
    return folder


def npm_package(name: str, *apps: Path) -> Path:
    """A folder with a package of this repository, built, and apps that may import it by its name."""
    source = REPOSITORY / "packages" / name
    files = [source / "tsconfig.json", *sorted(source.glob("src/*.ts")), source / "package-lock.json"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    folder = CACHE / f"{name}-{digest}"
    with _locked(folder):
        if not (folder / "built").exists():
            shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules", "dist"))
            _npm(folder, "ci")
            subprocess.run([node(), "node_modules/typescript/bin/tsc"], cwd=folder, check=True, timeout=NPM_SECONDS_MAX)
            (folder / "built").touch()
        for app in apps:
            _copy_if_new(app, folder / app.name)
    return folder


def _copy_if_new(source: Path, target: Path) -> None:
    """Whoever reads the target meanwhile must not find half of it."""
    content = source.read_bytes()
    if not target.exists() or target.read_bytes() != content:
        unfinished = target.with_name(f".{target.name}.new")
        unfinished.write_bytes(content)
        unfinished.replace(target)


def _npm(folder: Path, *arguments: str) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is missing: the TypeScript tour needs it once, to install packages")
    command = [npm, *arguments, "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=NPM_SECONDS_MAX)
    if done.returncode != 0:
        pytest.skip(f"npm {' '.join(arguments)} failed: {done.stderr.strip()[-300:]}")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The folder exists and no other test process changes it meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    with (CACHE / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _find_program(folder: Path, program: str) -> Path | None:
    modules = folder / "node_modules"
    places = (*modules.glob(f"*/{program}"), *modules.glob(f"@*/*/{program}"))
    return next((place for place in places if os.access(place, os.X_OK)), None)


def _node_package() -> str:
    system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system(), "win")
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"node-{system}-{machine}"


def _node_version(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "--version"], check=False, capture_output=True, text=True, timeout=30).stdout
    return tuple(int(part) for part in said.strip().lstrip("v").split(".") if part.isdigit())


# --- processes -------------------------------------------------------------------------------------------------------


class Process:
    """A child process that listens on a port of its own and can be killed and started again on it."""

    def __init__(
        self,
        command: list[str],
        port: int,
        *,
        folder: Path,
        log: Path,
        environment: Mapping[str, str],
        framework: str = "",
    ) -> None:
        self.command, self.port, self.folder, self.log, self.framework = command, port, folder, log, framework
        self.environment = os.environ | environment
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._child is not None, "start() first"
        return self._child.pid

    def start(self, **more_environment: str) -> None:
        """Returns when it accepts connections."""
        with self.log.open("ab") as log:
            self._child = Warm(
                self.command,
                framework=self.framework,
                cwd=self.folder,
                env=self.environment | more_environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(self._accepts)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self._child is not None:
            self._child.kill()
            self.wait_gone()

    def wait_gone(self) -> None:
        """Returns when the process has ended, by whatever hand."""
        assert self._child is not None, "start() first"
        self._child.wait(READY_SECONDS_MAX)
        self._child = None

    def _accepts(self) -> bool:
        assert self._child is not None, "start() sets it"
        if self._child.poll() is not None:
            raise AssertionError(f"{self.command} ended by itself:\n{self.log.read_text(errors='replace')[-2000:]}")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: status, decoded JSON (None when empty) and the invocation's id."""

    status: int
    body: Any
    invocation_id: str


class Engine(Process):
    """An engine as a process, with the ports callers use."""

    def __init__(
        self, command: list[str], folder: Path, admin_port: int, ingress_port: int, **environment: str
    ) -> None:
        super().__init__(command, admin_port, folder=folder, log=folder / "engine.log", environment=environment)
        self.ingress_port = ingress_port

    def start(self, **more_environment: str) -> None:
        super().start(**more_environment)
        until(lambda: self._request(self.port, "GET", "/health").status == 200)

    def register(self, port: int) -> None:
        """Registers the app that listens there."""
        answer = self._request(self.port, "POST", "/deployments", {"uri": f"http://127.0.0.1:{port}"})
        if answer.status == 501:
            pytest.skip("this engine takes no deployments by address yet; --engine restate runs the real one")
        assert answer.status == 201, answer

    def forget(self, deployment_id: str) -> None:
        """Removes a deployment, whatever needs it."""
        answer = self._request(self.port, "DELETE", f"/deployments/{deployment_id}?force=true")
        assert answer.status == 202, answer

    def call(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One ingress request; returns when it is answered."""
        return self._request(self.ingress_port, "POST", path, body, headers)

    def get(self, path: str) -> Answer:
        """One ingress request without a body."""
        return self._request(self.ingress_port, "GET", path)

    def cancel(self, invocation_id: str) -> None:
        """Cancels an invocation."""
        self.operate("cancel", invocation_id)

    def operate(self, operation: str, invocation_id: str) -> None:
        """Kills, pauses, resumes ... an invocation."""
        answer = self._request(self.port, "PATCH", f"/invocations/{invocation_id}/{operation}")
        assert answer.status in (200, 202), answer

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a query over the `sys_*` tables."""
        answer = self._request(self.port, "POST", "/query", {"query": sql})
        assert answer.status == 200, answer
        rows: list[dict[str, Any]] = answer.body["rows"]
        return rows

    def steps(self, invocation_id: str) -> list[str]:
        """What an invocation did, in order: names of its runs, kinds of its other commands but input and output."""
        rows = self.query(
            f"select index, entry_type, name from sys_journal where id = '{invocation_id}' order by index"
        )
        commands = [(row["entry_type"].split(": "), row.get("name")) for row in rows]
        return [
            str(name) if kind == "Run" else kind
            for (family, kind), name in commands
            if family == "Command" and kind not in ("Input", "Output")
        ]

    def _request(
        self, port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_SECONDS_MAX)
        content = b"" if body is None else json.dumps(body).encode()
        kind = {} if body is None else {"content-type": "application/json"}
        try:
            connection.request(method, path, content, {"accept": "application/json", **kind, **(headers or {})})
            response = connection.getresponse()
            said = response.read()
            try:
                decoded = json.loads(said) if said else None
            except ValueError:
                decoded = said.decode(errors="replace")
            return Answer(response.status, decoded, response.getheader("x-restate-id") or "")
        except http.client.HTTPException as problem:
            raise ConnectionError(repr(problem)) from problem
        finally:
            connection.close()


def engine_under_test() -> EngineKind:
    """What `pytest --engine` says, by way of the variable that may say it too."""
    return "restate" if os.environ.get(ENGINE_VARIABLE) == "restate" else "rewake"


def make_engine(folder: Path, kind: EngineKind | None = None, **environment: str) -> Engine:
    """An engine, of the kind under test unless told, not yet started; its data is in the folder."""
    ingress_port, admin_port = free_port(), free_port()
    if (kind or engine_under_test()) == "restate":
        program = npm_program(RESTATE_PACKAGE, "bin/restate-server")
        return Engine(
            [str(program), "--base-dir", str(folder / "data"), "--node-name", "tour", "--no-logo"],
            folder,
            admin_port,
            ingress_port,
            DO_NOT_TRACK="1",
            TMPDIR=str(folder),  # it leaves folders there when it is killed
            RESTATE_LISTEN_MODE="tcp",
            RESTATE_BIND_ADDRESS=f"127.0.0.1:{free_port()}",
            RESTATE_INGRESS__BIND_ADDRESS=f"127.0.0.1:{ingress_port}",
            RESTATE_ADMIN__BIND_ADDRESS=f"127.0.0.1:{admin_port}",
            **environment,
        )
    ports = ["--ingress-port", str(ingress_port), "--admin-port", str(admin_port)]
    command = [sys.executable, "-m", "rewake", "server", "--data", str(folder / "data"), *ports]
    return Engine(command, folder, admin_port, ingress_port, PYTHONPATH=str(SOURCES), **environment)


def free_port() -> int:
    """A TCP port that stays free until it is used: none of those the system gives to outgoing connections."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def eventually(send: Callable[[], Answer]) -> Answer:
    """The answer of the first request whose connection lives to bring one."""
    answers: list[Answer] = []

    def is_answered() -> bool:
        answers.append(send())
        return True

    until(is_answered)
    return answers[-1]


def until(is_there: Callable[[], bool], timeout_s: float = READY_SECONDS_MAX) -> None:
    """Returns when the condition holds; for what no process announces."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if is_there():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(POLL_SECONDS)
