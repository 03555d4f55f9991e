"""Replays one recorded journal through an app, without effects.

The SDK gets the journal as a replay, and the code runs to the journal's end. The replay ends there, before the first
new command or the body of a step without a result. So a run fits if the code asks for all entries of the journal, in
their order. Code outside steps runs, as at every replay.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any, Final, Literal

import msgspec
import restate

from rewake.core.failures import error_of, facts_of
from rewake.core.ids import random_seed_of
from rewake.deployments.asgi import DISCONNECT, END_OF_REQUEST, REQUEST_SCOPE, Event
from rewake.deployments.base import AttemptStart
from rewake.deployments.containment import contain
from rewake.deployments.framed_attempt import invoke_path, request_headers
from rewake.disclosure import is_sealed
from rewake.protocol.codec import decode_message, encode_message
from rewake.protocol.framing import FrameDecoder, encode_frames
from rewake.protocol.journal_json import entry_type_name
from rewake.protocol.messages import (
    ClearStateCommand,
    Error,
    Failure,
    GetEagerStateCommand,
    Message,
    MessageType,
    OutputCommand,
    SetStateCommand,
    Start,
    Success,
)
from rewake.runs.displays import line_of
from rewake.runs.mismatch import JOURNAL_MISMATCH, Mismatch, mismatch_of, with_made_line
from rewake.runs.steps import named_steps
from rewake.testing.replay.files import RecordedJournal
from rewake.testing.virtual_engine import SERVICES

TIMEOUT_S: Final = 10.0
CANCELS_MAX: Final = 3
CANCELLED_WITHIN_S: Final = 0.5
"""A handler is cancelled at most so often, then left alone: its requests get no answer any more."""

End = Literal["ends", "goes on", "waits", "differs", "fails", "gone", "hangs"]
FITTING: Final = frozenset({"ends", "goes on", "waits"})
"""ends: with a result.   goes on: the code asked for the whole journal, then a new command.   waits: like the run."""

ENDED: Final = frozenset({"succeeded", "failed"})
"""Statuses of runs that had ended at the export."""

_WORDS_MAX: Final = 300


class ReplayOutcome(msgspec.Struct, kw_only=True):
    """The result for one journal. detail: the code's next command, how it ended, or why it does not fit.

    mismatch: the report, if an entry differs.   answers_differ: it ended like the run, but with another result.
    """

    id: str
    target: str
    status: str
    end: End
    detail: str = ""
    mismatch: Mismatch | None = None
    answers_differ: bool = False

    @property
    def fits(self) -> bool:
        """Whether the code fits the journal. A run that has ended must not wait."""
        return self.end in FITTING and not (self.end == "waits" and self.status in ENDED)


_replay_here: ContextVar[_Replay | None] = ContextVar("rewake_replay", default=None)


async def replay(app: Any, journal: RecordedJournal, *, timeout_s: float = TIMEOUT_S) -> ReplayOutcome:
    """Replay a journal through an ASGI app of the SDK. timeout_s: real time for the code."""
    contain()
    with _no_step_acts():
        return await _Replay(journal).run(app, timeout_s)


def replay_all(
    app: Any, journals: Iterator[RecordedJournal], *, timeout_s: float = TIMEOUT_S
) -> Iterator[ReplayOutcome]:
    """The outcome of each journal, one after the other. app: an app of the SDK, or one of its services."""
    app = restate.app([app]) if isinstance(app, SERVICES) else app
    with asyncio.Runner() as runner:
        for journal in journals:
            yield runner.run(_alone(replay(app, journal, timeout_s=timeout_s)))


async def _alone(work: Coroutine[Any, Any, ReplayOutcome]) -> ReplayOutcome:
    """The outcome, after the tasks that the code left running have ended."""
    outcome = await work
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=CANCELLED_WITHIN_S)
    return outcome


class _Replay:
    """One replay: the `receive` and `send` of its ASGI call, and later its outcome."""

    def __init__(self, journal: RecordedJournal) -> None:
        self._journal = journal
        self._rows = [row for row in journal.rows() if row.type_id != MessageType.OUTPUT]
        self._decoder = FrameDecoder()
        self._events: list[Event] = [
            {"type": "http.request", "body": self._opening(), "more_body": True},
            END_OF_REQUEST,
        ]
        self._outcome: asyncio.Future[ReplayOutcome] = asyncio.get_running_loop().create_future()
        self._output: OutputCommand | None = None
        self._is_over = False
        self._held: list[asyncio.Future[None]] = []
        self._receiving: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

    async def run(self, app: Any, timeout_s: float) -> ReplayOutcome:
        token = _replay_here.set(self)
        task = asyncio.get_running_loop().create_task(app(self._scope(), self._receive, self._send))
        _replay_here.reset(token)
        task.add_done_callback(self._on_task_done)
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(self._outcome)
        except TimeoutError:
            return self._ended("hangs", f"The code did not come to an end of the journal within {timeout_s:g} s.")
        finally:
            self._disconnect()
            for _ in range(CANCELS_MAX):  # code may swallow a cancellation and go on
                if not task.cancel():
                    break
                await asyncio.wait((task,), timeout=CANCELLED_WITHIN_S)

    def on_body(self) -> None:
        """The body of a step without a result is about to run."""
        done = {row.completion_id for row in self._rows if row.type_id == MessageType.RUN_COMPLETION}
        runs = [row for row in self._rows if row.type_id == MessageType.RUN]
        names = [row.name or "" for row in runs if row.completion_id not in done]
        what = f"the step {names[0]!r}" if len(names) == 1 else "a step that has no result yet"
        self._end("goes on", f"runs {what}")

    # ASGI

    async def _receive(self) -> Event:
        if self._events:
            return self._events.pop(0)
        return await asyncio.shield(self._receiving)

    async def _send(self, event: Event) -> None:
        if event["type"] == "http.response.start":
            if event["status"] != 200:
                self._end("gone", f"The app does not serve {self._journal.service}/{self._journal.handler}.")
        elif body := event.get("body"):
            for type_id, _, payload in self._decoder.feed(bytes(body)):
                self._on_message(type_id, decode_message(type_id, payload, self._journal.protocol_version))
        if self._outcome.done() and not self._is_over:
            await self.hold()

    async def hold(self) -> None:
        """Block the code here until the replay is over."""
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held.append(held)
        await held

    def _disconnect(self) -> None:
        """Behave like an engine that disconnects: waiting tasks and the handler end."""
        self._is_over = True
        if not self._receiving.done():
            self._receiving.set_result(DISCONNECT)
        for held in self._held:
            held.cancel()

    def _on_message(self, type_id: int, message: Message) -> None:
        match message:
            case OutputCommand():
                self._output = message
            case Error():
                self._end_with(message)
            case _ if type_id == MessageType.END:
                self._end_with_output()
            case _ if type_id == MessageType.SUSPENSION:
                self._end("waits", "waits for what the journal does not have yet")
            case _ if type_id < MessageType.GET_LAZY_STATE_COMPLETION and type_id >= MessageType.INPUT:
                name = getattr(message, "name", "") or ""
                self._end("goes on", f"asks for {entry_type_name(type_id).partition(': ')[2]} {name}".strip())

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._end("fails", f"The app raised {error!r}.")

    # Ends

    def _end_with_output(self) -> None:
        given = None if self._output is None else self._output.result
        text = line_of(given, _WORDS_MAX) or "nothing"
        recorded = next((e for e in reversed(self._journal.entries) if e.type_id == MessageType.OUTPUT), None)
        outcome = self._ended("ends", f"ends with {text}")
        if recorded is not None and given is not None:
            before = decode_message(recorded.type_id, recorded.payload, self._journal.protocol_version)
            assert isinstance(before, OutputCommand)
            outcome.answers_differ = before.result != given and not _is_sealed(before.result)
            if outcome.answers_differ:
                outcome.detail += f"; recorded is {line_of(before.result, _WORDS_MAX) or 'nothing'}"
        self._set(outcome)

    def _end_with(self, error: Error) -> None:
        if error.code == JOURNAL_MISMATCH:
            error = with_made_line(error, self._rows)
        report = mismatch_of(facts_of(error_of(error)), named_steps(self._rows, self._journal.protocol_version))
        if report is None:
            self._end("fails", f"The attempt failed: [{error.code}] {error.message[:_WORDS_MAX]}")
        else:
            outcome = self._ended("differs", report.sentence())
            outcome.mismatch = report
            self._set(outcome)

    def _end(self, end: End, detail: str) -> None:
        self._set(self._ended(end, detail))

    def _set(self, outcome: ReplayOutcome) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    def _ended(self, end: End, detail: str) -> ReplayOutcome:
        journal = self._journal
        return ReplayOutcome(id=journal.id, target=journal.target, status=journal.status, end=end, detail=detail)

    # Messages for the SDK

    def _start(self) -> AttemptStart:
        journal = self._journal
        return AttemptStart(
            service=journal.service,
            handler=journal.handler,
            key=journal.key,
            invocation_id=journal.id,
            protocol_version=journal.protocol_version,
            frames=b"",
        )

    def _scope(self) -> dict[str, Any]:
        start = self._start()
        path = invoke_path(start)
        return {**REQUEST_SCOPE, "raw_path": path, "path": path.decode(), "headers": request_headers(start)}

    def _opening(self) -> bytes:
        """The Start message and the journal's entries."""
        journal = self._journal
        state, is_partial = self._state()
        start = Start(
            id=journal.raw_id,
            debug_id=journal.id,
            known_entries=len(self._rows),
            state=state,
            partial_state=is_partial,
            key=journal.key or "",
            retry_count_since_last_stored_entry=0,
            duration_since_last_stored_entry=0,
            random_seed=random_seed_of(journal.raw_id) if journal.random_seed is None else journal.random_seed,
            idempotency_key=journal.idempotency_key,
        )
        head = (MessageType.START, encode_message(start, journal.protocol_version))
        return encode_frames([head, *((row.type_id, row.payload) for row in self._rows)])

    def _state(self) -> tuple[tuple[tuple[bytes, bytes], ...], bool]:
        """The state at the run's start, as far as the run read it, and whether it read some of it lazily."""
        found: dict[bytes, bytes | None] = {}
        is_lazy = False
        for row in self._rows:
            is_lazy = is_lazy or row.type_id in (MessageType.GET_LAZY_STATE, MessageType.GET_LAZY_STATE_KEYS)
            message = decode_message(row.type_id, row.payload, self._journal.protocol_version)
            if isinstance(message, GetEagerStateCommand):
                content = message.result.content if isinstance(message.result, Success) else None
                found.setdefault(message.key, content)
            elif isinstance(message, SetStateCommand | ClearStateCommand):
                found.setdefault(message.key, None)
        return tuple((key, value) for key, value in found.items() if value is not None), is_lazy


def _is_sealed(result: Success | Failure) -> bool:
    """Whether a result is encrypted: its bytes then differ each time."""
    return isinstance(result, Success) and is_sealed(result.content)


@contextlib.contextmanager
def _no_step_acts() -> Iterator[None]:
    """No step's body runs in a replay: the replay ends there.

    The seam is one of deployments/containment.py: `create_run_coroutine` of restate.server_context.
    """
    sdk: Any = sys.modules["restate.server_context"]
    run_step: Callable[..., Any] = sdk.ServerInvocationContext.create_run_coroutine

    @functools.wraps(run_step)
    async def create_run_coroutine(*args: Any, **kwargs: Any) -> Any:
        replayed = _replay_here.get()
        if replayed is not None:
            replayed.on_body()
            await replayed.hold()
        return await run_step(*args, **kwargs)

    sdk.ServerInvocationContext.create_run_coroutine = create_run_coroutine
    try:
        yield
    finally:
        sdk.ServerInvocationContext.create_run_coroutine = run_step
