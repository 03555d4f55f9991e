"""Tools that use the Restate context, and how their failures end: the call forms of restate.ext.openai."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, overload

from agents import FunctionTool, RunContextWrapper, function_tool
from agents.tool import ToolErrorFunction, ToolFunction, default_tool_error_function
from restate import TerminalError

from rewake.ext.kernel import Approvals, cancelled, external
from rewake.ext.kernel.effects import SETTLE, OnUnknown
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
def durable_function_tool(
    *,
    effect: Literal["external"] | None = None,
    verify: Callable[..., Any] | None = None,
    on_unknown: OnUnknown | None = None,
    on_undo: Callable[..., Any] | None = None,
    settle: timedelta = SETTLE,
    approvals: Approvals | None = None,
    **options: Any,
) -> Callable[[ToolFunction[...]], FunctionTool]: ...


def durable_function_tool(
    func: ToolFunction[...] | None = None,
    *,
    failure_error_function: ToolErrorFunction | None = raise_terminal_errors,
    effect: Literal["external"] | None = None,
    verify: Callable[..., Any] | None = None,
    on_unknown: OnUnknown | None = None,
    on_undo: Callable[..., Any] | None = None,
    settle: timedelta = SETTLE,
    approvals: Approvals | None = None,
    **options: Any,
) -> FunctionTool | Callable[[ToolFunction[...]], FunctionTool]:
    """A tool that uses the Restate context: steps, calls of services, waits, each an entry of its own.

    Call form and options of the framework's `function_tool`. A terminal error ends the run; any other is tried again by
    the engine. A tool that does not use the context needs no mark: with plain `function_tool` each call is one step.
    effect="external": the tool acts on the world, and must not do so twice unnoticed; see `external` of
    rewake.ext.kernel for verify, on_unknown, on_undo, settle and approvals. Raises ValueError for these without it.
    """
    terms: dict[str, Any] = {"verify": verify, "on_unknown": on_unknown, "on_undo": on_undo, "approvals": approvals}
    given = {name: value for name, value in terms.items() if value is not None}
    if given and effect != "external":
        raise ValueError(f'{", ".join(given)} of durable_function_tool need effect="external".')
    decorated = external(settle=settle, **given) if effect == "external" else None

    def made(function: ToolFunction[...]) -> FunctionTool:
        failed = propagate_cancellation(failure_error_function)
        used: Any = function if decorated is None else decorated(function)
        tool = function_tool(used, failure_error_function=failed, **options)
        adopt_tool(tool, is_durable=True)
        return tool

    return made if func is None else made(func)
