"""Workers of an engine: the child processes of one app, registered when they are ready, and again when they change.

The app reference names a worker deployment, so it keeps its id and its pinned invocations across restarts and reloads
of the code. Used by `rewake run`; deployments/worker_pool.py supervises the processes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from rewake.deployments.worker import WorkerOptions
from rewake.deployments.worker_pool import WorkerEvents, WorkerPool
from rewake.errors import RewakeError
from rewake.protocol.discovery import ManifestError

if TYPE_CHECKING:
    from rewake.engine.engine import Engine

KIND = "worker"

log = structlog.get_logger("rewake.engine")


def uri_of(app_ref: str, directory: Path | None = None) -> str:
    """The address of an app's workers: `worker:` and the reference, with a path relative to the working directory.

    With a relative path a project keeps its deployment when it moves with its data.
    """
    if not app_ref.endswith(".py"):
        return f"worker:{app_ref}"
    return "worker:" + Path(os.path.relpath(app_ref, directory or Path.cwd())).as_posix()


async def add_workers(
    engine: Engine,
    app_ref: str,
    *,
    workers: int = 1,
    on_ready: Callable[[int, bool], None] | None = None,
    on_exit: Callable[[int, int], None] | None = None,
) -> WorkerPool:
    """Start the workers of an app and register its services; a changed manifest is registered again.

    app_ref: `FILE.py`, `module` or `module:attribute`.   on_ready, on_exit: called for each process, with its pid.
    Raises RewakeError if the app cannot be loaded or its manifest cannot be used, and then leaves no process.
    """
    loop = asyncio.get_running_loop()
    uri = uri_of(app_ref)
    registrations: set[asyncio.Task[None]] = set()

    def ready(pid: int, discovery_changed: bool) -> None:
        if on_ready is not None:
            on_ready(pid, discovery_changed)
        if discovery_changed and is_registered:
            task = loop.create_task(register_again())
            registrations.add(task)
            task.add_done_callback(registrations.discard)

    async def register_again() -> None:
        try:
            await engine.add_deployment(pool, uri=uri, kind=KIND)
            log.info("deployment_updated", uri=uri)
        except (RewakeError, ManifestError) as error:
            log.error("deployment_update_failed", uri=uri, error=str(error))

    is_registered = False
    pool = WorkerPool(
        WorkerOptions(app_ref=app_ref), workers=workers, events=WorkerEvents(on_ready=ready, on_exit=on_exit)
    )
    try:
        await pool.start()
        await engine.add_deployment(pool, uri=uri, kind=KIND)
    except BaseException:
        await pool.close()
        raise
    is_registered = True
    return pool
