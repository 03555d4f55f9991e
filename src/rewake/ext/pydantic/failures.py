"""Errors of the framework that end an invocation, as errors of both: terminal for the SDK, their own type for the user.

A usage limit, a model that answers nonsense or a misuse of the API fails again in each attempt. Raised as they are,
the engine would retry them. So they are raised as a class of both types: `except UsageLimitExceeded` still works.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from pydantic_ai.exceptions import AgentRunError, FallbackExceptionGroup, UserError
from restate import TerminalError

from rewake.ext.kernel.failures import MESSAGE_CHARS_MAX

FINAL: Final = (AgentRunError, UserError, FallbackExceptionGroup)
_STATUS: Final = 500


def terminal(error: AgentRunError | UserError | FallbackExceptionGroup) -> TerminalError:
    """The error as one that ends the invocation, with its fields and message."""
    if isinstance(error, TerminalError):
        return error
    status = getattr(error, "status_code", _STATUS)
    own: Any = type(error)
    kind: type[TerminalError] = _both(own)
    found: TerminalError = kind.__new__(kind, *error.args)
    found.__dict__.update(error.__dict__)
    Exception.__init__(found, *error.args)
    found.message = _text_of(error)
    found.status_code = status if isinstance(status, int) else _STATUS
    found.metadata = getattr(found, "metadata", None)
    return found.with_traceback(error.__traceback__)


def _text_of(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ExceptionGroup):
        text += "".join(f"\n- {_text_of(each)}" for each in error.exceptions)
    return text[:MESSAGE_CHARS_MAX]


@cache
def _both(kind: Any) -> type[TerminalError]:
    # `message` of a group cannot be set; the class hides it.
    own = {"__module__": kind.__module__, "__str__": kind.__str__, "message": ""}
    return type(kind.__name__, (TerminalError, kind), own)
