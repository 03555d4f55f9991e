"""Watches source files for changes, for --reload.

watchfiles is imported at the first use. Called by the CLI, which reloads its workers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path


async def watch_for_changes(
    paths: Iterable[str | Path], callback: Callable[[set[Path]], Awaitable[None]], *, debounce_ms: int = 100
) -> None:
    """Call `callback` with the Python files that changed under `paths`, until cancelled.

    Changes within debounce_ms make one call; those during a call make the next one. Virtual environments, caches and
    version control are ignored. A path may be a file or a directory.
    """
    from watchfiles import PythonFilter, awatch

    async for changes in awatch(*paths, watch_filter=PythonFilter(), debounce=debounce_ms, step=min(debounce_ms, 50)):
        await callback({Path(name) for _, name in changes})


def watched_folder(app_ref: str) -> Path:
    """The folder with an app's code: that of its file, or the working directory for a module."""
    path, dot, _ = app_ref.partition(".py")
    return Path(path + dot).resolve().parent if dot else Path.cwd()
