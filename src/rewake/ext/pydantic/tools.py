"""Which tools are durable: those whose code uses the context or runs a durable agent.

A durable tool makes its own entries, so it cannot be one step. Usually its code shows that. If it is not recognized
here, the tool still works, but its part before the first use of the context or the agent runs twice.
`metadata={"rewake": False}` on the tool marks it as durable from the start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

from pydantic_ai.agent import AbstractAgent
from pydantic_ai.durable_exec import BaseDurabilityCapability
from pydantic_ai.toolsets import FunctionToolset

from rewake.ext.kernel import uses_context

METADATA_KEY: Final = "rewake"

_known: WeakKeyDictionary[Callable[..., Any], bool] = WeakKeyDictionary()


def is_durable_tool(params: Any) -> bool:
    """Whether the tool of a call makes entries of its own. params: of the call, of a toolset of any kind."""
    definition = getattr(getattr(params, "tool", None), "tool_def", None) or getattr(params, "tool_def", None)
    if definition is not None and (definition.metadata or {}).get(METADATA_KEY) is False:
        return True
    function = _function_of(getattr(params, "tool", None))
    if function is None:
        return False
    if function not in _known:
        _known[function] = uses_context(function, also=is_durable_agent)
    return _known[function]


def is_durable_agent(each: Any) -> bool:
    """Whether an object is an agent that is durable in a handler."""
    return isinstance(each, AbstractAgent) and (
        hasattr(each, "rewake_durability") or BaseDurabilityCapability.from_agent(each) is not None
    )


def _function_of(tool: Any) -> Callable[..., Any] | None:
    toolset = getattr(tool, "toolset", None)
    if not isinstance(toolset, FunctionToolset):
        return None
    found = toolset.tools.get(getattr(tool, "original_name", None) or tool.tool_def.name)
    return None if found is None else found.function
