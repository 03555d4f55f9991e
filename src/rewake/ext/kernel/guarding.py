"""The SDK's own context, wherever the user's code keeps it: in the body of a step it makes no entries.

Code holds it in a closure, in the object a framework hands to its tools, or among `deps`. In a body each use that would
make an entry raises NeedsBranch, so that the tool runs again as a branch; elsewhere it is the context as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import restate
from restate import Context

from rewake.ext.kernel.steps import NeedsBranch, body_here

FREE: Final = frozenset({"request", "key"})
"""What makes no entry and draws nothing."""

_ENTRIES: Final = {
    name for kind in (restate.ObjectContext, restate.WorkflowContext) for name in dir(kind) if not name.startswith("_")
} - FREE


def guard(ctx: Context) -> None:
    """Check each use of a context from now on. Its class becomes one below its own."""
    ctx.__class__ = _guarded(type(ctx))


def needs_branch(what: str) -> NeedsBranch:
    """What is raised in the body of a step. what: how the body uses the context."""
    step = body_here.get()
    return NeedsBranch(f"The body of step {step.name if step else '?'!r} uses the context ({what}).")


@cache
def _guarded(kind: type[Context]) -> type[Context]:
    methods = {name: _checked(name, found) for name in _ENTRIES if callable(found := getattr(kind, name, None))}
    return type(kind.__name__, (kind,), {"__module__": kind.__module__, "__doc__": kind.__doc__, **methods})


def _checked(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if body_here.get() is not None:
            raise needs_branch(name)
        return method(*args, **kwargs)

    return call
