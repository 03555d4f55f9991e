"""Rounds: pieces that a framework starts in tasks of its own, in an order that is not ours.

A model's answer asks for several calls; the framework starts them, drops some (guardrail, approval, validation), delays
others (hooks) and cancels the rest when one fails. None of that is in a journal. So `expect` opens a round for the
calls of an answer, a journaled step `order` stores which of them came, and a replay waits for exactly those. Late ones
are let in by a further `order` when those before have ended; `[]` closes a round whose other calls never came. A single
call needs no `order`.

Pieces run in tasks of the kernel: a framework that cancels one only stops waiting for it. The parent's next step, and
the end of a run, wait until the pieces have ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from restate import RestateDurableFuture, TerminalError

from rewake.ext.kernel.envelope import Envelope
from rewake.ext.kernel.errors import Path, beside_pieces, call_missing
from rewake.ext.kernel.turns import Turns, Waker, branch_here

T = TypeVar("T")

QUIET_S: Final = 0.05  # no arrival for so long: the rest is dropped, or late. Costs only where calls are
REPLAY_WAIT_S: Final = 60.0  # how long a replay waits for a call that came before
ORDER: Final = "order"

MakeOrder = Callable[[Callable[[], Awaitable[list[str]]]], RestateDurableFuture[Envelope]]


class Round:
    """The calls one parent expects: which have come, which were let in, which still run."""

    def __init__(self, parent: Path, expected: Sequence[str]) -> None:
        self.parent = parent
        self.expected = list(expected)
        self.waiting: dict[str, Waker] = {}
        self.admitted: set[str] = set()
        self.live: set[str] = set()
        self.watched: set[str] = set()  # the framework still awaits them
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.parts: dict[str, str] = {}  # pieces that come before or after a call, such as its guardrails
        self.is_knocked = False  # the parent wants to go on
        self.is_closed = False
        self.has_failed = False  # a call of the batch before: the framework may be about to cancel the rest
        self.changed = asyncio.Event()
        self.regain: Waker | None = None
        self.batch: Waker | None = None
        self.admitter: asyncio.Task[None] | None = None

    @property
    def is_single(self) -> bool:
        """One call needs no order: it has its parent's turn."""
        return self.admitter is None

    def choose(self) -> list[str]:
        """The calls to let in now. They wait, and the framework awaits them."""
        return [key for key in self.expected if key in self.waiting and key in self.watched]

    def running(self) -> list[str]:
        """The calls whose end the framework still awaits."""
        return sorted(key for key in self.watched if key in self.tasks and not self.tasks[key].done())

    def is_accounted(self) -> bool:
        """Whether all expected calls have come or were given up."""
        here = {*self.waiting, *self.admitted, *(self.parts.get(key, key) for key in self.waiting)}
        return here.issuperset(self.expected)


class Rounds:
    """The open rounds of an invocation. make_order: makes the entry of an `order` step from its body."""

    def __init__(self, turns: Turns, make_order: MakeOrder) -> None:
        self._turns = turns
        self._make_order = make_order
        self._open: dict[Path, Round] = {}

    def expect(self, keys: Sequence[str]) -> None:
        """The framework is about to start these calls. The caller has the turn, and lends it when there are several."""
        self._turns.claim()
        if not keys:
            return
        parent = branch_here.get()
        group = self._open[parent] = Round(parent, _unique(keys))
        if len(keys) > 1:
            self._start(group)

    async def piece(self, key: str, body: Callable[[], Awaitable[T]], part_of: str | None = None) -> T:
        """Run one call that the framework has started; it returns what body does.

        part_of: the call that this piece belongs to, for one that is not a call: a guardrail of a tool.
        If the framework cancels, only the waiting stops. The cancellation of the invocation is raised even if body
        handled it.
        """
        self._turns.check()
        group = await self._round_for(key, part_of)
        if part_of is not None:
            group.parts[key] = part_of
        key = _free(group, key)
        group.watched.add(key)
        if group.is_single:
            self._turns.claim()
            group.admitted.add(key)
            group.live.add(key)
            self._turns.give((*group.parent, key))
        task = self._turns.spawn((*group.parent, key), self._run(group, key, body))
        group.tasks[key] = task
        try:
            return await asyncio.shield(task)
        finally:
            group.watched.discard(key)
            group.changed.set()

    async def closed(self) -> None:
        """Until the pieces of the caller's round have ended; it has its turn again, and has not asked for it."""
        if (group := self._open.get(branch_here.get())) is not None and not group.is_closed:
            group.regain = self._turns.waker()
            await group.regain

    async def settle(self, *, whatever: bool = False) -> None:
        """The calling branch has its turn back: its round is closed, its pieces have ended.

        Raises TurnError while the framework still waits for pieces: then the caller runs beside them. whatever: at the
        end of a run, when nobody waits for them any more.
        """
        self._turns.check()
        group = self._open.get(branch_here.get())
        if group is None:
            return
        if (running := group.running()) and not whatever:
            raise self._turns.break_off(beside_pieces(group.parent, running))
        group.is_knocked = True
        group.changed.set()
        if group.is_single and not group.live:
            self._close(group)
        elif not group.is_closed:
            group.regain = self._turns.waker()
            await group.regain

    # Within

    def _start(self, group: Round) -> None:
        path = (*group.parent, ORDER)
        future = self._make_order(lambda: self._arrivals(group))
        waker = self._turns.park(path, future)
        group.admitter = self._turns.spawn(path, self._admit(group, future, waker))
        self._turns.release()

    async def _admit(self, group: Round, future: RestateDurableFuture[Envelope], waker: Waker) -> None:
        """Lets calls in, batch by batch, and gives the turn back to the parent."""
        try:
            await waker
            while come := (await future).value:
                await self._all_here(group, come)
                await self._let_in(group, come)
                if set(group.expected) <= group.admitted:
                    break
                future = self._make_order(lambda: self._arrivals(group))
                await self._turns.wait(future)
        except TerminalError as problem:  # the invocation is cancelled, or a call is missing
            for left in group.waiting.values():
                if not left.done():
                    left.set_exception(problem)
        self._close(group)

    async def _arrivals(self, group: Round) -> list[str]:
        """The body of an `order` step. It ends by itself: all came, it is quiet, or the parent goes on.

        After a failure it waits for the quiet: a call that came late and is about to be cancelled would else be let in
        here, and not come at replay, where it is cancelled before it comes.
        """
        while not (group.is_knocked or (group.is_accounted() and not group.has_failed)):
            group.changed.clear()
            try:
                async with asyncio.timeout(QUIET_S if group.choose() else None):
                    await group.changed.wait()
            except TimeoutError:
                break
        return group.choose()

    async def _all_here(self, group: Round, come: Sequence[str]) -> None:
        """Wait for the calls of a stored order; a replay may have them later than the run before."""
        group.expected += [key for key in come if key not in group.expected]
        while missing := [key for key in come if key not in group.waiting]:
            group.changed.clear()
            try:
                async with asyncio.timeout(REPLAY_WAIT_S):
                    if not group.is_knocked:
                        await group.changed.wait()
            except TimeoutError:
                group.is_knocked = True
            if group.is_knocked and any(key not in group.waiting for key in missing):
                raise self._turns.break_off(call_missing(group.parent, missing))

    async def _let_in(self, group: Round, come: Sequence[str]) -> None:
        group.has_failed = False
        group.admitted.update(come)
        group.live.update(come)
        group.batch = self._turns.waker()
        for key in come:
            self._turns.queue((*group.parent, key), group.waiting.pop(key))
        self._turns.release()
        await group.batch

    async def _run(self, group: Round, key: str, body: Callable[[], Awaitable[T]]) -> T:
        if not group.is_single:
            waker = group.waiting[key] = self._turns.waker()
            group.changed.set()
            await waker
        before = self._turns.cancelled
        try:
            result = await body()
        except BaseException:
            group.has_failed = True
            raise
        finally:
            await self._settle_after(group, key)
        if self._turns.cancelled is not before and self._turns.cancelled is not None:
            raise self._turns.cancelled
        return result

    async def _settle_after(self, group: Round, key: str) -> None:
        """A piece has ended: its turn goes on."""
        try:
            if self._turns.broken is None:
                await self.settle(whatever=True)  # rounds of its own, if its body left one open
        finally:
            group.live.discard(key)
            group.changed.set()
            if self._turns.broken is None:
                self._hand_on(group)

    def _hand_on(self, group: Round) -> None:
        if group.live:
            self._turns.release()
        elif group.is_single and not set(group.expected) <= group.admitted:
            self._turns.give(group.parent)
        elif group.is_single:
            self._close(group)
        else:
            self._turns.give((*group.parent, ORDER), group.batch)

    def _close(self, group: Round) -> None:
        """The parent has its turn again; calls that were never let in are withdrawn."""
        group.is_closed = True
        if self._open.get(group.parent) is group:
            del self._open[group.parent]
        for key, waker in group.waiting.items():
            if not waker.done() and key in group.tasks:
                group.tasks[key].cancel()
        if self._turns.broken is None:
            self._turns.give(group.parent, group.regain)

    async def _round_for(self, key: str, part_of: str | None) -> Round:
        """The round of a call. An unexpected call opens a round, which its late siblings join."""
        parent = branch_here.get()
        while True:
            group = self._open.get(parent)
            if group is None:
                self._turns.claim()
                group = self._open[parent] = Round(parent, [key])
                self._start(group)
            if key in group.expected or not group.is_single or (part_of in group.expected and not group.live):
                if key not in group.expected:
                    group.expected.append(key)
                return group
            if not group.live:  # one was expected, another one came
                group.expected.append(key)
                self._start(group)
                return group
            await asyncio.wait([group.tasks[each] for each in group.live])


def _unique(keys: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    found = []
    for key in keys:
        seen[key] = seen.get(key, 0) + 1
        found.append(key if seen[key] == 1 else f"{key}#{seen[key]}")
    return found


def _free(group: Round, key: str) -> str:
    """The same id twice in one answer: the second call of it is another piece."""
    number, free = 1, key
    while free in group.tasks and free in group.expected:
        number += 1
        free = f"{key}#{number}"
    if free not in group.expected:
        group.expected.append(free)
    return free
