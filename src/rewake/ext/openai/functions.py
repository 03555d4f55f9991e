"""Tools that use the Restate context, and what their failures become: the call forms of restate.ext.openai."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

from agents import FunctionTool, RunContextWrapper, function_tool
from agents.tool import ToolErrorFunction, ToolFunction, default_tool_error_function
from restate import TerminalError

from rewake.ext.kernel import cancelled
from rewake.ext.openai.failures import raise_terminal_errors
from rewake.ext.openai.tools import adopt_tool


def propagate_cancellation(failure_error_function: ToolErrorFunction | None = None) -> ToolErrorFunction:
    """A failure_error_function that lets the cancellation of the invocation through, and leaves the rest to another."""
    inner = failure_error_function or default_tool_error_function

    def failed(context: RunContextWrapper[Any], error: Exception) -> Any:
        if isinstance(error, TerminalError) and cancelled(error):
            raise error from None
        return inner(context, error)

    return failed


@overload
def durable_function_tool(func: ToolFunction[...], **options: Any) -> FunctionTool: ...


@overload
def durable_function_tool(**options: Any) -> Callable[[ToolFunction[...]], FunctionTool]: ...


def durable_function_tool(
    func: ToolFunction[...] | None = None,
    *,
    failure_error_function: ToolErrorFunction | None = raise_terminal_errors,
    **options: Any,
) -> FunctionTool | Callable[[ToolFunction[...]], FunctionTool]:
    """A tool that uses the Restate context: steps, calls of services, waits, each an entry of its own.

    Call form and options of the framework's `function_tool`. A terminal error ends the run; any other is tried again by
    the engine. A tool that does not use the context needs no mark: with plain `function_tool` each call is one step.
    """

    def made(function: ToolFunction[...]) -> FunctionTool:
        failed = propagate_cancellation(failure_error_function)
        tool = function_tool(function, failure_error_function=failed, **options)
        adopt_tool(tool, is_durable=True)
        return tool

    return made if func is None else made(func)
