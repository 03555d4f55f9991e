"""Guards the SDK's own context, so that it makes no entries in the body of a step.

The user's code may keep the context in a closure, in the object that a framework gives to tools, or in `deps`. In a
body, each use that would make an entry raises NeedsBranch, so that the tool runs again as a branch. Elsewhere nothing
changes.
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
"""Names that make no entry and draw nothing."""

_ENTRIES: Final = {
    name for kind in (restate.ObjectContext, restate.WorkflowContext) for name in dir(kind) if not name.startswith("_")
} - FREE


def guard(ctx: Context) -> None:
    """Check each use of a context from now on. The object gets a subclass of its class."""
    ctx.__class__ = _guarded(type(ctx))


def needs_branch(what: str) -> NeedsBranch:
    """The error to raise in the body of a step. what: how the body uses the context."""
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
