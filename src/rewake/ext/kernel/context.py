"""The context as the code of a branch sees it: each entry needs the turn, each wait gives it away.

`restate_context()` gives this one inside pieces (durable tools, nested agents), so that tools written for the plain
context run side by side unchanged; the SDK's combinators (`restate.select`, `gather`, ...) work on its futures. In the
body of a step only calls that make no entry work; any other ends the body, which then runs as a branch.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any, Final

from restate import Context, DurablePromise, ScopedContext, server_context
from restate.server_context import ServerDurableFuture

from rewake.ext.kernel.guarding import FREE, needs_branch
from rewake.ext.kernel.run import Run, raw_context, run_of
from rewake.ext.kernel.steps import Body, alone, body_here

_FREE: Final = FREE | {"rewake_raw"}
_RUNS: Final = frozenset({"run", "run_typed"})


def durable_context() -> Context:
    """The context of this invocation. Raises RuntimeError outside of one."""
    raw = raw_context()
    if raw is None:
        raise RuntimeError("No Restate context found: this code runs outside of a handler.")
    if body_here.get() is not None:
        return _BodyContext(raw)  # type: ignore[return-value]  # stands for a Context
    return turn_context(run_of(raw))


def turn_context(run: Run) -> Context:
    """A run's context for code that may have siblings."""
    if run.context is None:  # one for all: the SDK's combinators compare the contexts of futures by identity
        run.context = _TurnContext(run)
    return run.context  # type: ignore[no-any-return]  # stands for a Context


def show_context(run: Run) -> None:
    """From now on in this task, the SDK's own `current_context()` gives the context with turns."""
    # Not exported by the SDK: without it, code that asks the SDK itself gets the raw context, which works alone only.
    if (variable := getattr(server_context, "_restate_context_var", None)) is not None:
        variable.set(turn_context(run))


class _Stand:
    """Stands for an object of the SDK; isinstance sees the class of that object."""

    def __init__(self, run: Run, real: Any) -> None:
        self._run, self._real = run, real

    @property  # type: ignore[misc]  # the SDK checks with isinstance
    def __class__(self) -> Any:
        return type(self._real)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name in _FREE or not callable(found):
            return found
        return functools.partial(self._call, name, found)

    def _call(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._run.turns.claim()
        if name in _RUNS and len(args) > 1:
            args = (args[0], _with_caller(Body(str(args[0]), self._run.draw_id()), args[1]), *args[2:])
        return _turned(self._run, method(*args, **kwargs))


class _TurnContext(_Stand):
    """The context of a branch."""

    def __init__(self, run: Run) -> None:
        super().__init__(run, run.ctx)

    @property
    def rewake_raw(self) -> Context:
        """The SDK's own context."""
        return self._run.ctx

    async def create_poll_or_cancel_coroutine(self, unresolved: Any) -> None:
        """What the SDK's combinators call: wait for futures of this context, by their handles."""
        handles = _handles(unresolved)
        futures = [_future_of(self._real, handle) for handle in handles]
        if type(unresolved).__name__.startswith("All"):
            for future in futures:
                await self._run.first(future)
        elif futures:
            await self._run.first(*futures)


class _TurnFuture(ServerDurableFuture[Any]):
    """A durable future whose wait gives the turn away."""

    def __init__(self, run: Run, inner: ServerDurableFuture[Any]) -> None:
        super().__init__(turn_context(run), inner.handle, _nothing)  # type: ignore[arg-type]
        self._run, self._inner = run, inner

    def is_completed(self) -> bool:
        """Whether its result is known."""
        return bool(self._inner.is_completed())  # type: ignore[no-untyped-call]

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._run.wait(self._inner).__await__()

    def __getattr__(self, name: str) -> Any:  # invocation_id and cancel_invocation of calls
        return getattr(self._inner, name)


class _TurnPromise(_Stand):
    """A durable promise: awaiting it is awaiting its value."""

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.value().__await__()  # type: ignore[no-any-return]


class _BodyContext:
    """The context in the body of a step: whoever makes an entry needs a branch."""

    def __init__(self, raw: Context) -> None:
        self._raw = raw

    @property  # type: ignore[misc]  # the SDK checks with isinstance
    def __class__(self) -> Any:
        return type(self._raw)

    @property
    def rewake_raw(self) -> Context:
        """The SDK's own context."""
        return self._raw

    def __getattr__(self, name: str) -> Any:
        if name in _FREE:
            return getattr(self._raw, name)
        raise needs_branch(name)


def _turned(run: Run, found: Any) -> Any:
    if isinstance(found, ServerDurableFuture):
        return _TurnFuture(run, found)
    if isinstance(found, tuple):  # awakeable() gives its name and its future
        return tuple(_turned(run, each) for each in found)
    if isinstance(found, DurablePromise):
        return _TurnPromise(run, found)
    if isinstance(found, ScopedContext):
        return _Stand(run, found)
    return found


def _with_caller(body: Body, action: Callable[..., Any]) -> Callable[..., Any]:
    """The user's body, run with the contextvars of its caller instead of those of the waiting task."""
    context = contextvars.copy_context()
    context.run(body_here.set, body)
    if not inspect.iscoroutinefunction(action):

        @functools.wraps(action)
        def run_here(*args: Any, **kwargs: Any) -> Any:
            with alone():
                return context.run(action, *args, **kwargs)

        return run_here

    @functools.wraps(action)
    async def run(*args: Any, **kwargs: Any) -> Any:
        with alone():
            return await asyncio.get_running_loop().create_task(action(*args, **kwargs), context=context)

    return run


def _handles(unresolved: Any) -> list[int]:
    """The handles in the SDK's description of what a combinator waits for."""
    inner = next((each for each in vars(unresolved).values() if isinstance(each, list)), None)
    if inner is None:
        return [unresolved.handle]
    return [handle for each in inner for handle in _handles(each)]


def _future_of(ctx: Any, handle: int) -> ServerDurableFuture[Any]:
    return ServerDurableFuture(ctx, handle, _nothing)


async def _nothing() -> None:
    """A future of ours is never awaited through the SDK's own path."""
