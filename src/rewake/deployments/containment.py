"""Containment: a BaseException of user code fails its attempt, with its name, and does nothing else.

If a handler or a step raises CancelledError, SystemExit, KeyboardInterrupt or GeneratorExit, the SDK reports nothing to
the engine, because it takes this for its own end; the attempt hangs until its timeouts. This happens: MCP clients leak
CancelledErrors out of their cancel scopes, and scripts call sys.exit. Containment turns them into ordinary failures,
unless the attempt really is being cancelled. It patches two functions of the SDK, see `contain`; a conformance test
checks both. Called by app_loader.py and in_process.py.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, Final

from rewake.deployments.waking import handler_begins

CONTAINED: Final = (asyncio.CancelledError, SystemExit, KeyboardInterrupt, GeneratorExit)
_MARK: Final = "_rewake_contained"


class Escaped(Exception):
    """The failure of an attempt. Its message names the exception, and says that nobody had cancelled the attempt."""

    def __init__(self, error: BaseException, where: str) -> None:
        super().__init__(error, where)
        self.text = f"{error!r} was raised by the {where} itself; nothing outside had asked it to stop"

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__


def contain() -> None:
    """Patch the SDK in this process. Does nothing without a loaded SDK, or a second time.

    It patches `ServerInvocationContext.create_run_coroutine(handle, action, ...)`, which runs a step, and
    `invoke_handler(...)`, which runs a handler, both in restate.server_context. Through the second it also finds the
    channel of the handler's tasks (waking.py) and the line of a mismatch (mismatch_trace.py).
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
        task = asyncio.current_task()
        try:
            return await run_handler(*args, **kwargs)
        except CONTAINED as error:
            if _is_ending(task):
                raise
            raise Escaped(error, "handler") from error
        except BaseException as error:
            from rewake.deployments.mismatch_trace import add_trace  # Imported late: a worker must start quickly.

            add_trace(kwargs.get("ctx"), error)
            raise

    sdk.ServerInvocationContext.create_run_coroutine = create_run_coroutine
    sdk.invoke_handler = invoke_handler


def _contained(action: Callable[[], Any]) -> Callable[[], Any]:
    """A step's action, contained. A plain function runs in a thread, where no task can be cancelled."""
    if inspect.iscoroutinefunction(action):

        async def contained_async() -> Any:
            task = asyncio.current_task()
            try:
                return await action()
            except CONTAINED as error:
                if _is_ending(task):
                    raise
                raise Escaped(error, "step") from error

        return contained_async

    def contained() -> Any:
        try:
            return action()
        except CONTAINED as error:
            raise Escaped(error, "step") from error

    return contained


def _is_ending(task: asyncio.Task[Any] | None) -> bool:
    """Whether the task is being cancelled; or its coroutine is closed from outside, if it is not the running task."""
    try:
        return asyncio.current_task() is not task or (task is not None and task.cancelling() > 0)
    except RuntimeError:  # the loop has stopped
        return True
