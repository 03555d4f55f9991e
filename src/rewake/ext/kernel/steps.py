"""The body of a step: its contextvars, its id, and its retries in place.

A transient failure of one step ends the whole attempt; then the bodies of its siblings run again, and cost again. So a
body is first retried in place, a limited number of times; then the engine retries.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import inspect
import random
import threading
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from restate import RunOptions, TerminalError

from rewake.ext.kernel.errors import nested_entry
from rewake.ext.kernel.failures import Transient, fate, for_the_engine

T = TypeVar("T")

_IN_PLACE_MAX: Final = 3


@dataclass(frozen=True)
class InPlace:
    """Retries of a body before the engine retries.

    attempts: in all; 1: no retry. first_delay_s: doubled each time, with jitter. delay_s_max: if `Retry-After` is
    longer, the attempt ends, and the engine starts it again at that time.
    """

    attempts: int = _IN_PLACE_MAX
    first_delay_s: float = 0.25
    delay_s_max: float = 60.0


class Sink(Protocol):
    """Where the deltas of one try go, see `deltas.py`."""

    def put(self, line: bytes) -> None: ...

    def end(self, *, is_done: bool) -> None: ...


@dataclass
class Body:
    """The step whose body runs, for code inside it.

    stream: where its deltas go, None for nowhere.   kind, agent: as the envelope's, where they are known beforehand.
    sink: of this try, once it has said something.   loop, thread: where the body runs.   may_branch: it runs as a
    branch when it raises NeedsBranch.   half: of a character that was said so far.
    """

    name: str
    id: uuid.UUID
    attempts: int = 0
    usage: dict[str, int] = dataclasses.field(default_factory=dict)
    stream: str | None = None
    kind: str | None = None
    agent: str | None = None
    sink: Sink | None = None
    loop: asyncio.AbstractEventLoop | None = None
    thread: int = 0
    may_branch: bool = False
    half: str = ""

    def end_try(self, *, is_done: bool) -> None:
        """Show watchers that this try has ended."""
        sink, self.sink, self.half = self.sink, None, ""
        if sink is not None:
            sink.end(is_done=is_done)


class NeedsBranch(BaseException):
    """The body of a step used the context, so it must run as a branch.

    Not an Exception, so that a framework that turns failures of tools into text for the model does not catch it.
    """


@contextmanager
def alone() -> Iterator[None]:
    """Around a body that cannot be a branch. Raises TerminalError if the body uses the context."""
    try:
        yield
    except NeedsBranch as reached:
        raise nested_entry(str(reached)) from None


body_here: ContextVar[Body | None] = ContextVar("rewake_body", default=None)
_made_here: ContextVar[Body | None] = ContextVar("rewake_made", default=None)
"""The last entry that was made in this context: whoever has it in its own is the caller, or began in its place."""


def prepared(body: Body, work: Callable[[], Awaitable[T]], retry: InPlace) -> Callable[[], Coroutine[Any, Any, T]]:
    """The function for `ctx.run_typed`: it runs `work` with the current contextvars, and retries in place."""
    _made_here.set(body)
    context = contextvars.copy_context()
    context.run(body_here.set, body)

    async def run() -> T:
        # The SDK runs bodies in a task with the contextvars of whoever waits; frameworks want those of the caller.
        if _made_here.get() is body:
            body_here.set(body)
            return await _tried(body, work, retry)
        return await asyncio.get_running_loop().create_task(_tried(body, work, retry), context=context)

    return run


async def called(function: Callable[..., Any], *args: Any) -> Any:
    """The result of a function that may be async; a sync one runs in a thread with the contextvars of the caller."""
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    found = await asyncio.to_thread(function, *args)
    return await found if inspect.isawaitable(found) else found


def divided(options: RunOptions[Any], retry: InPlace) -> tuple[RunOptions[Any], InPlace]:
    """`max_attempts` shared between retries in place and the engine's, so that their product is the given number."""
    if options.max_attempts is None:
        return options, retry
    wanted = max(1, options.max_attempts)
    in_place = next(each for each in range(min(retry.attempts, wanted), 0, -1) if wanted % each == 0)
    engine = dataclasses.replace(options, max_attempts=wanted // in_place)
    return engine, dataclasses.replace(retry, attempts=in_place)


async def _tried(body: Body, work: Callable[[], Awaitable[T]], retry: InPlace) -> T:
    body.loop, body.thread = asyncio.get_running_loop(), threading.get_ident()
    while True:
        body.attempts += 1
        try:
            result = await work()
        except Exception as problem:
            body.end_try(is_done=False)
            delay_s = _delay_s(problem, body.attempts, retry)
            if delay_s is None:
                raise for_the_engine(problem) from problem
        except BaseException:
            body.end_try(is_done=False)
            raise
        else:
            body.end_try(is_done=True)
            return result
        await asyncio.sleep(delay_s)


def _delay_s(problem: Exception, attempts: int, retry: InPlace) -> float | None:
    """Seconds until the next try in place, None to give up here. Raises what is final."""
    found = fate(problem)
    if isinstance(found, TerminalError):
        raise found from problem
    if attempts >= retry.attempts:
        return None
    own_s: float = retry.first_delay_s * 2.0 ** (attempts - 1) * random.uniform(0.75, 1.25)
    return _bounded(found, own_s, retry)


def _bounded(found: Transient, own_s: float, retry: InPlace) -> float | None:
    if found.after_s is None:
        return min(own_s, retry.delay_s_max)
    return found.after_s if found.after_s <= retry.delay_s_max else None
