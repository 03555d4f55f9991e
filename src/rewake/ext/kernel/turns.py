"""Turns: pieces of one handler run side by side, and their entries fall in the same places at replay.

The SDK has one safe waiting place per invocation: two tasks that both wait lose wake-ups and mismatch at replay. So one
branch runs at a time between durable waits. A branch parks with its futures and gives the turn away; when nobody has
it, one task waits for any parked future (`restate.wait_completed`) and gives the turn to its branch. Results come off
the journal one at a time, so a replay gives turns in the same order.

A branch that awaits something that is not durable keeps its turn: right, only not side by side. A branch that is alone
waits by itself, without the task that waits for all. Pieces started by a framework join in rounds.py. Public Context
only; nothing here knows steps or agents.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import ContextVar
from typing import Any, Final, TypeVar

import restate
from restate import RestateDurableFuture, SdkInternalBaseException, TerminalError

from rewake.ext.kernel.errors import AttemptOver, Path, no_turn, two_tasks

T = TypeVar("T")
Waker = asyncio.Future[None]

CANCELLED: Final = 409
branch_here: ContextVar[Path] = ContextVar("rewake_branch", default=())


class Turns:
    """Which branch may make entries, in one attempt of one invocation."""

    def __init__(self) -> None:
        self.holder: Path | None = ()  # the main flow has the first turn
        self.broken: BaseException | None = None
        self.cancelled: TerminalError | None = None  # the invocation was cancelled
        self._parked: dict[Path, tuple[Sequence[RestateDurableFuture[Any]], Waker]] = {}
        self._ready: deque[tuple[Path, Waker, BaseException | None]] = deque()
        self._wakers: set[Waker] = set()
        self._poll: asyncio.Task[None] | None = None
        self._alone: tuple[Path, asyncio.Task[Any]] | None = None  # a branch that waits by itself
        self._tasks: dict[asyncio.Task[Any], Path] = {}
        self._children: dict[Path, int] = {}

    # What a branch calls

    def claim(self) -> None:
        """Call this before each entry. Raises TurnError if the calling branch does not have the turn."""
        self.check()
        path = branch_here.get()
        if path in self._parked or (self._alone is not None and self._alone[0] == path):
            raise self.break_off(two_tasks(path))
        if self.holder != path:
            raise self.break_off(no_turn(path))

    def check(self) -> None:
        """Raises when the attempt is over."""
        if self.broken is not None:
            raise _for_code(self.broken)

    async def wait(self, future: RestateDurableFuture[T]) -> T:
        """The result of a durable future; meanwhile other branches have the turn."""
        if not is_completed(future):
            await self._until_completed((future,))
        self.check()
        try:
            return await future  # completed: this takes the result and waits for nothing
        except SdkInternalBaseException as problem:
            raise self.break_off(problem) from None

    async def first(self, *futures: RestateDurableFuture[Any]) -> RestateDurableFuture[Any]:
        """The first of the futures, in the order given, that is completed; waits until one is."""
        if not any(map(is_completed, futures)):
            await self._until_completed(futures)
        return next(future for future in futures if is_completed(future))

    async def gather(self, pieces: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
        """Run pieces as branches of the current one; all end before this does.

        Raises the first failure, in the journal's order.
        """
        self.claim()
        parent, failures = branch_here.get(), list[BaseException]()
        if not pieces:
            return []
        first = self._children.get(parent, 0) + 1
        self._children[parent] = first + len(pieces) - 1
        tasks = []
        for number, piece in enumerate(pieces, first):
            path = (*parent, f"{number:03d}")
            start = self.waker()
            self._ready.append((path, start, None))
            tasks.append(self.spawn(path, _piece(start, piece, failures)))
        await self._until_ended(parent, tasks)
        internal = [each for each in failures if not isinstance(each, Exception)]
        if failures:
            raise (internal or failures)[0]
        return [task.result() for task in tasks]

    # What rounds and runs call

    def waker(self) -> Waker:
        """A future that a waiting branch awaits; it fails when the attempt ends."""
        waker: Waker = asyncio.get_running_loop().create_future()
        self._wakers.add(waker)
        waker.add_done_callback(self._wakers.discard)
        return waker

    def spawn(self, path: Path, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of the kernel in the branch `path`, with the contextvars of the caller."""
        context = contextvars.copy_context()
        context.run(branch_here.set, path)
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks[task] = path
        task.add_done_callback(self._ended)
        return task

    def park(self, path: Path, future: RestateDurableFuture[Any]) -> Waker:
        """Park another branch, in the turn of its parent. The branch awaits the waker, and then has the turn."""
        waker = self.waker()
        self._parked[path] = ((future,), waker)
        return waker

    def give(self, path: Path, waker: Waker | None = None) -> None:
        """Hand the turn to a branch that has it without waiting (waker None), or wake it with it."""
        self.holder = path
        if waker is not None and not waker.done():
            waker.set_result(None)

    def queue(self, path: Path, waker: Waker) -> None:
        """Let a branch have the turn after those that are ready already."""
        self._ready.append((path, waker, None))

    def release(self) -> None:
        """Give the turn away: to one that is ready, else to the first whose future is done."""
        self.holder = None
        self._advance()

    def break_off(self, problem: BaseException) -> BaseException:
        """End all branches of this attempt with a problem. Returns what to raise."""
        if self.broken is None:
            self.broken = problem
            if self._alone is not None:
                self._alone[1].cancel()
            for waker in list(self._wakers):
                if not waker.done():
                    waker.set_exception(_for_code(problem))
                    waker.exception()  # those whose task is gone are nobody's
            self._ready.clear()
            self._parked.clear()
        return _for_code(self.broken)

    async def close(self) -> None:
        """End the tasks that are left. Only after a break, or when all branches have ended."""
        left = [task for task in (*self._tasks, self._poll) if task is not None and not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    # Within

    async def _until_completed(self, futures: Sequence[RestateDurableFuture[Any]]) -> None:
        self.claim()
        path = branch_here.get()
        # A task of the kernel that is not on the way to this branch may want to wait, too.
        if self._poll is None and all(path[: len(each)] == each for each in self._tasks.values()):
            await self._wait_alone(path, futures)
        else:
            await self._park(path, futures)

    async def _wait_alone(self, path: Path, futures: Sequence[RestateDurableFuture[Any]]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._alone, self.holder = (path, task), None
        try:
            await restate.wait_completed(*futures)
        except TerminalError as cancelled:  # the invocation
            self.cancelled, self.holder = cancelled, path
            raise
        except asyncio.CancelledError:
            if self.broken is not None:  # break_off woke this task
                task.uncancel()
                self.check()
            raise
        except BaseException as problem:  # noqa: BLE001 - suspended, disconnected, to be retried
            raise self.break_off(problem) from None
        else:
            self.holder = path
        finally:
            self._alone = None

    async def _park(self, path: Path, futures: Sequence[RestateDurableFuture[Any]]) -> None:
        waker = self.waker()
        self._parked[path] = (futures, waker)
        self.release()
        try:
            await waker
        finally:
            self._parked.pop(path, None)

    async def _until_ended(self, parent: Path, tasks: Sequence[asyncio.Task[Any]]) -> None:
        waker, left = self.waker(), len(tasks)

        def ended(_: object) -> None:
            nonlocal left
            left -= 1
            if self.broken is not None:
                return
            if not left:
                self._ready.appendleft((parent, waker, None))  # the last child gives its turn to the parent
            self.release()

        for task in tasks:
            task.add_done_callback(ended)
        self.release()
        try:
            await waker
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise

    def _advance(self) -> None:
        if self.broken is not None or self.holder is not None:
            return
        while self._ready:
            path, waker, problem = self._ready.popleft()
            if waker.done():  # its task was cancelled
                continue
            self.holder = path
            if problem is None:
                waker.set_result(None)
            else:
                waker.set_exception(problem)
            return
        if self._parked and self._poll is None:
            self._poll = asyncio.get_running_loop().create_task(self._polling())

    async def _polling(self) -> None:
        order = sorted(self._parked)
        futures = [future for path in order for future in self._parked[path][0]]
        try:
            done, _ = await restate.wait_completed(*futures)
        except asyncio.CancelledError:
            raise
        except TerminalError as cancelled:  # the invocation: all that wait hear of it, one by one, each with the turn
            self.cancelled = cancelled
            self._ready.extend((path, self._parked.pop(path)[1], cancelled) for path in order if path in self._parked)
        except BaseException as problem:  # noqa: BLE001 - suspended, disconnected, to be retried: the attempt is over
            self.break_off(problem)
            return
        else:
            finished = {id(each) for each in done}
            woken = [path for path in order if path in self._parked and _any_of(self._parked[path][0], finished)]
            self._ready.extend((path, self._parked.pop(path)[1], None) for path in woken)
        finally:
            self._poll = None
        self._advance()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            task.exception()  # whoever waits has it; a piece whose framework stopped waiting is not "never retrieved"


async def _piece(start: Waker, piece: Callable[[], Awaitable[Any]], failures: list[BaseException]) -> Any:
    try:
        await start
        return await piece()
    except BaseException as problem:  # noqa: BLE001 - it goes to the parent, which raises the first
        failures.append(problem)
        return None


def _for_code(problem: BaseException) -> BaseException:
    """The problem that ends the attempt, in a form that `except Exception` in a branch does not swallow."""
    if isinstance(problem, TerminalError) or not isinstance(problem, Exception):
        return problem
    over = AttemptOver(f"The attempt is over: {problem}")
    over.__cause__ = problem
    return over


def is_completed(future: RestateDurableFuture[Any]) -> bool:
    """Whether the result of a durable future is known: awaiting it then waits for nothing."""
    # Part of every future the SDK makes, though not of the abstract class.
    return bool(future.is_completed())  # type: ignore[attr-defined]


def _any_of(futures: Sequence[RestateDurableFuture[Any]], finished: set[int]) -> bool:
    return any(id(future) in finished for future in futures)
