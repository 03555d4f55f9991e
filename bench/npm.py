"""Programs and packages from npm: restate-server, Node and the TypeScript app's SDK, installed once into `.bench/`.

`REWAKE_BENCH_NPM` names another npm folder that already has the programs. What cannot be had is a PeerError, so that
the rows that need it are skipped with a line. Used by peers.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SCRATCH = REPOSITORY / ".bench"
TYPESCRIPT = REPOSITORY / "bench" / "typescript"
RESTATE_PACKAGE = "@restatedev/restate-server@1.7.12"
NODE_VERSION = "22.23.3"
NODE_OLDEST = (22, 18)
"""Runs .ts files without a flag."""

INSTALL_SECONDS_MAX = 300


class PeerError(Exception):
    """A peer cannot be had here, did not start, or answered wrongly; the text is for the reader of the table."""


def restate_binary() -> Path:
    """The server's native program itself: the Node script npm links to would only add a process."""
    return _program(RESTATE_PACKAGE, "node_modules/@restatedev/restate-server-*/bin/restate-server")


def node_binary() -> Path:
    """Node: the one on the path where it is new enough, else the one npm has as a package."""
    found = shutil.which("node")
    if found is not None and _node_version(found) >= NODE_OLDEST:
        return Path(found)
    package = f"node-{_npm_system()}-{_npm_machine()}"
    return _program(f"{package}@{NODE_VERSION}", f"node_modules/{package}/bin/node")


def typescript_app() -> Path:
    """A folder with bench/typescript and the packages of its lock file; the one in the repository stays clean."""
    lock = (TYPESCRIPT / "package-lock.json").read_bytes()
    folder = SCRATCH / f"typescript-{hashlib.sha256(lock).hexdigest()[:12]}"
    make_scratch()
    folder.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json", "app.ts"):
        shutil.copy(TYPESCRIPT / name, folder)
    if not (folder / "node_modules" / ".package-lock.json").exists():
        _npm(folder, "ci", "--omit=dev")
    return folder


def typescript_versions() -> list[str]:
    """What the TypeScript app runs on and with."""
    node = ".".join(map(str, _node_version(str(node_binary()))))
    packages = json.loads((TYPESCRIPT / "package.json").read_text())["dependencies"]
    return [f"Node {node}", *(f"{name}@{version}" for name, version in packages.items())]


def make_scratch() -> None:
    """The folder for programs and data, which tells git to ignore all of it."""
    SCRATCH.mkdir(exist_ok=True)
    (SCRATCH / ".gitignore").write_text("*\n")


def _program(package: str, pattern: str) -> Path:
    """A program below a folder of npm packages; the package is installed when it is not there yet."""
    own = SCRATCH / "npm"
    for folder in (Path(os.environ.get("REWAKE_BENCH_NPM", own)), own):
        if found := _first(folder, pattern):
            return found
    make_scratch()
    own.mkdir(exist_ok=True)
    _npm(own, "install", "--prefix", str(own), package)
    found = _first(own, pattern)
    if found is None:
        raise PeerError(f"{package} brings no program for this platform")
    return found


def _first(folder: Path, pattern: str) -> Path | None:
    return next(iter(sorted(folder.glob(pattern))), None)


def _npm(folder: Path, *arguments: str) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise PeerError(f"npm is missing; it is needed for: npm {' '.join(arguments)}")
    command = [npm, *arguments, "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX)
    if done.returncode != 0:
        raise PeerError(f"npm {' '.join(arguments)} failed: {done.stderr.strip()[-300:]}")


def _node_version(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "--version"], check=False, capture_output=True, text=True, timeout=30).stdout
    return tuple(int(part) for part in said.strip().lstrip("v").split(".") if part.isdigit())


def _npm_system() -> str:
    return {"Linux": "linux", "Darwin": "darwin"}.get(platform.system(), "win")


def _npm_machine() -> str:
    return {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
