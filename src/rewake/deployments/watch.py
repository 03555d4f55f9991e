"""Hearing of changed source files, for --reload.

watchfiles is imported only when someone watches. Called by the CLI, which hands the change to its workers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path


async def watch_for_changes(
    paths: Iterable[str | Path], callback: Callable[[set[Path]], Awaitable[None]], *, debounce_ms: int = 100
) -> None:
    """Call `callback` with the Python files that changed under `paths`, until cancelled.

    Changes within debounce_ms come together; those made while the callback runs come in the next call. Virtual
    environments, caches and version control are left out. A path may be a file or a directory.
    """
    from watchfiles import PythonFilter, awatch

    async for changes in awatch(*paths, watch_filter=PythonFilter(), debounce=debounce_ms, step=min(debounce_ms, 50)):
        await callback({Path(name) for _, name in changes})


def watched_folder(app_ref: str) -> Path:
    """Where the code of an app is: the folder of its file, or for a module the working directory."""
    path, dot, _ = app_ref.partition(".py")
    return Path(path + dot).resolve().parent if dot else Path.cwd()
