"""Containment: what user code raises past `Exception` fails its attempt, by name, and nothing else.

The SDK lets a CancelledError, SystemExit, KeyboardInterrupt or GeneratorExit of a handler or a step pass without a word
to the engine, because it takes them for its own end: the attempt stands still until its timeouts. MCP clients leak
CancelledErrors out of their cancel scopes, scripts call sys.exit. Here they become an ordinary failure, unless the
attempt really is being cancelled. That needs two seams of the SDK, `contain` says which; a conformance test holds them.
Called where apps are run: app_loader.py and in_process.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

from rewake.deployments.waking import handler_begins

CONTAINED: Final = (asyncio.CancelledError, SystemExit, KeyboardInterrupt, GeneratorExit)
_MARK: Final = "_rewake_contained"


class Escaped(Exception):
    """The failure of an attempt, in the words that its error shows: what was raised, and that nobody asked for it."""

    def __init__(self, error: BaseException, where: str) -> None:
        super().__init__(error, where)
        self.text = f"{error!r} was raised by the {where} itself; nothing outside had asked it to stop"

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__


def contain() -> None:
    """Make the SDK of this process report them. Does nothing where no SDK is loaded, or for the second time.

    The seams: `ServerInvocationContext.create_run_coroutine(handle, action, ...)`, which runs a step, and
    `invoke_handler(...)`, which runs a handler, both of restate.server_context. The second is also where a host learns
    where the handler's tasks sleep (waking.py).
    """
    sdk: Any = sys.modules.get("restate.server_context")
    if sdk is None or hasattr(sdk, _MARK):
        return
    setattr(sdk, _MARK, True)
    run_step, run_handler = sdk.ServerInvocationContext.create_run_coroutine, sdk.invoke_handler

    @functools.wraps(run_step)
    def create_run_coroutine(context: Any, handle: int, action: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        return run_step(context, handle, _contained(action), *args, **kwargs)

    @functools.wraps(run_handler)
    async def invoke_handler(*args: Any, **kwargs: Any) -> Any:
        handler_begins(kwargs.get("ctx"))
        with _named("handler", asyncio.current_task()):
            return await run_handler(*args, **kwargs)

    sdk.ServerInvocationContext.create_run_coroutine = create_run_coroutine
    sdk.invoke_handler = invoke_handler


def _contained(action: Callable[[], Any]) -> Callable[[], Any]:
    """A step's action. One that is no coroutine function runs in a thread, where no task can be cancelled."""
    if inspect.iscoroutinefunction(action):

        async def contained_async() -> Any:
            with _named("step", asyncio.current_task()):
                return await action()

        return contained_async

    def contained() -> Any:
        with _named("step", None):
            return action()

    return contained


@contextlib.contextmanager
def _named(where: str, task: asyncio.Task[Any] | None) -> Iterator[None]:
    try:
        yield
    except CONTAINED as error:
        if task is not None and _is_ending(task):
            raise
        raise Escaped(error, where) from error


def _is_ending(task: asyncio.Task[Any]) -> bool:
    """Whether the task is being cancelled, or its coroutine closed from outside, when it is not the one that runs."""
    try:
        return task.cancelling() > 0 or asyncio.current_task() is not task
    except RuntimeError:  # no loop is running any more
        return True
