"""A durable run: what adapters and users call. One `Run` for each attempt of an invocation, found with `current_run()`.

Steps go through turns.py, so pieces may run side by side; frameworks' pieces through rounds.py; bodies through
steps.py.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import restate
from restate import Context, RestateDurableFuture, RunOptions, TerminalError
from restate.extensions import current_context
from restate.server_context import get_extension_data, set_extension_data

from rewake.ext.kernel.envelope import Envelope, EnvelopeSerde
from rewake.ext.kernel.errors import EffectUnknown, nested_entry
from rewake.ext.kernel.guarding import guard
from rewake.ext.kernel.ids import Ids
from rewake.ext.kernel.lines import note_start
from rewake.ext.kernel.offers import STREAM, offer
from rewake.ext.kernel.rounds import ORDER, Rounds
from rewake.ext.kernel.steps import Body, InPlace, NeedsBranch, alone, body_here, called, divided, prepared
from rewake.ext.kernel.turns import CANCELLED, Turns, branch_here
from rewake.ext.kernel.undo import Undoing, is_final, undo_all

T = TypeVar("T")

FRAMEWORK: Final = "kernel"
_KEY: Final = "rewake.ext.kernel"
_GRACE_S: Final = 2.0  # how long a framework has to end after the attempt is over
_ONCE: Final = InPlace(attempts=1)
_IN_PLACE: Final = InPlace()
_OPTIONS: Final[RunOptions[Any]] = RunOptions()
_OF_ENVELOPES: Final[RunOptions[Any]] = RunOptions(serde=EnvelopeSerde())


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
        """Called with each stored step of an agent, in the order of the code: with the same steps at each replay."""
        self.closers: list[Callable[[], None]] = []
        """Called when the handler has ended, with or without a failure."""
        self._stream = offer(ctx, STREAM)
        self._is_driving = False
        self._cancelled_before: TerminalError | None = None
        self._ending: EffectUnknown | None = None
        self.undos: list[Undoing] = []
        """The undo list of this run, in the order of its effects."""

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

        name: stored, see envelope.py. body: runs once per journal; transient failures are retried in place (retry),
        then by the engine (options). or_branch: stored if the body turns out to use the context; the caller then runs
        the body as a branch. Raises TerminalError for a final failure (a provider's 4xx, a cancelled invocation).
        """
        await self.rounds.settle()
        if self._is_driving and self.turns.cancelled is not self._cancelled_before:
            raise self.turns.cancelled or TerminalError("cancelled", CANCELLED)
        if self._is_driving and self._ending is not None:
            raise self._ending
        future = self.start(name, body, options=options, retry=retry, or_branch=or_branch)
        envelope = await self.wait(future)
        self.tell(envelope)
        return envelope

    def tell(self, envelope: Envelope) -> None:
        """Call the listeners with a step. Adapters call it with the result of a call that was not a step itself."""
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
        key: uuid.UUID | None = None,
    ) -> RestateDurableFuture[Envelope]:
        """Make the entry of `record` now; wait for it with `wait`. key: the idempotency key of its body."""
        step = Body(name, key or self._ids.draw(branch_here.get()), may_branch=or_branch is not None)

        async def recorded() -> Envelope:
            try:
                envelope = await body()
            except NeedsBranch as reached:
                if or_branch is None:
                    raise nested_entry(str(reached)) from None
                return or_branch
            return envelope if step.attempts == 1 else envelope.with_value(envelope.value, attempts=step.attempts)

        given = _OF_ENVELOPES
        if options is not None:
            given = dataclasses.replace(options, serde=given.serde, type_hint=None)
        return self._entry(step, recorded, given, retry)

    async def step(
        self,
        name: str,
        function: Callable[..., Any],
        *args: Any,
        options: RunOptions[Any] | None = None,
        retry: InPlace | None = None,
    ) -> Any:
        """A step whose result is the user's own, see `durable_step`."""
        await self.rounds.settle()
        step = Body(name, self._ids.draw(branch_here.get()))

        async def work() -> Any:
            with alone():
                return await called(function, *args)

        future = self._entry(step, work, options or _OPTIONS, retry)
        return await self.wait(future)

    async def wait(self, future: RestateDurableFuture[T]) -> T:
        """The result of a durable future of the raw context; meanwhile other branches have the turn.

        If a stored result cannot be read while a framework runs, the attempt ends: no framework may turn it into text
        for a model.
        """
        try:
            return await self.turns.wait(future)
        except TerminalError:
            raise
        except Exception as problem:
            if not self._is_driving:
                raise
            raise self.turns.break_off(problem) from None

    async def first(self, *futures: RestateDurableFuture[Any]) -> RestateDurableFuture[Any]:
        """The first completed future, in the order given."""
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
        """Run a call that the framework has started, as a branch of the flow that expects it.

        part_of: for a piece that is not a call, such as a tool's guardrail: the call that it belongs to.
        """
        return await self.rounds.piece(key, body, part_of)

    async def drive(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a framework to its end. Afterwards all pieces have ended, and the caller has the turn.

        The end of the attempt and a cancellation of the invocation are raised even if the framework handled them.
        """
        if self._is_driving:
            return await self._settled(work())
        self._is_driving = True
        try:
            return await self._driven(work)
        finally:
            self._is_driving = False

    @contextmanager
    def ending_on_unknown(self) -> Iterator[None]:
        """If an effect inside is unknown, the running framework ends, so that no model tries the effect again."""
        try:
            yield
        except EffectUnknown as problem:
            self._ending = problem
            raise

    # Ids

    def draw_id(self) -> uuid.UUID:
        """The next id of this branch, the same in each attempt."""
        return self._ids.draw(branch_here.get())

    # Within

    def _entry(
        self,
        step: Body,
        work: Callable[[], Awaitable[T]],
        options: RunOptions[Any],
        retry: InPlace | None,
    ) -> RestateDurableFuture[T]:
        self.turns.claim()
        step.stream = self._stream
        given, in_place = divided(options, retry or _IN_PLACE)
        body: Callable[[], Coroutine[Any, Any, T]] = prepared(step, work, in_place)
        return self.ctx.run_typed(step.name, body, given)

    def _order(self, arrivals: Callable[[], Awaitable[list[str]]]) -> RestateDurableFuture[Envelope]:
        async def body() -> Envelope:
            return Envelope(kind="order", framework=FRAMEWORK, value=await arrivals())

        return self.start(ORDER, body, retry=_ONCE)

    async def _driven(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        note_start()
        before = self._cancelled_before = self.turns.cancelled
        self._ending = None
        main = asyncio.get_running_loop().create_task(self._settled(work()))
        over = self.turns.waker()
        both: set[asyncio.Future[Any]] = {main, over}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _ended(main)
            raise
        finally:
            over.cancel()
        if self.turns.broken is not None:
            if not main.done():
                await asyncio.wait({main}, timeout=_GRACE_S)
            await _ended(main)
            await self.turns.close()
            raise self.turns.broken
        if self.turns.cancelled is not before and self.turns.cancelled is not None:
            main.exception()  # whatever the framework made of it
            raise self.turns.cancelled
        if self._ending is not None:
            main.exception()
            raise self._ending
        return main.result()

    async def _settled(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        finally:
            if self.turns.broken is None:
                await self.rounds.settle(whatever=True)

    async def __close__(self) -> None:
        """Called by the SDK when the handler has ended, while its failure is raised."""
        problem = sys.exc_info()[1]
        while self.closers:
            self.closers.pop()()
        await self.turns.close()
        if self.undos and is_final(problem):
            await undo_all(self.ctx, self.undos)


def current_run() -> Run | None:
    """The run of this attempt; None outside an invocation and inside the body of a step."""
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
        guard(ctx)
    return found


def handlers_run(ctx: Context) -> Run:
    """The run of a handler's context, or of the context of one of its pieces. Raises NeedsBranch in a step's body."""
    if (body := body_here.get()) is not None:
        raise NeedsBranch(f"The body of step {body.name!r} makes an effect, which has entries of its own.")
    return run_of(getattr(ctx, "rewake_raw", ctx))


def raw_context() -> Context | None:
    """The SDK's context of this invocation; None outside an invocation."""
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
