"""Python processes that are forked from one that has imported what they need: frameworks take seconds to import.

`Warm` is a `subprocess.Popen` of `python -m MODULE ...` or `python SCRIPT ...`: a process of its own and a child of the
one that starts it, with the environment, folder and files that it is given. Only its command line, as others see it, is
that of the nursery. An engine with workers (`ENGINES`) gets a nursery of its own, and forks them from there.

A nursery is a process without threads that does nothing but fork. Each framework has one, forked from the one that has
none. Not for tests of what is imported or how a process starts. Elsewhere than on Linux, `Warm` warms nothing.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ALWAYS: Final = (
    "restate.server",
    "rewake.cli.serve",
    "rewake.cli.run",
    "rewake.cli.invocations",
    "rewake.cli.engine_process",
    "rewake.cli.sql",
    "rewake.server",
    "rewake.telemetry",
    "rewake.deployments.app_loader",
    "rewake.deployments.worker_main",
    "uvloop",
)
"""What most of our processes import."""

FRAMEWORKS: Final = {
    "agents": ("agents", "rewake.ext.openai", "rewake.ext.chat", "restate.ext.openai"),
    "openai": ("openai",),
    "pydantic_ai": ("pydantic_ai.models.openai", "rewake.ext.pydantic", "rewake.ext.chat", "restate.ext.pydantic"),
    "langchain": ("langchain.agents", "langchain_openai", "restate.ext.langchain"),
    "google.adk": ("google.adk.runners", "google.adk.models", "restate.ext.adk"),
}
"""Modules that take long to import, by the one that the file of an app names; the first of them that it does."""

ENGINES: Final = ("run", "demo", "crash-test")
"""Commands of `rewake` whose children are warm, too."""

ORDER_BYTES_MAX: Final = 160 * 1024
FDS_MAX: Final = 16
FREE_FD: Final = 100
"""Files are moved above this number, before they get the one that they shall have."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_Cold: Final = subprocess.Popen
"""What it is before `warm_children` puts `Warm` in its place."""


class Warm(subprocess.Popen[Any]):
    """A `Popen` that forks `python -m MODULE` and `python SCRIPT`. framework: of `FRAMEWORKS`, see `framework_of`."""

    def __init__(self, command: Sequence[str | Path], *, framework: str = "", **options: Any) -> None:
        words = [*map(str, command)]
        is_python = words[0] == sys.executable and (words[1] == "-m" or words[1].endswith(".py"))
        self._nursery = _nursery_of(framework) if is_python and sys.platform == "linux" else None
        super().__init__(words, **options)

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, *rest: Any
    ) -> None:
        """Where `Popen` starts the child; it waits for it and ends it in its own way."""
        if self._nursery is None or preexec_fn is not None or rest[-1] != -1:  # the last: a group of processes
            super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, *rest)  # type: ignore[misc]
            return
        cwd, env, _, _, _, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = rest[:11]
        given = {0: p2cread, 1: c2pwrite, 2: errwrite, **{fd: fd for fd in pass_fds}}
        order = {
            "arguments": args[1:],
            "cwd": os.fspath(Path.cwd() if cwd is None else cwd),
            "env": dict(os.environ if env is None else env),
            "is_leader": rest[-2],
        }
        self.pid = self._nursery.fork(order, {number: number if fd == -1 else fd for number, fd in given.items()})
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]


def run_warm(
    command: Sequence[str | Path], *, framework: str = "", timeout_s: float = 60, **options: Any
) -> subprocess.CompletedProcess[str]:
    """`Warm` to its end, with what it printed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with Warm(command, framework=framework, **pipes | options) as process:
        try:
            output, errors = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


class Nursery:
    """The line to a nursery, which ends with it."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def fork(self, order: Mapping[str, Any], fds: Mapping[int, int]) -> int:
        """A child of this process; its pid. fds: ours, by the number that they shall have."""
        with _lock, _adopting():
            message = json.dumps({**order, "fds": list(fds)}).encode()
            socket.send_fds(self._line, [message], list(fds.values()))
            return int(self._line.recv(ORDER_BYTES_MAX))

    def close(self) -> None:
        self._line.close()


_nurseries: dict[str, tuple[Nursery, subprocess.Popen[Any] | None]] = {}
_lock = threading.RLock()


def _nursery_of(framework: str) -> Nursery:
    """The nursery that has imported it, started when it is first asked for; in an engine, its only one."""
    with _lock:
        if framework not in _nurseries:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            command = [sys.executable, __file__, str(theirs.fileno()), framework]
            options: dict[str, Any] = {"pass_fds": [theirs.fileno()], "stdin": subprocess.DEVNULL, "env": _plain()}
            with theirs:
                process = Warm(command, **options) if framework else _Cold(command, **options)
            _nurseries[framework] = Nursery(ours), process
        return _nurseries[framework][0]


def close_nurseries() -> None:
    """End those of this process."""
    while _nurseries:
        _, (nursery, process) = _nurseries.popitem()
        nursery.close()
        if process is not None:
            process.wait()


def framework_of(app: Path) -> str:
    """The one of `FRAMEWORKS` that this file, or one beside it, imports at its top; none of what is no file."""
    found = _imports_of(app, set())
    return next((each for each in FRAMEWORKS if any(f"{name}.".startswith(f"{each}.") for name in found)), "")


def _imports_of(file: Path, seen: set[Path]) -> set[str]:
    if file in seen or not file.is_file():
        return set()
    seen.add(file)
    names: set[str] = set()
    with contextlib.suppress(SyntaxError):
        for statement in ast.parse(file.read_text()).body:
            match statement:
                case ast.Import(names=imported):
                    names.update(alias.name for alias in imported)
                case ast.ImportFrom(module=str(module)):
                    names.add(module)
    return names.union(*(_imports_of(file.with_name(f"{name}.py"), seen) for name in names))


def _plain() -> dict[str, str]:
    """The environment without settings that a module may read when it is imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REWAKE_", "OPENAI_"))}
    return kept | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Meanwhile a process below this one whose parent ends becomes a child of this one."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0)


# --- in the nursery --------------------------------------------------------------------------------------------------


def nurse(line: socket.socket) -> dict[str, Any]:
    """Fork for each order. Returns in the children only: what to become."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    gc.freeze()  # the children leave alone what is loaded
    while True:
        message, received, _, _ = socket.recv_fds(line, ORDER_BYTES_MAX, FDS_MAX)
        if not message:
            os._exit(0)
        adopted, adopting = os.pipe()
        between = os.fork()
        if not between:
            if os.fork():
                os._exit(0)  # so that the child becomes the one's that has sent the order
            os.close(adopting)
            os.read(adopted, 1)
            os.close(adopted)
            line.send(b"%d" % os.getpid())
            line.close()
            order: dict[str, Any] = json.loads(message)
            _take_files(dict(zip(order["fds"], received, strict=True)))
            return order
        os.waitpid(between, 0)
        for fd in (adopted, adopting, *received):
            os.close(fd)


def _take_files(fds: Mapping[int, int]) -> None:
    """Give files the numbers that they shall have."""
    moved = {number: fcntl.fcntl(fd, fcntl.F_DUPFD, FREE_FD) for number, fd in fds.items()}
    for fd in fds.values():
        os.close(fd)
    for number, fd in moved.items():
        os.dup2(fd, number)
        os.close(fd)


def become(order: Mapping[str, Any]) -> None:
    """Do what `python ARGUMENTS` does, in this process."""
    arguments, environment = order["arguments"], order["env"]
    if order["is_leader"]:
        os.setsid()
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(environment)
    is_unbuffered = bool(environment.get("PYTHONUNBUFFERED"))
    sys.stdin = open(0, closefd=False)  # noqa: PTH123, SIM115  # as the interpreter does at its start
    sys.stdout = open(1, "w", closefd=False)  # noqa: PTH123, SIM115
    sys.stdout.reconfigure(write_through=is_unbuffered)
    sys.stderr = open(2, "w", closefd=False, errors="backslashreplace")  # noqa: PTH123, SIM115
    sys.stderr.reconfigure(line_buffering=True, write_through=is_unbuffered)
    _add_paths(environment.get("PYTHONPATH", ""))
    if arguments[0] == "-m":
        module, rest = arguments[1], arguments[2:]
        sys.path.insert(0, str(Path.cwd()))
        if module == "rewake" and rest and rest[0] in ENGINES:
            warm_children()
        sys.argv = [module, *rest]
        if not hasattr(sys.modules.get(module), "__path__"):
            sys.modules.pop(module, None)  # the interpreter runs a module before anyone imports it
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(arguments[0]).parent.resolve()))
        sys.argv = list(arguments)
        runpy.run_path(arguments[0], run_name="__main__")


def _add_paths(python_path: str) -> None:
    """What PYTHONPATH of the child adds to that of the nursery."""
    del sys.path[0]
    for place in reversed([each for each in python_path.split(os.pathsep) if each]):
        if place in sys.path:
            sys.path.remove(place)
        sys.path.insert(0, place)


def warm_children() -> None:
    """From here on this process forks its children from a nursery, with all that it has loaded. Before any thread."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if not os.fork():
        ours.close()
        with open(os.devnull, "r+b") as nothing:  # noqa: PTH123
            _take_files({number: os.dup(nothing.fileno()) for number in (0, 1, 2)})
        become(nurse(theirs))
        raise SystemExit
    theirs.close()
    _nurseries[""] = Nursery(ours), None
    subprocess.Popen = Warm  # type: ignore[assignment, misc]


def main(fd: int, framework: str) -> None:
    for module in (*ALWAYS, *FRAMEWORKS.get(framework, ())):
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    become(nurse(socket.socket(fileno=fd)))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
