"""The lab: plays a call once to learn its boundaries, then once for each of them with a kill there, and judges.

Each play is a process of its own on a folder of its own (life.py), with a model server of its own where there are
scripted rules. A kill of the engine needs a second process, which goes on with what the first has stored.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from rewake.errors import ErrorCode, RewakeError
from rewake.testing.crash.report import Play, Report, mismatch_in
from rewake.testing.crash.tap import Boundary, Kill, Who

TIMEOUT_S: Final = 60.0


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What is called. app: FILE.py or module:attribute.   key: None for a service.   body, answer: JSON text.

    The answer resolves every awakeable.   rules: of the scripted model server, as `python -m rewake.testing.models
    --rules` takes them.   environment: more variables of the app.
    """

    app: str
    service: str
    handler: str
    key: str | None = None
    body: str | None = None
    answer: str | None = None
    rules: str | None = None
    environment: dict[str, str] = {}

    @property
    def path(self) -> str:
        return "/".join(part for part in (self.service, self.key, self.handler) if part is not None)


class _Life(msgspec.Struct):
    """What one play said, with the time of each fact. returncode: of its last process.   model_calls: if known."""

    facts: list[tuple[float, dict[str, Any]]] = []
    returncode: int = 0
    errors: str = ""
    model_calls: int | None = None
    is_timed_out: bool = False

    def named(self, event: str) -> list[dict[str, Any]]:
        return [fact for _, fact in self.facts if fact["event"] == event]

    @property
    def recovered_ms(self) -> int | None:
        """From the kill to the first word of the handler after it; None when it had nothing more to say."""
        killed_at_s = None
        for at_s, fact in self.facts:
            if fact["event"] == "killed":
                killed_at_s = at_s
            elif killed_at_s is not None and fact["event"] == "boundary" and fact["at"]["when"] == "before":
                return round((at_s - killed_at_s) * 1000)
        return None

    @property
    def answer(self) -> dict[str, Any] | None:
        found = self.named("answer")
        return {name: value for name, value in found[-1].items() if name != "event"} if found else None


def crash_everywhere(
    call: Call,
    *,
    who: tuple[Who, ...] = ("worker",),
    jobs: int = 2,
    limit: int | None = None,
    timeout_s: float = TIMEOUT_S,
    always_replay: bool = True,
    on_play: Callable[[int, int, Play], None] | None = None,
) -> Report:
    """Kill at every boundary of a call, and report.

    limit: boundaries at most, evenly spread.   always_replay: also once with a suspension at every await.
    on_play(done, of, play): hears of each play, on the thread of the caller.
    Raises RewakeError RW1024 when the call does not end by itself, without any kill.
    """
    first = _undisturbed(call, timeout_s)
    is_comparable = first.answer == _undisturbed(call, timeout_s).answer
    boundaries = [msgspec.convert(fact["at"], Boundary) for fact in first.named("boundary")]
    kills = [Kill(one, at) for one in who for at in _spread(boundaries, limit)]
    expected = first.answer if is_comparable else None
    report = Report(
        call=call.path,
        answer=first.answer,
        is_comparable=is_comparable,
        boundaries=len(boundaries),
        model_calls=first.model_calls,
    )
    with ThreadPoolExecutor(jobs) as threads:
        waiting = [threads.submit(_killed, call, kill, timeout_s, expected, first) for kill in kills]
        if always_replay:
            waiting.append(threads.submit(_replayed, call, timeout_s, expected, first))
        for done, future in enumerate(waiting, 1):
            play = future.result()
            report.plays.append(play)
            if on_play is not None:
                on_play(done, len(waiting), play)
    return report


def _undisturbed(call: Call, timeout_s: float) -> _Life:
    life = _play(call, None, timeout_s)
    if life.answer is None:
        raise _no_answer(call, life, timeout_s)
    return life


def _spread(boundaries: list[Boundary], limit: int | None) -> list[Boundary]:
    if limit is None or limit >= len(boundaries):
        return boundaries
    return [boundaries[index * len(boundaries) // limit] for index in range(limit)]


def _killed(call: Call, kill: Kill, timeout_s: float, expected: Any, first: _Life) -> Play:
    life = _play(call, kill, timeout_s)
    if not life.named("killed"):  # code that runs side by side takes another order now and then
        life = _play(call, kill, timeout_s)
    play = _judged(life, f"{kill.who} killed {kill.at}", expected, first)
    play.recovered_ms = life.recovered_ms
    deaths = {fact["returncode"] for fact in life.named(f"{kill.who}_exited")}
    play.has_landed = bool(life.named("killed")) and -signal.SIGKILL in deaths
    return play


def _replayed(call: Call, timeout_s: float, expected: Any, first: _Life) -> Play:
    play = _judged(_play(call, None, timeout_s, suspends=True), "suspended at every await", expected, first)
    play.has_landed = True
    return play


def _judged(life: _Life, what: str, expected: Any, first: _Life) -> Play:
    """What a play shows, against one that nothing disturbed."""
    play = Play(what=what, answer=life.answer, model_calls=life.model_calls)
    play.is_timed_out = life.is_timed_out
    answer = life.answer or {}
    if expected is not None:
        play.is_same = answer == expected
    else:
        play.is_same = ("failed" in answer) == ("failed" in (first.answer or {})) and life.answer is not None
    play.repeated, play.cut_off = _repeated(life)
    for fact in life.named("attempt_failed"):
        mismatch = mismatch_in(fact["facts"])
        if mismatch is not None:
            play.mismatches.append(mismatch)
    return play


def _repeated(life: _Life) -> tuple[list[str], list[str]]:
    """Steps that ran again though their result was stored, and those that ran again since it was not."""
    names = {(fact["run"], fact["step"]): fact["name"] for fact in life.named("named")}
    stored: set[tuple[str, int]] = set()
    ran: set[tuple[str, int]] = set()
    repeated, cut_off = [], []
    for _, fact in life.facts:
        if fact["event"] == "stored":
            stored.add((fact["run"], fact["step"]))
        elif fact["event"] == "ran":
            step = (fact["run"], fact["step"])
            name = names.get(step, fact["name"])
            if step in stored:
                repeated.append(name)
            elif step in ran:
                cut_off.append(name)
            ran.add(step)
    return repeated, cut_off


# Playing


def _play(call: Call, kill: Kill | None, timeout_s: float, *, suspends: bool = False) -> _Life:
    """One life, and a second one when the first was killed."""
    with tempfile.TemporaryDirectory(prefix="rewake-crash-") as folder, _models(call.rules) as (variables, count):
        spec: dict[str, Any] = {name: getattr(call, name) for name in ("app", "service", "handler", "key", "body")}
        spec |= {"answer": call.answer, "data": folder, "suspends": suspends}
        life = _Life()
        _live(spec | {"kill": msgspec.to_builtins(kill)}, call, variables, life, timeout_s)
        if life.returncode == -signal.SIGKILL and not life.is_timed_out:
            life.facts.append((time.monotonic(), {"event": "engine_exited", "returncode": life.returncode}))
            _live(spec | {"kill": None}, call, variables, life, timeout_s)
        life.model_calls = count()
        return life


def _live(spec: dict[str, Any], call: Call, variables: dict[str, str], life: _Life, timeout_s: float) -> None:
    command = [sys.executable, "-m", "rewake.testing.crash.life", json.dumps(spec)]
    environment = {**os.environ, **variables, **call.environment}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        timer = threading.Timer(timeout_s, _give_up, (process, life))
        timer.start()
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
        reader.start()
        for line in process.stdout or ():
            try:
                life.facts.append((time.monotonic(), json.loads(line)))
            except ValueError:
                errors.append(line)
        life.returncode = process.wait()
        timer.cancel()
        reader.join()
        life.errors = "".join(errors)


def _give_up(process: subprocess.Popen[str], life: _Life) -> None:
    life.is_timed_out = True
    process.kill()


@contextmanager
def _models(rules: str | None) -> Iterator[tuple[dict[str, str], Callable[[], int | None]]]:
    """Variables that point the app at a model server of its own, and how many calls that got."""
    if rules is None:
        yield {}, lambda: None
        return
    from rewake.testing.models import ModelServer
    from rewake.testing.models.rules_file import load_rules

    with ModelServer(load_rules(rules)) as server:
        yield server.env(), lambda: len(server.requests)


def _no_answer(call: Call, life: _Life, timeout_s: float) -> RewakeError:
    reason = f"It did not end within {timeout_s:g} s." if life.is_timed_out else life.errors.strip()[-2_000:]
    return RewakeError(
        ErrorCode.CRASH_TEST_FAILED,
        f"{call.path} gave no answer, even though nothing was killed.\n{reason}",
        "Make it end by itself: --answer JSON resolves awakeables, --models FILE.py answers model calls.",
    )
