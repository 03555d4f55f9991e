"""Names of toolsets, which begin the names of their steps: the id that the user gave, else the toolset's place."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from pydantic_ai.exceptions import UserError
from pydantic_ai.toolsets import AbstractToolset, WrapperToolset
from pydantic_ai.toolsets._dynamic import DynamicToolset
from pydantic_ai.toolsets.function import FunctionToolset

if TYPE_CHECKING:
    from pydantic_ai.mcp import MCPToolset

Wrap = Callable[[AbstractToolset[Any]], WrapperToolset[Any] | None]


def name_by_place(number: int, leaf: AbstractToolset[Any]) -> None:
    """`restate.ext.pydantic` asks for no ids. number: of the toolset in its agent."""
    if leaf._explicit_id is not None:
        return
    if is_mcp(leaf):
        leaf.id = f"toolset-{number}"
    elif isinstance(leaf, FunctionToolset) or hasattr(leaf, "_id"):
        leaf._id = f"toolset-{number}"  # no public way after construction


def is_mcp(leaf: AbstractToolset[Any]) -> TypeGuard[MCPToolset[Any]]:
    """Whether it is an MCPToolset. If so, its module is loaded already; to import it here would be slow."""
    module = sys.modules.get("pydantic_ai.mcp")
    return module is not None and isinstance(leaf, module.MCPToolset)


class ToolsetsOfARun:
    """The durable forms of a run's toolsets. registered: the agent's own, by id.   wrap: makes others durable."""

    def __init__(self, registered: Mapping[str, WrapperToolset[Any]], wrap: Wrap) -> None:
        self._registered, self._wrap = registered, wrap
        self._unnamed = 0

    def durable(self, leaf: AbstractToolset[Any]) -> AbstractToolset[Any]:
        """The durable form of a leaf. Raises UserError for one of this run that needs an id."""
        known = self._registered.get(leaf._explicit_id or "")
        if known is not None and known.wrapped is leaf:
            return known
        if not isinstance(leaf, (FunctionToolset, DynamicToolset)) and not is_mcp(leaf):
            return leaf  # such as the tools of the output, which are no steps
        return self._wrap(leaf if leaf._explicit_id is not None else self._named(leaf)) or leaf

    def _named(self, leaf: AbstractToolset[Any]) -> AbstractToolset[Any]:
        if not isinstance(leaf, FunctionToolset):
            raise UserError(f"{leaf.label} was given for one run: it needs an `id`, which names its steps.")
        named: Any = copy.copy(leaf)  # the user's own may have another place in another run
        named._id = f"run-toolset-{self._unnamed}"
        self._unnamed += 1
        return named  # type: ignore[no-any-return]  # the same kind
