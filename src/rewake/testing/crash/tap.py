"""Tap: sees every entry of the journals before and after it is stored, and kills at one of these boundaries.

It sits between a real worker pool and the engine, and observes the engine's commits. A kill is a real SIGKILL of the
worker, or of the process this runs in. A kill before an entry is stored also drops the messages that came with it.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from rewake.agents.effects import effect_in
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
from rewake.protocol.messages import Error, MessageType, ProposeRunCompletion
from rewake.testing.crash.boundary import Boundary, Kill, without_what_varies
from rewake.testing.crash.report import MISMATCH

_SILENT = frozenset({MessageType.AWAITING_ON, MessageType.ERROR, MessageType.SUSPENSION})
"""Messages that store nothing: a kill before one equals a kill after the message before it."""


MISMATCHES_MAX: Final = 3
"""After so many attempts that do not match the journal a life ends: further attempts would not either."""


GATHERED_S: Final = 0.01
"""Results that arrive within this time of one another count as parallel: any of them may come first."""


class Tap:
    """The boundaries of one life. say: gets each fact, a JSON object.   pids: of the running workers.

    cancel_at: at this boundary `cancel` is called with the invocation's id, and awaited.   seed: shuffles results.
    """

    def __init__(
        self,
        kill: Kill | None,
        say: Callable[[dict[str, Any]], None],
        pids: Callable[[], list[int]],
        *,
        cancel_at: Boundary | None = None,
        seed: int | None = None,
    ) -> None:
        self.cancel: Callable[[str], Awaitable[object]] | None = None
        self._cancel_at = cancel_at
        self.order = None if seed is None else random.Random(seed)
        self._kill = kill
        self._say = say
        self._pids = pids
        self._seen: Counter[Boundary] = Counter()
        self._targets: dict[InvocationId, str] = {}
        self._names: dict[tuple[str, int], str] = {}
        self.last: Boundary | None = None
        self.has_killed = False
        self.is_hopeless = asyncio.Event()
        self._mismatches = 0
        self._trace = ""

    def pass_boundary(self, when: str, target: str, entry: str) -> bool:
        """Pass a boundary; True if the worker was killed here. Does not return if the engine is killed."""
        here = self._boundary(when, target, entry)
        self._say({"event": "boundary", "at": msgspec.to_builtins(here)})
        if self.has_killed or self._kill is None or here != self._kill.at:
            return False
        self.has_killed = True
        pids = [os.getpid()] if self._kill.who == "engine" else self._pids()
        self._say({"event": "killed", "who": self._kill.who, "pids": pids})
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return True

    def _boundary(self, when: str, target: str, entry: str) -> Boundary:
        entry = without_what_varies(entry)
        kind = Boundary(when, target, entry, 0)
        self._seen[kind] += 1
        self.last = Boundary(when, target, entry, self._seen[kind])
        return self.last

    def takes_cancellation(self) -> bool:
        """Whether the call must be cancelled at the boundary just passed."""
        is_here = self._cancel_at is not None and self.last == self._cancel_at
        if is_here:
            self._cancel_at = None
            self._say({"event": "cancelled"})
        return is_here

    def on_start(self, start: AttemptStart) -> str:
        """An attempt begins; returns its target."""
        key = "" if start.key is None else f"/{start.key}"
        return f"{start.service}{key}/{start.handler}"

    def on_message(self, start: AttemptStart, target: str, received: ReceivedMessage) -> bool:
        """A message of the handler has arrived; returns whether it and all later ones are lost."""
        message, type_id, _, _ = received
        if isinstance(message, Error):
            self._trace = message.stacktrace
        if type_id in _SILENT:
            return False
        name = str(getattr(message, "name", "") or "")
        completion = getattr(message, "completion_id", None)
        if isinstance(message, ProposeRunCompletion):
            name = self._names.get((start.invocation_id, message.completion_id), f"no. {message.completion_id}")
            effect = effect_in(getattr(message.result, "content", None))
            if effect is not None:
                self._say({"event": "effect", "key": effect.key, "name": effect.name, "state": effect.state})
            self._say({"event": "ran", "run": start.invocation_id, "step": message.completion_id, "name": name})
            return self.pass_boundary("before", target, f"result of {name}")
        if type_id == MessageType.RUN and completion is not None:
            self._names[start.invocation_id, completion] = name
            self._say({"event": "named", "run": start.invocation_id, "step": completion, "name": name})
        return self.pass_boundary("before", target, _entry_name(type_id, name))

    # Observer: durable facts

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
            facts["stacktrace"], self._trace = self._trace, ""
            self._say({"event": "attempt_failed", "facts": facts})

    def traceparent(self, given: str | None) -> str | None:
        return given

    def attempt_traceparent(self, effect: StartAttempt) -> str | None:
        return effect.traceparent

    def on_completed(self, effect: Completed) -> None:
        """Nothing to do: the call's answer is enough."""

    def on_attempt_ended(self, effect: StartAttempt, started_at_ms: int) -> None:
        """Nothing to do."""


class TappedPool:
    """A worker pool whose messages pass a tap before they reach the engine."""

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
    """The engine's sink of one attempt. It is cut at a kill, and waits while a cancellation goes first."""

    def __init__(self, start: AttemptStart, sink: AttemptSink, tap: Tap) -> None:
        self._start = start
        self._sink = sink
        self._tap = tap
        self._target = tap.on_start(start)
        self._is_cut = False
        self._held: list[ReceivedMessage] | None = None
        self._results: list[ReceivedMessage] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def on_messages(self, messages: list[ReceivedMessage]) -> None:
        if self._held is not None:
            self._held += messages
            return
        for index, received in enumerate(messages):
            if self._is_cut or self._tap.on_message(self._start, self._target, received):
                self._is_cut = True
                messages = messages[:index]
                break
            if self._tap.takes_cancellation():
                self._pass(messages[:index])
                self._held = messages[index:]
                task = asyncio.get_running_loop().create_task(self._cancel())
                self._tasks.add(task)
                return
        self._pass(messages)

    async def _cancel(self) -> None:
        """Cancel the invocation, and only then pass on its handler's messages."""
        assert self._tap.cancel is not None
        await self._tap.cancel(self._start.invocation_id)
        held, self._held = self._held or [], None
        self._pass(held)

    def _pass(self, messages: list[ReceivedMessage]) -> None:
        """Pass messages to the engine; with a seed, results of steps are shuffled."""
        if self._tap.order is not None:
            self._results += [each for each in messages if isinstance(each[0], ProposeRunCompletion)]
            messages = [each for each in messages if not isinstance(each[0], ProposeRunCompletion)]
            if self._results:
                self._timer = self._timer or asyncio.get_running_loop().call_later(GATHERED_S, self._shuffled)
        if messages:
            self._sink.on_messages(messages)

    def _shuffled(self) -> None:
        """Pass on one of the collected results; the others follow later."""
        assert self._tap.order is not None
        self._timer = None
        if self._results:
            self._sink.on_messages([self._results.pop(self._tap.order.randrange(len(self._results)))])
        if self._results:
            self._timer = asyncio.get_running_loop().call_later(GATHERED_S, self._shuffled)

    def on_failure(self, failure: AttemptFailure) -> None:
        self._sink.on_failure(failure)

    def on_closed(self) -> None:
        if self._is_cut:  # the handler had sent everything, so nobody else would report the loss
            self._sink.on_failure(AttemptFailure(code="RT0010", status=500, message="The worker was killed."))
        else:
            self._sink.on_closed()


def _entry_name(type_id: int, name: str) -> str:
    try:
        kind = MessageType(type_id).name.lower().replace("_", " ")
    except ValueError:
        kind = f"message {type_id:#06x}"
    return f"{kind} {name}".rstrip()
