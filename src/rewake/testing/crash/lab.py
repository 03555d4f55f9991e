"""The lab: plays a call once to learn its boundaries, then once more with a kill at each of them, and judges.

Further plays suspend at every await, change the order of completions (one play a seed), and cancel the call. If a play
shows a problem, one more play looks for likely causes in the app's code.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from rewake.errors import ErrorCode, RewakeError
from rewake.testing.crash.boundary import Boundary, Kill, Who
from rewake.testing.crash.judging import causes_of, judged, judged_cancelled, left_open, report_of
from rewake.testing.crash.playing import MODEL, OTHER_SIDE, Call, Disturbances, Life, play
from rewake.testing.crash.report import Play, Report

TIMEOUT_S: Final = 60.0
_RESULT: Final = "result of "


def crash_everywhere(
    call: Call,
    *,
    who: tuple[Who, ...] = ("worker",),
    jobs: int = 2,
    limit: int | None = None,
    timeout_s: float = TIMEOUT_S,
    always_replay: bool = True,
    schedules: int = 0,
    cancels: bool = True,
    on_play: Callable[[int, int, Play], None] | None = None,
) -> Report:
    """Kill at every boundary of a call, and report.

    limit: boundaries at most, evenly spread.   always_replay: add a play that suspends at every await.   schedules:
    add so many plays, each with another order of the results of parallel steps.   cancels: add plays that cancel the
    call.   on_play(done, of, play): called after each play, on the caller's thread.
    Raises RewakeError RW1024 if the call does not end without a kill.
    """
    first = _undisturbed(call, timeout_s)
    report, boundaries = report_of(call.path, first, _undisturbed(call, timeout_s))
    report.left_open = left_open(first) if "value" in (first.answer or {}) else []
    judge = _Judge(call, timeout_s, report.expected, first)
    works: list[Callable[[], Play]] = [
        partial(judge.killed, Kill(one, at)) for one in who for at in spread(_for(one, boundaries), limit)
    ]
    works += [judge.replayed] * always_replay + [partial(judge.scheduled, seed) for seed in range(1, schedules + 1)]
    works += [partial(judge.cancelled, at) for at in _cancel_at(boundaries, limit) if cancels]
    with ThreadPoolExecutor(jobs) as threads:
        waiting: list[Future[Play]] = [threads.submit(work) for work in works]
        for done, future in enumerate(waiting, 1):
            found = future.result()
            report.plays.append(found)
            if on_play is not None:
                on_play(done, len(waiting), found)
    if kinds := report.kinds:
        suspects = play(call, timeout_s, Disturbances(suspends=True, traces=True)).named("suspect")
        report.causes = causes_of(kinds, suspects)
    return report


def spread(boundaries: list[Boundary], limit: int | None) -> list[Boundary]:
    """At most `limit` boundaries, evenly spread; all without a limit."""
    if limit is None or limit >= len(boundaries):
        return boundaries
    return [boundaries[index * len(boundaries) // limit] for index in range(limit)]


def _for(who: Who, boundaries: list[Boundary]) -> list[Boundary]:
    """The boundaries at which this process can be killed: only a worker runs bodies or makes calls."""
    if who == "worker":
        return boundaries
    return [at for at in boundaries if at.when != "inside" and at.target not in (MODEL, OTHER_SIDE)]


def _cancel_at(boundaries: list[Boundary], limit: int | None) -> list[Boundary]:
    """The first and the last step whose result a handler awaits."""
    steps = [at for at in boundaries if at.when == "before" and at.entry.startswith(_RESULT)]
    return list(dict.fromkeys(steps[:1] + steps[-1:]))[:limit]


def _undisturbed(call: Call, timeout_s: float) -> Life:
    life = play(call, timeout_s)
    if life.answer is None:
        raise _no_answer(call, life, timeout_s)
    return life


class _Judge:
    """Plays, and compares with the first, undisturbed life."""

    def __init__(self, call: Call, timeout_s: float, expected: Any, first: Life) -> None:
        self._play = partial(play, call, timeout_s)
        self._expected = expected
        self._first = first

    def killed(self, kill: Kill) -> Play:
        """A play with a kill, which must happen at its boundary."""
        life = self._play(Disturbances(kill=kill))
        if not life.named("killed"):  # parallel code takes another order now and then
            life = self._play(Disturbances(kill=kill))
        found = judged(life, f"{kill.who} killed {kill.at}", self._expected, self._first)
        found.is_kill = True
        found.recovered_ms = life.recovered_ms
        deaths = {fact["returncode"] for fact in life.named(f"{kill.who}_exited")}
        found.has_landed = bool(life.named("killed")) and -signal.SIGKILL in deaths
        return found

    def replayed(self) -> Play:
        """A play that suspends at every await."""
        life = self._play(Disturbances(suspends=True))
        return self._calm(life, "suspended at every await")

    def scheduled(self, seed: int) -> Play:
        """A play with another order of completions."""
        return self._calm(self._play(Disturbances(seed=seed)), f"results in order no. {seed}")

    def cancelled(self, at: Boundary) -> Play:
        """A play that cancels the call while the handler waits at this boundary."""
        life = self._play(Disturbances(cancel=at))
        return judged_cancelled(life, f"cancelled {at}", self._first)

    def _calm(self, life: Life, what: str) -> Play:
        found = judged(life, what, self._expected, self._first, is_calm=True)
        found.has_landed = True
        return found


def _no_answer(call: Call, life: Life, timeout_s: float) -> RewakeError:
    reason = f"It did not end within {timeout_s:g} s." if life.is_timed_out else life.errors.strip()[-2_000:]
    return RewakeError(
        ErrorCode.CRASH_TEST_FAILED,
        f"{call.path} gave no answer, even though nothing was killed.\n{reason}",
        "Make it end by itself: --answer JSON resolves awakeables, --models FILE.py answers model calls.",
    )
