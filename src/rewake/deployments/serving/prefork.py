"""Several processes that accept from one listening socket: started, started again when they die, and stopped together.

SIGHUP replaces them: what is new serves before what is old stops, and the old ones stay when no new one can start.
The parent only waits. It forks before anything is imported, so a child begins, and ends, as a program of one process
does. It lives no longer than its parent, however that ends: it sees the end of a pipe that only the parent holds open.
Children are in process groups of their own, so that a Ctrl-C in the terminal reaches them once, through the parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

import structlog

RESTART_DELAY_S: Final = 1.0
"""Between two starts of a child that dies early."""

STOP_NOTICED_S: Final = 0.1
"""Time until a signal is noticed while children start."""

INTERRUPTED: Final = 130
"""Exit code after a second signal."""

_STOPS: Final = {signal.SIGTERM, signal.SIGINT}
_WAITED_FOR: Final = _STOPS | {signal.SIGCHLD, signal.SIGHUP}

Ready = Callable[[dict[str, Any]], None]

log = structlog.get_logger("rewake.cli")


class Prefork:
    """`count` children that each run `child(on_ready)` to its end; they say on_ready(facts) when they serve.

    on_ready: called in the parent once all serve, with the facts of one of them.   companion: runs in one more child,
    which is not started again; it may send SIGHUP to its parent.
    """

    def __init__(
        self,
        count: int,
        child: Callable[[Ready], None],
        on_ready: Ready,
        companion: Callable[[], None] | None = None,
    ) -> None:
        self._count = count
        self._child = child
        self._on_ready = on_ready
        self._companion = companion
        self._started_at_s: dict[int, float] = {}
        self._leaving: set[int] = set()
        self._alive_end, self._held_end = os.pipe()

    @property
    def pids(self) -> list[int]:
        """The children that run."""
        return list(self._started_at_s)

    def run(self) -> int:
        """Serve until told to stop; the exit code. Leaves a child by what ends it, an exception or SystemExit."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
        if self._companion is not None:
            self._fork_companion(self._companion)
        if (code := self._start_all()) is not None:
            return code
        is_stopping = False
        while self._started_at_s or self._leaving or not is_stopping:
            received = signal.sigwait(_WAITED_FOR)
            if received == signal.SIGCHLD:
                self._reap(starts_again=not is_stopping)
            elif received == signal.SIGHUP:
                if not is_stopping:
                    self._replace()
            elif is_stopping:
                self._stop(self._leaving, signal.SIGKILL)
                return INTERRUPTED
            else:
                is_stopping = True
                log.info("stopping", workers=len(self._started_at_s))
                self._stop(self.pids, signal.SIGTERM)
        log.info("stopped")
        return 0

    def _start_all(self) -> int | None:
        """The exit code of a child that cannot even start, when there is one."""
        # The first one alone: what keeps it from starting keeps the others from it, and is to be told once.
        for count in (1, self._count - 1):
            if count:
                facts, code = self._start(count)
                if code is not None:
                    return code
        self._on_ready(facts)
        return None

    def _start(self, count: int) -> tuple[dict[str, Any], int | None]:
        """Start so many children; the facts of one, and the exit code when one did not start: then none stays.

        The code is 0 when all are to stop before that.
        """
        facts: dict[str, Any] = {}
        started = [self._fork() for _ in range(count)]
        try:
            for pid, pipe in started:
                text = _heard(pipe)
                if not text:
                    self._stop([each for each, _ in started], signal.SIGKILL)
                    self._leaving.remove(pid)
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    return {}, 0 if _is_to_stop() else code or 1
                facts = json.loads(text)
        finally:
            for _, pipe in started:
                os.close(pipe)
        return facts, None

    def _replace(self) -> None:
        """New children for the old ones, if they start."""
        old = self.pids
        _, code = self._start(1)
        if code is None and self._count > 1:
            _, code = self._start(self._count - 1)
        if code is None:
            self._stop(old, signal.SIGTERM)
            log.info("reloaded", worker_pids=self.pids)
        else:
            self._stop([pid for pid in self._started_at_s if pid not in old], signal.SIGTERM)
            if code:
                log.error("reload_failed", code=code, serving="the code from before")

    def _reap(self, *, starts_again: bool) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._leaving.discard(pid)
            started_at_s = self._started_at_s.pop(pid, None)
            if starts_again and started_at_s is not None:
                time.sleep(max(0.0, RESTART_DELAY_S - (time.monotonic() - started_at_s)))
                fresh, ready = self._fork()
                os.close(ready)
                log.warning("worker_exited", pid=pid, code=os.waitstatus_to_exitcode(status), next_pid=fresh)

    def _stop(self, pids: Iterable[int], number: signal.Signals) -> None:
        """Send it to children that are not missed when they end."""
        for pid in list(pids):
            self._started_at_s.pop(pid, None)
            self._leaving.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _fork(self) -> tuple[int, int]:
        """A child, and the end of a pipe it is ready on."""
        heard, said = os.pipe()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            os.close(heard)
            self._be_child(lambda: self._child(lambda facts: _tell(said, facts)))
        os.close(said)
        self._started_at_s[pid] = time.monotonic()
        return pid, heard

    def _fork_companion(self, companion: Callable[[], None]) -> None:
        sys.stderr.flush()
        if not os.fork():
            self._be_child(companion)

    def _be_child(self, work: Callable[[], None]) -> NoReturn:
        os.close(self._held_end)
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED_FOR)
        threading.Thread(target=self._end_with_parent, daemon=True).start()
        work()
        raise SystemExit(0)

    def _end_with_parent(self) -> None:
        os.read(self._alive_end, 1)
        os.kill(os.getpid(), signal.SIGTERM)


def _heard(pipe: int) -> bytes:
    """What a child says when it serves; nothing if it ends before, or all are to stop: an import may take for ever."""
    text = b""
    while not _is_to_stop():
        if select.select([pipe], [], [], STOP_NOTICED_S)[0]:
            part = os.read(pipe, 65_536)
            if not part:
                return text
            text += part
    return b""


def _is_to_stop() -> bool:
    """Whether a signal says so that nobody has waited for yet."""
    return bool(signal.sigpending() & _STOPS)


def _tell(said: int, facts: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(said, "w") as pipe:
        json.dump(facts, pipe)
