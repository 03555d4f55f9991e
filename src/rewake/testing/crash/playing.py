"""Playing: one play of a call from an empty folder to its answer, in its own processes, and the facts it printed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from rewake.testing.crash import other_side
from rewake.testing.crash.boundary import Boundary, Kill, without_what_varies
from rewake.testing.crash.other_side import OtherSide

OTHER_SIDE: Final = "the other side"
MODEL: Final = "the model"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """The call to play. app: FILE.py or module:attribute.   key: None for a service.   body, answer: JSON text.

    The answer resolves every awakeable.   rules: for the scripted model server, in the form of `python -m
    rewake.testing.models --rules`.   environment: further variables for the app.
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

    @property
    def folder(self) -> str:
        """The folder of the app's own code."""
        path = Path(self.app.partition(":")[0])
        if not path.exists():
            return str(Path.cwd())
        return str((path if path.is_dir() else path.parent).resolve())


class Disturbances(msgspec.Struct, frozen=True, kw_only=True):
    """The disturbances of a play.

    suspends: suspend at every await.   seed: shuffles the order of results of parallel steps.   cancel: cancel the call
    at this boundary.   traces: report code that can make a replay differ.
    """

    kill: Kill | None = None
    suspends: bool = False
    seed: int | None = None
    cancel: Boundary | None = None
    traces: bool = False


@dataclass
class Life:
    """The facts that one play printed, each with its time. returncode: of its last process.   model_calls: if known."""

    facts: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    returncode: int = 0
    errors: str = ""
    model_calls: int | None = None
    is_timed_out: bool = False
    acts: OtherSide = field(default_factory=OtherSide)

    def named(self, event: str) -> list[dict[str, Any]]:
        return [fact for _, fact in self.facts if fact["event"] == event]

    def note(self, **fact: Any) -> None:
        """Add a fact of the lab itself."""
        self.facts.append((time.monotonic(), fact))

    @property
    def recovered_ms(self) -> int | None:
        """Time from the kill to the handler's next message; None without a message."""
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

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker that runs now."""
        ready = [fact["pid"] for fact in self.named("worker_ready")]
        return ready[-1] if ready else None


def play(call: Call, timeout_s: float, disturbances: Disturbances | None = None) -> Life:
    """Run one life, and a second one if the engine was killed."""
    disturbances = disturbances or Disturbances()
    life = Life()
    caller = Caller(life, disturbances.kill)
    with (
        tempfile.TemporaryDirectory(prefix="rewake-crash-") as folder,
        _models(call.rules, lambda rule: caller.heard(MODEL, "at", rule)) as (variables, count),
        other_side.other_side() as life.acts,
    ):
        life.acts.on_call = partial(caller.heard, OTHER_SIDE)
        variables = variables | {other_side.VARIABLE: life.acts.url}
        spec: dict[str, Any] = {name: getattr(call, name) for name in ("app", "service", "handler", "key", "body")}
        spec |= {"answer": call.answer, "data": folder, "folder": call.folder} | msgspec.to_builtins(disturbances)
        _live(spec, call, variables, life, timeout_s)
        if life.returncode == -signal.SIGKILL and not life.is_timed_out:
            life.note(event="engine_exited", returncode=life.returncode)
            _live(spec | {"kill": None}, call, variables, life, timeout_s)
        life.model_calls = count()
        return life


class Caller:
    """Kills the worker during its call to a model or to the other side."""

    def __init__(self, life: Life, kill: Kill | None) -> None:
        self._life = life
        self._kill = kill
        self._seen: Counter[Boundary] = Counter()

    def heard(self, target: str, when: str, what: str) -> bool:
        """A call has arrived; returns whether it is lost."""
        kind = Boundary(when, target, without_what_varies(what), 0)
        self._seen[kind] += 1
        here = msgspec.structs.replace(kind, occurrence=self._seen[kind])
        self._life.note(event="boundary", at=msgspec.to_builtins(here))
        pid = self._life.worker_pid
        if self._kill is None or self._kill.at != here or pid is None:
            return False
        self._kill = None
        self._life.note(event="killed", who="worker", pids=[pid])
        os.kill(pid, signal.SIGKILL)
        return True


def _live(spec: dict[str, Any], call: Call, variables: dict[str, str], life: Life, timeout_s: float) -> None:
    command = [sys.executable, "-m", "rewake.testing.crash.life", json.dumps(spec)]
    environment = {**os.environ, **variables, **call.environment}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        timer = threading.Timer(timeout_s, _give_up, (process, life))
        timer.start()
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
        reader.start()
        for line in process.stdout or ():
            try:
                fact = json.loads(line)
            except ValueError:
                fact = None
            if isinstance(fact, dict) and "event" in fact:
                life.facts.append((time.monotonic(), fact))
            else:
                errors.append(line)
        life.returncode = process.wait()
        timer.cancel()
        reader.join()
        life.errors = "".join(errors)


def _give_up(process: subprocess.Popen[str], life: Life) -> None:
    life.is_timed_out = True
    process.kill()


@contextmanager
def _models(
    rules: str | None, on_call: Callable[[str], object]
) -> Iterator[tuple[dict[str, str], Callable[[], int | None]]]:
    """Start a model server for the app. Gives the app's variables, and a function that counts the server's calls."""
    if rules is None:
        yield {}, lambda: None
        return
    from rewake.testing.models import ModelServer
    from rewake.testing.models.rules_file import load_rules
    from rewake.testing.models.script import Exchange

    def heard(exchange: Exchange) -> None:
        on_call(str(exchange.rule))

    with ModelServer(load_rules(rules), on_request=heard) as server:
        yield server.env(), lambda: len(server.requests)
