"""Tap: sees every entry of the journals before and after it is stored, and kills at one of these boundaries.

Between a real worker pool and the engine, and behind the engine's commits. A kill is a real SIGKILL: of the worker, or
of the process this runs in. Messages that arrived with an entry that is killed before it is stored are dropped.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from rewake.core.effects import Completed, Note, StartAttempt
from rewake.core.ids import InvocationId, invocation_id_to_str
from rewake.core.writes import Batch
from rewake.deployments.base import (
    AttemptFailure,
    AttemptHandle,
    AttemptSink,
    AttemptStart,
    DiscoveryResponse,
    ReceivedMessage,
)
from rewake.deployments.worker_pool import WorkerPool
from rewake.protocol.messages import MessageType, ProposeRunCompletion

Who = Literal["worker", "engine"]

_SILENT = frozenset({MessageType.AWAITING_ON, MessageType.ERROR, MessageType.SUSPENSION})
"""Messages that store nothing: a kill before them is one after what came last."""


MISMATCH: Final = "RT0016"
MISMATCHES_MAX: Final = 3
"""Attempts whose code did not fit the journal, until a life is given up: they would go on for ever."""

_VARYING: Final = re.compile(r"[0-9a-fA-F-]{24,}|\d{5,}")
"""Parts of a name that are different in each life: ids and times. A boundary is found again without them."""


class Boundary(msgspec.Struct, frozen=True):
    """Where to kill. when: `before` or `after` the entry is stored.   entry: what it is, with its name.

    occurrence: of equal ones in invocations of this target, from 1.
    """

    when: str
    target: str
    entry: str
    occurrence: int = 1

    def __str__(self) -> str:
        again = f" (no. {self.occurrence})" if self.occurrence > 1 else ""
        return f"{self.when} {self.target}: {self.entry}{again}"


class Kill(msgspec.Struct, frozen=True):
    who: Who
    at: Boundary


class Tap:
    """One life's boundaries. say: takes the facts, a JSON object each.   pids: of the workers that live."""

    def __init__(self, kill: Kill | None, say: Callable[[dict[str, Any]], None], pids: Callable[[], list[int]]) -> None:
        self._kill = kill
        self._say = say
        self._pids = pids
        self._seen: Counter[Boundary] = Counter()
        self._targets: dict[InvocationId, str] = {}
        self._names: dict[tuple[str, int], str] = {}
        self.has_killed = False
        self.is_hopeless = asyncio.Event()
        self._mismatches = 0

    def pass_boundary(self, when: str, target: str, entry: str) -> bool:
        """Whether it is where the kill came. Does not return when the engine is killed."""
        entry = _VARYING.sub("#", entry)
        kind = Boundary(when, target, entry, 0)
        self._seen[kind] += 1
        here = Boundary(when, target, entry, self._seen[kind])
        self._say({"event": "boundary", "at": msgspec.to_builtins(here)})
        if self.has_killed or self._kill is None or here != self._kill.at:
            return False
        self.has_killed = True
        pids = [os.getpid()] if self._kill.who == "engine" else self._pids()
        self._say({"event": "killed", "who": self._kill.who, "pids": pids})
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return True

    def on_start(self, start: AttemptStart) -> str:
        """An attempt begins; its target."""
        key = "" if start.key is None else f"/{start.key}"
        return f"{start.service}{key}/{start.handler}"

    def on_message(self, start: AttemptStart, target: str, received: ReceivedMessage) -> bool:
        """A message of the handler has arrived. Whether it and what follows is lost."""
        message, type_id, _, _ = received
        if type_id in _SILENT:
            return False
        name = str(getattr(message, "name", "") or "")
        completion = getattr(message, "completion_id", None)
        if isinstance(message, ProposeRunCompletion):
            name = self._names.get((start.invocation_id, message.completion_id), f"no. {message.completion_id}")
            self._say({"event": "ran", "run": start.invocation_id, "step": message.completion_id, "name": name})
            return self.pass_boundary("before", target, f"result of {name}")
        if type_id == MessageType.RUN and completion is not None:
            self._names[start.invocation_id, completion] = name
            self._say({"event": "named", "run": start.invocation_id, "step": completion, "name": name})
        return self.pass_boundary("before", target, _entry_name(type_id, name))

    # Observer: facts once they are durable

    def on_commit(self, batch: Batch, _duration_s: float) -> None:
        for invocation in batch.inserts:
            self._targets[invocation.id] = str(invocation.target)
        for row in batch.entries:
            target = self._targets.get(row.invocation_id, "?")
            if row.type_id == MessageType.RUN_COMPLETION:
                key = (invocation_id_to_str(row.invocation_id), row.completion_id or 0)
                self._say({"event": "stored", "run": key[0], "step": key[1]})
                self.pass_boundary("after", target, f"result of {self._names.get(key, f'no. {key[1]}')}")
            else:
                self.pass_boundary("after", target, _entry_name(row.type_id, row.name or ""))

    def on_note(self, note: Note) -> None:
        if note.event == "attempt_failed":
            self._mismatches += note.facts.get("code") == MISMATCH
            if self._mismatches >= MISMATCHES_MAX:
                self.is_hopeless.set()
            facts = {name: value for name, value in note.facts.items() if isinstance(value, str | int | float | None)}
            self._say({"event": "attempt_failed", "facts": facts})

    def traceparent(self, given: str | None) -> str | None:
        return given

    def attempt_traceparent(self, effect: StartAttempt) -> str | None:
        return effect.traceparent

    def on_completed(self, effect: Completed) -> None:
        """Nothing: the answer is what counts."""

    def on_attempt_ended(self, effect: StartAttempt, started_at_ms: int) -> None:
        """Nothing."""


class TappedPool:
    """A worker pool whose messages pass a tap on their way to the engine."""

    def __init__(self, pool: WorkerPool, tap: Tap) -> None:
        self._pool = pool
        self._tap = tap
        self.protocol_type = pool.protocol_type

    async def discover(self) -> DiscoveryResponse:
        return await self._pool.discover()

    def start_attempt(self, start: AttemptStart, sink: AttemptSink) -> AttemptHandle:
        return self._pool.start_attempt(start, _TappedSink(start, sink, self._tap))

    async def close(self) -> None:
        await self._pool.close()


class _TappedSink:
    """The engine's sink of one attempt, cut off where the kill came."""

    def __init__(self, start: AttemptStart, sink: AttemptSink, tap: Tap) -> None:
        self._start = start
        self._sink = sink
        self._tap = tap
        self._target = tap.on_start(start)
        self._is_cut = False

    def on_messages(self, messages: list[ReceivedMessage]) -> None:
        for index, received in enumerate(messages):
            if self._is_cut or self._tap.on_message(self._start, self._target, received):
                self._is_cut = True
                messages = messages[:index]
                break
        if messages:
            self._sink.on_messages(messages)

    def on_failure(self, failure: AttemptFailure) -> None:
        self._sink.on_failure(failure)

    def on_closed(self) -> None:
        if self._is_cut:  # the handler had said all it had to say: nobody else reports that it is lost
            self._sink.on_failure(AttemptFailure(code="RT0010", status=500, message="The worker was killed."))
        else:
            self._sink.on_closed()


def _entry_name(type_id: int, name: str) -> str:
    try:
        kind = MessageType(type_id).name.lower().replace("_", " ")
    except ValueError:
        kind = f"message {type_id:#06x}"
    return f"{kind} {name}".rstrip()
