"""`rewake serve --reload`: a child process serves, and another one takes its place when a Python file changes.

The new code serves before the old one stops; code that cannot start changes nothing. The children share the listening
socket of this process. It holds their stdin, so they end with it. Called by serve.py.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from rewake.cli.engine_process import asked_to_stop
from rewake.deployments.watch import watch_for_changes

log = structlog.get_logger("rewake.cli")

_READY: Final = b"+"


class Child:
    """A process that serves."""

    def __init__(self, process: asyncio.subprocess.Process, ready: asyncio.StreamReader) -> None:
        self.process = process
        self._ready = ready

    @classmethod
    async def start(cls, args: Sequence[str], listener: socket.socket) -> Child:
        """args: of `rewake`, to which those are added that make it a child."""
        heard, said = os.pipe()
        own = ("--listener-fd", str(listener.fileno()), "--ready-fd", str(said), "--exit-with-stdin")
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "rewake", *args, *own),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(listener.fileno(), said),
                process_group=0,  # Ctrl-C is for us alone: a second signal would end the child at once.
            )
        finally:
            os.close(said)
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(heard, "rb"))
        return cls(process, reader)

    async def is_ready(self) -> bool:
        """Wait until it serves or has ended; whether it serves."""
        return await self._ready.read(1) == _READY

    def stop(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()


async def serve_and_reload(args: Sequence[str], listener: socket.socket, folder: Path, *, exit_with_stdin: bool) -> int:
    """Serve until a signal asks to stop, or until the process that serves ends by itself; the exit code."""
    reloading = Reloading(args, listener)
    with asked_to_stop(exit_with_stdin=exit_with_stdin) as stop:
        watching = asyncio.ensure_future(watch_for_changes([folder], reloading.reload))
        await asyncio.sleep(0)  # It watches now: a change that is made once the child serves is not missed.
        await reloading.start()
        tasks = [watching, asyncio.ensure_future(stop.wait()), asyncio.ensure_future(reloading.ended())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return await reloading.stop()


class Reloading:
    """The child that serves; both children while one takes over."""

    def __init__(self, args: Sequence[str], listener: socket.socket) -> None:
        self._args = args
        self._listener = listener
        self._current: Child
        self._next: Child | None = None
        self._is_started = asyncio.Event()

    async def start(self) -> None:
        self._current = await Child.start(self._args, self._listener)
        self._is_started.set()

    async def reload(self, _: set[Path]) -> None:
        """A new child for the one that serves, if it starts."""
        await self._is_started.wait()
        self._next = new = await Child.start(self._args, self._listener)
        if await new.is_ready():
            log.info("reloaded", pid=new.process.pid)
            old, self._current = self._current, new
            self._next = old
            old.stop()
            await old.process.wait()
        else:
            log.error("reload_failed", code=await new.process.wait(), serving="the code from before")
        self._next = None

    async def ended(self) -> None:
        """Return when the child that serves has ended, and none takes over."""
        child = None
        while child is not self._current:
            child = self._current
            await child.process.wait()

    async def stop(self) -> int:
        """The exit code of the child that serves."""
        for child in (self._current, self._next):
            if child is not None:
                child.stop()
                await child.process.wait()
        return self._current.process.returncode or 0
