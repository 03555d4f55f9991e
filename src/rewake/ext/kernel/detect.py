"""Whether a function uses the Restate context, as far as its code shows.

A plain tool is one step, and the body of a step cannot use the context. Most tools show it: a name such as
`restate_context` in their code or in that of a function they call, a context in a closure, a default or a global. Calls
that are not seen here still work: the body ends where it reaches for `restate_context()` and runs again as a branch.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any, Final

from restate import Context

_NAMES: Final = frozenset(
    {"restate_context", "restate_object_context", "durable_context", "current_context", "durable_step"}
)
_DEPTH_MAX: Final = 3


def uses_context(function: Callable[..., Any], depth: int = 0, also: Callable[[Any], bool] | None = None) -> bool:
    """True where the code of the function, or of functions it names, reaches for the context.

    also: whether another object that the code can reach needs the context, too: a framework's agent.
    """
    if _is_marked(function):
        return True
    function = _plain(function)
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return False
    names = set(_names(code))
    if names & _NAMES:
        return True
    reached = list(_reached(function, names))
    if any(isinstance(each, Context) or _is_marked(each) or (also is not None and also(each)) for each in reached):
        return True
    near = (each for each in reached if _is_near(each, function))
    return depth < _DEPTH_MAX and any(uses_context(each, depth + 1, also) for each in near)


def _plain(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.unwrap(getattr(function, "__func__", function))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _reached(function: Any, names: set[str]) -> Iterator[Any]:
    """Objects that the code can reach by closure, default or global name."""
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from (function.__globals__[name] for name in names if name in function.__globals__)


def _is_marked(each: Any) -> bool:
    """Whether an object makes entries although its name is not searched for, as `ask` and durable runners do."""
    return (inspect.isfunction(each) or inspect.isclass(each)) and hasattr(each, "rewake_uses_context")


def _is_near(each: Any, function: Any) -> bool:
    """A function of the same module: those of libraries are not followed."""
    return inspect.isfunction(each) and each.__module__ == function.__module__ and each is not function
