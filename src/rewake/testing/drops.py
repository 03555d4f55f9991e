"""Crashes within this process: attempts are dropped at every boundary of a call's journals, and resume.

The boundaries are those of the crash lab (crash/tap.py): just before and just after an entry is stored. Running
attempts are dropped as if their worker had died: handlers are cancelled, their unstored messages are lost, and the
engine starts them again. A play costs milliseconds. Unlike in a real crash, module variables survive and `finally`
blocks run; `rewake crash-test` kills real processes.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from rewake.core.ids import awakeable_id_parse
from rewake.core.model import Blame
from rewake.deployments.base import AttemptFailure, AttemptHandle, AttemptSink, AttemptStart, ReceivedMessage
from rewake.engine.results import InvocationFailed, encode_body
from rewake.protocol.messages import Success
from rewake.testing.crash.boundary import Kill
from rewake.testing.crash.judging import judged, report_of
from rewake.testing.crash.lab import spread
from rewake.testing.crash.playing import Life
from rewake.testing.crash.report import Report
from rewake.testing.crash.tap import Tap
from rewake.testing.models import ModelServer
from rewake.testing.virtual_engine import TIMEOUT_S, VirtualEngine
from rewake.testing.virtual_time import SkippedDeployment, SkippingEngine

ANSWERS_EVERY_S: Final = 0.02
"""Time between checks for open awakeables."""

TRIES_MAX: Final = 3
"""Plays for one boundary. Entries that are stored together, and the order of parallel ones, differ between plays."""

DROPPED: Final = "The attempt was dropped by the test."


class AppCall(msgspec.Struct, frozen=True, kw_only=True):
    """The call to play. app: an app object, or a service.   key: None for a service.

    answer: resolves every awakeable.
    """

    app: Any
    service: str
    handler: str
    body: Any = None
    key: str | None = None
    answer: Any = None

    @property
    def path(self) -> str:
        return "/".join(part for part in (self.service, self.key, self.handler) if part is not None)


def drop_everywhere(
    call: AppCall,
    *,
    limit: int | None = None,
    timeout_s: float = TIMEOUT_S,
    models: ModelServer | None = None,
) -> Report:
    """Drop the running attempts at every boundary of a call, one play for each, and report like the crash lab.

    limit: boundaries at most, evenly spread.   models: reset before each play, so that its calls can be counted.
    Raises InvocationFailed or TimeoutError if the call fails without a drop.
    """
    first, again = _play(call, None, timeout_s, models), _play(call, None, timeout_s, models)
    report, boundaries = report_of(call.path, first, again)
    for boundary in spread(boundaries, limit):
        for _ in range(TRIES_MAX):
            life = _play(call, Kill("worker", boundary), timeout_s, models)
            if life.named("dropped"):
                break
        play = judged(life, f"dropped {boundary}", report.expected, first)
        play.has_landed = bool(life.named("dropped"))
        report.plays.append(play)
    return report


def replay_always(call: AppCall, timeout_s: float = TIMEOUT_S) -> Any:
    """The result of a call whose handlers suspend at every await, so that each await is replayed.

    Raises AssertionError if a replay differs; InvocationFailed and TimeoutError like a call.
    """
    __tracebackhide__ = True
    life = Life()
    with tempfile.TemporaryDirectory(prefix="rewake-replay-") as folder:
        stage = _Stage(folder, None, life, timeout_s, always_replay=True)
        with stage:
            stage.serve(call.app)
            answer = stage.answer(call, is_first=True)
            if reports := stage.mismatches():
                lines = [f"{call.path} takes another way at a replay.", *(f"  {each}" for each in reports[0].lines())]
                raise AssertionError("\n".join(lines))
    if "failed" in answer:
        raise AssertionError(f"{call.path} failed: {answer['failed']}")
    return answer.get("value")


def _play(call: AppCall, kill: Kill | None, timeout_s: float, models: ModelServer | None) -> Life:
    if models is not None:
        models.reset()
    life = Life()
    with tempfile.TemporaryDirectory(prefix="rewake-drops-") as folder, _Stage(folder, kill, life, timeout_s) as stage:
        stage.serve(call.app)
        answer = stage.answer(call, is_first=kill is None)
        life.note(**answer)
    life.model_calls = None if models is None else len(models.requests)
    return life


class _Stage(VirtualEngine):
    """One engine for one play. Like crash/life.py it adds facts to the life."""

    def __init__(
        self, path: str | Path, kill: Kill | None, life: Life, timeout_s: float, *, always_replay: bool = False
    ) -> None:
        self.tap = _DropTap(kill, lambda fact: life.note(**fact))
        super().__init__(path, timeout_s=timeout_s, always_replay=always_replay, observer=self.tap)

    def _deployment(self, app: Any) -> SkippedDeployment:
        return _DroppedDeployment(app, self._running, self.tap)

    def answer(self, call: AppCall, *, is_first: bool) -> dict[str, Any]:
        """The fact of the call's end; an empty one if its code never matches the journal again."""
        try:
            value = self._run(self._answered(call))
        except InvocationFailed as error:
            return {"event": "answer", "failed": {"code": error.code, "message": error.message}}
        except TimeoutError:
            if is_first:
                raise
            return {"event": "timed_out"}
        return {"event": "gave_up"} if self.tap.is_hopeless.is_set() else {"event": "answer", "value": value}

    async def _answered(self, call: AppCall) -> Any:
        calling = asyncio.ensure_future(self._call(call.service, call.handler, call.body, call.key, None))
        hopeless = asyncio.ensure_future(self.tap.is_hopeless.wait())
        answering = asyncio.ensure_future(self._answer_forever(call.answer)) if call.answer is not None else hopeless
        try:
            await asyncio.wait((calling, hopeless), return_when=asyncio.FIRST_COMPLETED)
            return calling.result() if calling.done() else None
        finally:
            for task in (calling, hopeless, answering):
                task.cancel()
            await asyncio.gather(calling, hopeless, answering, return_exceptions=True)

    async def _answer_forever(self, answer: Any) -> None:
        while True:
            await self._running.settled()  # only a suspended run shows what it waits for
            for awakeable in await asyncio.to_thread(self._awaited):
                invocation_id, signal = awakeable_id_parse(awakeable)
                await self._running.complete_awakeable(invocation_id, signal, Success(encode_body(answer)))
            await asyncio.sleep(ANSWERS_EVERY_S)


class _DropTap(Tap):
    """The lab's tap, but its kill drops the running attempts."""

    def __init__(self, kill: Kill | None, say: Any) -> None:
        super().__init__(kill, say, list)
        self._facts = say
        self.running: set[_Dropping] = set()

    def pass_boundary(self, when: str, target: str, entry: str) -> bool:
        if not self.running:  # no attempt to drop; the boundary still counts as an occurrence
            self._boundary(when, target, entry)
            return False
        is_here = super().pass_boundary(when, target, entry)
        if is_here:
            for attempt in list(self.running):
                attempt.drop()
            self._facts({"event": "dropped", "attempts": len(self.running)})
        return is_here


class _DroppedDeployment(SkippedDeployment):
    def __init__(self, app: Any, engine: SkippingEngine, tap: _DropTap) -> None:
        super().__init__(app, engine)
        self._tap = tap

    def start_attempt(self, start: AttemptStart, sink: AttemptSink) -> AttemptHandle:
        dropping = _Dropping(start, sink, self._tap)
        dropping.handle = super().start_attempt(start, dropping)
        return dropping.handle


class _Dropping:
    """The engine's sink of one attempt, until it is dropped."""

    def __init__(self, start: AttemptStart, sink: AttemptSink, tap: _DropTap) -> None:
        self.handle: AttemptHandle | None = None
        self._start = start
        self._sink = sink
        self._tap = tap
        self._target = tap.on_start(start)
        self._is_dropped = False
        tap.running.add(self)

    def drop(self) -> None:
        """Cancel the handler, and report to the engine that its process is gone."""
        if self._is_dropped or self.handle is None:
            return
        self._is_dropped = True
        self.handle.abort()
        failure = AttemptFailure(code="RT0010", status=500, message=DROPPED, retry_after_ms=0, blame=Blame.NOBODY)
        asyncio.get_running_loop().call_soon(self._end, failure)

    def _end(self, failure: AttemptFailure) -> None:
        self._tap.running.discard(self)
        self._sink.on_failure(failure)

    def on_messages(self, messages: list[ReceivedMessage]) -> None:
        for index, received in enumerate(messages):
            if self._is_dropped or self._tap.on_message(self._start, self._target, received):
                messages = messages[:index]
                break
        if messages:
            self._sink.on_messages(messages)

    def on_failure(self, failure: AttemptFailure) -> None:
        self._tap.running.discard(self)
        self._sink.on_failure(failure)

    def on_closed(self) -> None:
        if not self._is_dropped:
            self._tap.running.discard(self)
            self._sink.on_closed()
