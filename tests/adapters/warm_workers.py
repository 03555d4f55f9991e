"""Workers that are forked from a process which has imported what they need: a framework takes seconds to import.

They run what `python -m rewake.deployments.worker_main` runs, under a pid of their own, and die alone.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from rewake.deployments import worker, worker_main, worker_pool

ORDER_BYTES_MAX = 128 * 1024


class Forked:
    """What worker.py asks of a `subprocess.Popen`. How a worker ended is not known: all are killed."""

    def __init__(self, nursery: socket.socket, command: Sequence[str], fds: Sequence[int], env: Mapping[str, str]):
        ours, theirs = socket.socketpair()
        with theirs:
            order = {"arguments": command[command.index("--fd") + 2 :], "env": dict(env)}
            socket.send_fds(nursery, [json.dumps(order).encode()], [theirs.fileno(), *fds])
        self._life = ours.makefile("rb")
        ours.close()
        self.pid = int(self._life.readline())

    def wait(self) -> int:
        """Until it is dead: its end of the line is closed."""
        with self._life:
            self._life.read()
        return -signal.SIGKILL


@contextmanager
def warm_workers(modules: Iterable[str]) -> Iterator[None]:
    """Fork workers in this process's engines, where the modules are imported, and start them again at once.

    Before any thread and any loop of this process.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    nurse = os.fork()
    if nurse == 0:
        ours.close()
        os._exit(_nurse(theirs, modules))
    theirs.close()

    def popen(command: Sequence[str], *, pass_fds: Sequence[int], env: Mapping[str, str], **_: Any) -> Forked:
        return Forked(ours, command, pass_fds, env)

    stand_in = SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL)
    with ours, patch.object(worker, "subprocess", stand_in), patch.object(worker_pool, "RESTART_DELAY_WELL_MAX_MS", 0):
        yield
    os.waitpid(nurse, 0)


def _nurse(orders: socket.socket, modules: Iterable[str]) -> int:
    """Import, then fork a worker for each order. Children are nobody's to wait for."""
    worker_main.die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for module in modules:
        importlib.import_module(module)
    while True:
        order, fds, _, _ = socket.recv_fds(orders, ORDER_BYTES_MAX, 2)
        if not order:
            return 0
        if os.fork() == 0:
            orders.close()
            _become(json.loads(order), *fds)
        for fd in fds:
            os.close(fd)


def _become(order: Mapping[str, Any], life: int, link: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(order["env"])
    os.write(life, f"{os.getpid()}\n".encode())
    os.set_inheritable(life, False)  # MCP servers outlive a killed worker for a moment
    code = 1
    try:
        code = worker_main.main(["--fd", str(link), *order["arguments"]])
    finally:
        sys.stderr.flush()
        os._exit(code)
