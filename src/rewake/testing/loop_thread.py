"""The event loop that all engines of tests share, on a thread of its own.

A process has one: clients in an app's module, such as those of model providers, belong to the loop that first used
them, and fail on another. It starts with the first engine, and ends with the process or with pytest.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from typing import Final

ENDS_WITHIN_S: Final = 5.0
"""Time that remaining tasks get to end."""

_lock: Final = threading.Lock()
_running: list[tuple[asyncio.AbstractEventLoop, threading.Thread]] = []


def shared_loop() -> asyncio.AbstractEventLoop:
    """The running loop. The first call starts it."""
    with _lock:
        if not _running:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="rewake-engines", daemon=True)
            thread.start()
            _running.append((loop, thread))
            atexit.register(end_shared_loop)
        return _running[0][0]


def end_shared_loop() -> None:
    """Cancel remaining tasks and close the loop. Safe to call twice."""
    with _lock:
        if not _running:
            return
        loop, thread = _running.pop()
    atexit.unregister(end_shared_loop)
    try:
        asyncio.run_coroutine_threadsafe(_wind_up(), loop).result(ENDS_WITHIN_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(ENDS_WITHIN_S)
        if not thread.is_alive():
            loop.close()


async def _wind_up() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
