"""Signatures: a cheap replacement for the SDK's `inspect.signature` of each step's function, at each call.

That call costs more than the step's messages (bench: a twelfth of a worker's time), but the SDK only uses the return
annotation. So in our processes the SDK calls this file: annotations that are not strings are read directly, others are
evaluated once per function. Other parts of a signature come from `inspect`.
Source: `run` and `run_typed` of restate/server_context.py, restate-sdk 1.3.0. Called where apps are run.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary

_MARK: Final = "_rewake_signatures"
_known: Final[WeakKeyDictionary[Callable[..., Any], inspect.Signature]] = WeakKeyDictionary()


class _Result:
    """A function's return annotation; other parts of the signature are computed on access."""

    __slots__ = ("_function", "return_annotation")

    def __init__(self, function: FunctionType, return_annotation: Any) -> None:
        self._function = function
        self.return_annotation = return_annotation

    def __getattr__(self, name: str) -> Any:
        return getattr(inspect.signature(self._function, eval_str=True), name)


def remember_signatures() -> None:
    """Patch the SDK in this process. Does nothing without a loaded SDK, or a second time."""
    sdk: Any = sys.modules.get("restate.server_context")
    if sdk is None or hasattr(sdk, _MARK):
        return
    setattr(sdk, _MARK, True)
    ours = ModuleType(inspect.__name__)
    vars(ours).update(vars(inspect), signature=signature)
    sdk.inspect = ours


def signature(action: Any, *, eval_str: bool = False) -> Any:
    """Like `inspect.signature`, but perhaps with the return annotation only. Raises the same errors."""
    if not eval_str or type(action) is not FunctionType:
        return inspect.signature(action, eval_str=eval_str)
    if not action.__dict__:  # functools.wraps and others store changes of a signature here
        annotations = action.__annotations__
        if not any(type(each) is str for each in annotations.values()):
            return _Result(action, annotations.get("return", inspect.Signature.empty))
    known = _known.get(action)
    if known is None:
        known = _known[action] = inspect.signature(action, eval_str=True)
    return known
