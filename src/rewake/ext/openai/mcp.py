"""MCP servers: the list of tools is a step, and so is each call; connections are made again after a crash.

Sessions are no data: a replay needs none, and the body of a step connects where the user has not.
"""

from __future__ import annotations

import asyncio
import functools
from functools import cache
from typing import Any

from agents.mcp import MCPServer
from pydantic import TypeAdapter

from rewake.ext.kernel import Envelope, body_here
from rewake.ext.openai.agent_run import AgentRun, agent_run, agent_run_here


def adopt_server(server: MCPServer) -> None:
    """Make a server's list of tools a step, and connect it where it is used, in place."""
    if hasattr(server.list_tools, "rewake_adopted"):
        return
    inner_list, inner_call = server.list_tools, server.call_tool

    @functools.wraps(inner_list)
    async def list_tools(*args: Any, **kwargs: Any) -> Any:
        found = agent_run()
        if found is None:
            return await inner_list(*args, **kwargs)
        envelope = found.envelope("mcp", server=server.name)

        async def body() -> Envelope:
            await _connected(server, found)
            tools = await inner_list(*args, **kwargs)
            return envelope.with_value(_tools().dump_python(tools, mode="json", by_alias=True, exclude_none=True))

        return _tools().validate_python((await found.record(f"mcp {server.name}", body)).value)

    @functools.wraps(inner_call)
    async def call_tool(*args: Any, **kwargs: Any) -> Any:
        found = agent_run_here.get()
        if found is not None and body_here.get() is not None:
            await _connected(server, found)
        return await inner_call(*args, **kwargs)

    list_tools.rewake_adopted = True  # type: ignore[attr-defined]
    server.list_tools = list_tools  # type: ignore[method-assign]  # adopted in place
    server.call_tool = call_tool  # type: ignore[method-assign]


async def _connected(server: MCPServer, found: AgentRun) -> None:
    """Connect a server that its user has not connected; it is closed at the end of the run."""
    async with _connecting(server):  # calls of one turn come side by side
        if getattr(server, "session", server) is None:
            keeper = _Keeper(server)
            await keeper.start()
            if found.is_closed:  # the attempt ended meanwhile
                await keeper.stop()
            else:
                found.closers.append(keeper.stop)


def _connecting(server: MCPServer) -> asyncio.Lock:
    lock: asyncio.Lock = vars(server).setdefault("rewake_connecting", asyncio.Lock())
    return lock


_keeping: set[asyncio.Task[None]] = set()
"""The loop itself does not hold its tasks."""


class _Keeper:
    """Connects and closes in one task, as the client of MCP demands."""

    def __init__(self, server: MCPServer) -> None:
        self._server = server
        self._ready = asyncio.Event()
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when the server is connected; raises why it is not."""
        self._task = asyncio.get_running_loop().create_task(self._keep())
        _keeping.add(self._task)
        self._task.add_done_callback(_keeping.discard)
        ready = asyncio.get_running_loop().create_task(self._ready.wait())
        try:
            await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._over.set()  # it closes as soon as it is connected
            raise
        finally:
            ready.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Closes the connection."""
        self._over.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _keep(self) -> None:
        await self._server.connect()  # type: ignore[no-untyped-call]
        self._ready.set()
        try:
            await self._over.wait()
        finally:
            await self._server.cleanup()  # type: ignore[no-untyped-call]


@cache
def _tools() -> TypeAdapter[Any]:
    from mcp.types import Tool

    return TypeAdapter(list[Tool])
