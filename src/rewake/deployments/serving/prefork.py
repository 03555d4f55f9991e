"""Several processes that accept from one listening socket: started, started again when they die, and stopped together.

The parent only waits. It forks before anything is imported, so a child begins, and ends, as a program of one process
does. It lives no longer than its parent, however that ends: it sees the end of a pipe that only the parent holds open.
Children are in process groups of their own, so that a Ctrl-C in the terminal reaches them once, through the parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

import structlog

RESTART_DELAY_S: Final = 1.0
"""Between two starts of a child that dies early."""

INTERRUPTED: Final = 130
"""Exit code after a second signal."""

_STOPS: Final = {signal.SIGTERM, signal.SIGINT}
_WAITED_FOR: Final = _STOPS | {signal.SIGCHLD}

Ready = Callable[[dict[str, Any]], None]

log = structlog.get_logger("rewake.cli")


class Prefork:
    """`count` children that each run `child(on_ready)` to its end; they say on_ready(facts) when they serve.

    on_ready: called in the parent once all serve, with the facts of one of them.
    """

    def __init__(self, count: int, child: Callable[[Ready], None], on_ready: Ready) -> None:
        self._count = count
        self._child = child
        self._on_ready = on_ready
        self._started_at_s: dict[int, float] = {}
        self._alive_end, self._held_end = os.pipe()

    @property
    def pids(self) -> list[int]:
        """The children that run."""
        return list(self._started_at_s)

    def run(self) -> int:
        """Serve until told to stop; the exit code. Leaves a child by what ends it, an exception or SystemExit."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
        code = self._start_all()
        if code is not None:
            return code
        is_stopping = False
        while self._started_at_s or not is_stopping:
            received = signal.sigwait(_WAITED_FOR)
            if received == signal.SIGCHLD:
                self._reap(starts_again=not is_stopping)
            elif is_stopping:
                self._signal(signal.SIGKILL)
                return INTERRUPTED
            else:
                is_stopping = True
                log.info("stopping", workers=len(self._started_at_s))
                self._signal(signal.SIGTERM)
        log.info("stopped")
        return 0

    def _start_all(self) -> int | None:
        """The exit code of a child that cannot even start, when there is one."""
        # The first one alone: what keeps it from starting keeps the others from it, and is to be told once.
        for count in (1, self._count - 1):
            for pid, pipe in [self._fork() for _ in range(count)]:
                with os.fdopen(pipe) as ready:
                    text = ready.read()
                if not text:
                    del self._started_at_s[pid]
                    self._signal(signal.SIGKILL)
                    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or 1
                facts = json.loads(text)
        self._on_ready(facts)
        return None

    def _reap(self, *, starts_again: bool) -> None:
        while self._started_at_s:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            lived_s = time.monotonic() - self._started_at_s.pop(pid)
            if starts_again:
                if lived_s < RESTART_DELAY_S:
                    time.sleep(RESTART_DELAY_S - lived_s)
                fresh, ready = self._fork()
                os.close(ready)
                log.warning("worker_exited", pid=pid, code=os.waitstatus_to_exitcode(status), next_pid=fresh)

    def _fork(self) -> tuple[int, int]:
        """A child, and the end of a pipe it is ready on."""
        heard, said = os.pipe()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            os.close(heard)
            os.close(self._held_end)
            self._be_child(said)
        os.close(said)
        self._started_at_s[pid] = time.monotonic()
        return pid, heard

    def _be_child(self, said: int) -> NoReturn:
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED_FOR)
        threading.Thread(target=self._end_with_parent, daemon=True).start()
        self._child(lambda facts: _tell(said, facts))
        raise SystemExit(0)

    def _end_with_parent(self) -> None:
        os.read(self._alive_end, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._started_at_s:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _tell(said: int, facts: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(said, "w") as pipe:
        json.dump(facts, pipe)
