"""Runs a program's web app beside the engine: a child process on its own port, restarted when it ends.

The parent owns the socket, so replacing the child loses no connection. web_main.py is the child's side.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from typing import Final

import msgspec
import structlog

from rewake.deployments.web_app import WebSettings
from rewake.deployments.worker import child_env
from rewake.outlets import ChildOutput, outlet_of

_RESTART_FIRST_S: Final = 0.2
_RESTART_S_MAX: Final = 10.0
_STOP_WITHIN_S: Final = 5.0
_STEADY_AFTER_S: Final = 10.0
"""A child that ran at least so long is restarted at once."""

log = structlog.get_logger("rewake.web")


class WebProcess:
    """Serves the module's `web` on a listening socket until close(). environment: additional variables of the child."""

    def __init__(self, settings: WebSettings, environment: dict[str, str], listener: socket.socket) -> None:
        self._settings, self._environment, self._listener = settings, environment, listener
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_replaced = False

    def start(self) -> None:
        """Start the child, and restart it when it ends."""
        self._task = asyncio.get_running_loop().create_task(self._supervise())

    def reload(self) -> None:
        """Replace the child by one with the current code."""
        if self._process is not None:
            self._is_replaced = True
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    async def close(self) -> None:
        """End the child, and close the socket."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if (process := self._process) is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_WITHIN_S)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        self._listener.close()

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        delay_s = _RESTART_FIRST_S
        while True:
            began_s = loop.time()
            self._process = await self._spawn()
            returncode = await self._process.wait()
            if self._is_replaced:
                self._is_replaced = False
                continue
            delay_s = _RESTART_FIRST_S if loop.time() - began_s > _STEADY_AFTER_S else min(delay_s * 2, _RESTART_S_MAX)
            log.warning("web_app_ended", pid=self._process.pid, returncode=returncode, restart_s=delay_s)
            await asyncio.sleep(delay_s)

    async def _spawn(self) -> asyncio.subprocess.Process:
        fd = self._listener.fileno()
        command = [sys.executable, "-m", "rewake.deployments.web_main", "--fd", str(fd)]
        command += ["--settings", msgspec.json.encode(self._settings).decode()]
        outputs = {out: ChildOutput(outlet) for out in (1, 2) if (outlet := outlet_of(out)) is not None}
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                pass_fds=(fd,),
                stdin=subprocess.PIPE,
                stdout=outputs[1].fd if 1 in outputs else None,
                stderr=outputs[2].fd if 2 in outputs else None,
                env=child_env(self._environment),
            )
        except BaseException:
            for output in outputs.values():
                output.discard()
            raise
        for output in outputs.values():
            output.start()
        return process
