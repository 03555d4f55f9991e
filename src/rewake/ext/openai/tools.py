"""Tools of an agent as steps: each call of a plain tool is one; a tool that uses the context is a branch.

The user's tool objects are adopted in place: their invoker is wrapped, once, and passes through outside of a handler.
"""

from __future__ import annotations

import asyncio
import copy
import time
from typing import Any

from agents import FunctionTool
from agents.tool import invoke_function_tool
from agents.tool_context import ToolContext

from rewake.ext.kernel import Envelope, body_here, fingerprint, show_context, uses_context
from rewake.ext.kernel.asking import asker_here
from rewake.ext.kernel.values import decode, encode, fields_of, restore_fields
from rewake.ext.openai.agent_run import AgentRun, agent_run, call_here


class DurableInvoker:
    """Stands for a tool's `on_invoke_tool`: attributes, and the class for isinstance, are those of the user's own."""

    def __init__(self, tool: FunctionTool | None, inner: Any, *, is_durable: bool = False) -> None:
        self._tool, self._inner, self._is_durable = tool, inner, is_durable

    @property  # type: ignore[misc]  # the framework asks with isinstance
    def __class__(self) -> Any:
        return type(self._inner)

    def __getattr__(self, name: str) -> Any:
        if name in ("_tool", "_inner", "_is_durable"):
            raise AttributeError(name)
        return getattr(self._inner, name)

    def __agents_bind_function_tool__(self, tool: FunctionTool) -> DurableInvoker:
        """The framework binds an invoker to the copy of a tool."""
        bind = getattr(self._inner, "__agents_bind_function_tool__", None)
        return DurableInvoker(tool, bind(tool) if bind else self._inner, is_durable=self._is_durable)

    async def __call__(self, context: ToolContext[Any], arguments: str) -> Any:
        found = agent_run()
        tool = self._tool
        if found is None or tool is None:
            return await self._inner(context, arguments)
        call = _Call(found, tool, self._inner, context, arguments)
        work = call.as_branch if self._is_durable or tool._is_agent_tool else call.as_step
        return await _outlasting(tool, found.arrive(context.tool_call_id, work))


def adopt_tool(tool: Any, *, is_durable: bool | None = None) -> None:
    """Make the calls of a function tool durable, in place. is_durable: it uses the context; None: as its code shows."""
    if not isinstance(tool, FunctionTool) or type(tool.on_invoke_tool) is DurableInvoker:
        return
    inner = tool.on_invoke_tool
    if is_durable is None:
        is_durable = uses_context(getattr(tool, "__wrapped__", inner))
    tool.on_invoke_tool = DurableInvoker(tool, inner, is_durable=is_durable)


class _Call:
    """One call of a tool by the model."""

    def __init__(
        self, found: AgentRun, tool: FunctionTool, inner: Any, context: ToolContext[Any], arguments: str
    ) -> None:
        self.found, self.tool, self.inner, self.context, self.arguments = found, tool, inner, context, arguments
        self._has_run = False  # in this attempt, as a step
        origin = getattr(tool, "_tool_origin", None)
        server = getattr(origin, "mcp_server_name", None)
        self.envelope = found.envelope(
            "mcp" if server else "tool",
            call=context.tool_call_id,
            tool=tool.name,
            server=server,
            fingerprint=fingerprint(arguments),
        )

    async def as_step(self) -> Any:
        """The whole call is one entry; if its body reaches for the context, it runs as a branch instead."""
        branch = self.envelope.with_value(None, branch=True)
        stored = await self.found.record(self.tool.name, self._body, or_branch=branch)
        if stored.branch:
            return await self.as_branch()
        value = stored.value
        if isinstance(value, dict) and "$context" in value:
            if not self._has_run:  # else they are there, and a sibling may have changed them since
                restore_fields(self.context.context, value["$context"])
            value = value["$value"]
        return decode(value)

    async def as_branch(self) -> Any:
        """The call makes entries of its own."""
        token = call_here.set(self.context.tool_call_id)
        asker = asker_here.set(self.envelope)
        try:
            show_context(self.found.run)
            self.found.waiting.discard(self.context.tool_call_id)
            output = await self.inner(self.context, self.arguments)
            if self.found.run.listeners and self.context.tool_call_id not in self.found.waiting:
                self.found.run.tell(self.envelope.with_value(encode(output)))
            return output
        finally:
            call_here.reset(token)
            asker_here.reset(asker)

    async def _body(self) -> Envelope:
        before = fields_of(self.context.context)
        output = encode(await self._invoked())
        changed = {name: each for name, each in fields_of(self.context.context).items() if before.get(name) != each}
        value = {"$context": changed, "$value": output} if changed else output
        body, self._has_run = body_here.get(), True
        return self.envelope.with_value(value, usage=body.usage if body else None)

    async def _invoked(self) -> Any:
        if self.tool.timeout_seconds is None:
            return await self.inner(self.context, self.arguments)
        # The framework's own timer runs inside the step, so that what it makes of a timeout is stored.
        bare = copy.copy(self.tool)
        bare.on_invoke_tool = self.inner
        return await invoke_function_tool(function_tool=bare, context=self.context, arguments=self.arguments)


async def _outlasting(tool: FunctionTool, work: Any) -> Any:
    """Wait for a piece even when the framework's own timer ends: only the timer in the step is journaled."""
    if tool.timeout_seconds is None:
        return await work
    until = time.monotonic() + tool.timeout_seconds * 0.9
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.done() or time.monotonic() < until:
            task.cancel()
            raise
    return await task
