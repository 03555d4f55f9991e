"""A durable run: what adapters and users call. One `Run` for each attempt of an invocation, found with `current_run()`.

Steps go through turns.py, so pieces may run side by side; frameworks' pieces through rounds.py; bodies through
steps.py.
"""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

import restate
from restate import Context, RestateDurableFuture, RunOptions, TerminalError
from restate.extensions import current_context
from restate.server_context import get_extension_data, set_extension_data

from rewake.ext.kernel.envelope import Envelope, EnvelopeSerde
from rewake.ext.kernel.ids import Ids
from rewake.ext.kernel.offers import STREAM, offer
from rewake.ext.kernel.rounds import ORDER, Rounds
from rewake.ext.kernel.steps import Body, InPlace, NeedsBranch, body_here, called, divided, prepared
from rewake.ext.kernel.turns import CANCELLED, Turns, branch_here

T = TypeVar("T")

FRAMEWORK: Final = "kernel"
_KEY: Final = "rewake.ext.kernel"
_GRACE_S: Final = 2.0  # how long a framework has to end after the attempt is over
_ONCE: Final = InPlace(attempts=1)


class Run:
    """The durable run of this attempt. Not made by users: see `current_run`."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.turns = Turns()
        self.context: Any = None  # see context.py
        self.rounds = Rounds(self.turns, self._order)
        self.invocation_id = str(ctx.request().id)
        self._ids = Ids(self.invocation_id)
        self.listeners: list[Callable[[Envelope], None]] = []
        """Hear of each stored step of an agent, in the flow of the code: the same ones at each replay."""
        self._stream = offer(ctx, STREAM)
        self._is_driving = False
        self._cancelled_before: TerminalError | None = None

    # Steps

    async def record(
        self,
        name: str,
        body: Callable[[], Awaitable[Envelope]],
        *,
        options: RunOptions[Any] | None = None,
        retry: InPlace | None = None,
        or_branch: Envelope | None = None,
    ) -> Envelope:
        """One step of an agent, journaled as an envelope.

        name: stored, see envelope.py. body: runs once per journal; transient failures are tried again in place (retry),
        then by the engine (options). or_branch: what to store when the body turns out to use the context; the caller
        then runs it as a branch.
        Raises TerminalError for a final failure (4xx of a provider, a cancelled invocation).
        """
        await self.rounds.settle()
        if self._is_driving and self.turns.cancelled is not self._cancelled_before:
            raise self.turns.cancelled or TerminalError("cancelled", CANCELLED)
        future = self.start(name, body, options=options, retry=retry, or_branch=or_branch)
        envelope = await self.turns.wait(future)
        self.tell(envelope)
        return envelope

    def tell(self, envelope: Envelope) -> None:
        """Let the listeners know of a step. Adapters call it for a call that was no step itself, with its result."""
        for listener in self.listeners:
            listener(envelope)

    def start(
        self,
        name: str,
        body: Callable[[], Awaitable[Envelope]],
        *,
        options: RunOptions[Any] | None = None,
        retry: InPlace | None = None,
        or_branch: Envelope | None = None,
    ) -> RestateDurableFuture[Envelope]:
        """The entry of `record`, made now; wait for it with `wait`."""
        step = Body(name, self._ids.draw(branch_here.get()))

        async def recorded() -> Envelope:
            try:
                envelope = await body()
            except NeedsBranch:
                if or_branch is None:
                    raise
                return or_branch
            return envelope if step.attempts == 1 else envelope.with_value(envelope.value, attempts=step.attempts)

        return self._entry(step, recorded, EnvelopeSerde(), options, retry)

    async def step(
        self,
        name: str,
        function: Callable[..., Any],
        *args: Any,
        options: RunOptions[Any] | None = None,
        retry: InPlace | None = None,
    ) -> Any:
        """A step with a result of the user's own: see `durable_step`."""
        await self.rounds.settle()
        step = Body(name, self._ids.draw(branch_here.get()))
        future = self._entry(step, lambda: called(function, *args), None, options, retry)
        return await self.turns.wait(future)

    async def wait(self, future: RestateDurableFuture[T]) -> T:
        """The result of a durable future of the raw context; meanwhile other branches have the turn."""
        return await self.turns.wait(future)

    async def first(self, *futures: RestateDurableFuture[Any]) -> RestateDurableFuture[Any]:
        """The first completed one of durable futures, in the order given."""
        return await self.turns.first(*futures)

    # Pieces

    async def gather(self, *pieces: Callable[[], Awaitable[Any]]) -> list[Any]:
        """Run pieces side by side, each a branch; see `parallel`."""
        await self.rounds.settle()
        return await self.turns.gather(pieces)

    def expect(self, keys: Sequence[str]) -> None:
        """The framework is about to start these calls, each with `piece`: see rounds.py."""
        self.rounds.expect(keys)

    async def piece(self, key: str, body: Callable[[], Awaitable[T]], *, part_of: str | None = None) -> T:
        """Run a call that the framework has started as a branch of the flow that expects it.

        part_of: the call that this piece belongs to, for one that is not a call: a guardrail of a tool.
        """
        return await self.rounds.piece(key, body, part_of)

    async def drive(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a framework to its end: afterwards all pieces have ended, and the caller has the turn.

        The end of the attempt and a cancelled invocation are raised whatever the framework made of them.
        """
        if self._is_driving:
            return await self._settled(work())
        self._is_driving = True
        try:
            return await self._driven(work)
        finally:
            self._is_driving = False

    # Ids

    def draw_id(self) -> uuid.UUID:
        """The next id of this branch, the same in each attempt."""
        return self._ids.draw(branch_here.get())

    # Within

    def _entry(
        self,
        step: Body,
        work: Callable[[], Awaitable[T]],
        serde: Any,
        options: RunOptions[Any] | None,
        retry: InPlace | None,
    ) -> RestateDurableFuture[T]:
        self.turns.claim()
        step.stream = self._stream
        given, in_place = divided(options or RunOptions(), retry or InPlace())
        if serde is not None:
            given = dataclasses.replace(given, serde=serde, type_hint=None)
        body: Callable[[], Coroutine[Any, Any, T]] = prepared(step, work, in_place)
        return self.ctx.run_typed(step.name, body, given)

    def _order(self, arrivals: Callable[[], Awaitable[list[str]]]) -> RestateDurableFuture[Envelope]:
        async def body() -> Envelope:
            return Envelope(kind="order", framework=FRAMEWORK, value=await arrivals())

        return self.start(ORDER, body, retry=_ONCE)

    async def _driven(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        before = self._cancelled_before = self.turns.cancelled
        main = asyncio.get_running_loop().create_task(self._settled(work()))
        over = asyncio.get_running_loop().create_task(self.turns.over.wait())
        try:
            await asyncio.wait({main, over}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _ended(main)
            raise
        finally:
            await _ended(over)
        if self.turns.broken is not None:
            if not main.done():
                await asyncio.wait({main}, timeout=_GRACE_S)
            await _ended(main)
            await self.turns.close()
            raise self.turns.broken
        if self.turns.cancelled is not before and self.turns.cancelled is not None:
            main.exception()  # whatever the framework made of it
            raise self.turns.cancelled
        return main.result()

    async def _settled(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        finally:
            if self.turns.broken is None:
                await self.rounds.settle(whatever=True)

    async def __close__(self) -> None:
        """Called by the SDK when the handler has ended."""
        await self.turns.close()


def current_run() -> Run | None:
    """The run of this attempt, None outside of an invocation and inside the body of a step."""
    if body_here.get() is not None:
        return None
    ctx = raw_context()
    return None if ctx is None else run_of(ctx)


def run_of(ctx: Context) -> Run:
    """The run of a context that the SDK gave to a handler."""
    found = get_extension_data(ctx, _KEY)
    if not isinstance(found, Run):
        found = Run(ctx)
        set_extension_data(ctx, _KEY, found)
    return found


def raw_context() -> Context | None:
    """The SDK's context of this invocation, None outside of one."""
    try:
        ctx = current_context()
    except LookupError:  # the SDK's contextvar has no default
        return None
    raw = getattr(ctx, "rewake_raw", ctx)
    return raw if isinstance(raw, restate.Context) else None


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


def cancelled(problem: BaseException | None) -> bool:
    """Whether a problem is the cancellation of the invocation."""
    return isinstance(problem, TerminalError) and problem.status_code == CANCELLED
