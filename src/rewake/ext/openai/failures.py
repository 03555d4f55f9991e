"""Errors of the framework that no retry can cure: they end the invocation at once, with their own type.

Such an error is both what the framework raises, so `except MaxTurnsExceeded` works, and a restate.TerminalError; what
it carries (`run_data`, with the items so far) is kept.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from agents import AgentsException, ModelBehaviorError, RunContextWrapper
from restate import TerminalError


class AgentsTerminalException(AgentsException, TerminalError):
    """A terminal error in a tool that also ends the agent's run."""

    def __init__(self, message: str = "", status_code: int = 500) -> None:
        super().__init__(message)
        self.message, self.status_code, self.metadata = message, status_code, None


def raise_terminal_errors(context: RunContextWrapper[Any], error: Exception) -> str:
    """A tool's failure_error_function: terminal errors end the run, others are tried again by the engine."""
    if isinstance(error, TerminalError):
        raise AgentsTerminalException(error.message, error.status_code) from error
    if isinstance(error, ModelBehaviorError):
        return f"An error occurred while calling the tool: {error}"
    raise error


def lasting(error: Exception) -> Exception:
    """The error to end a run with: terminal if the framework raised it by its own judgement.

    An error that comes from the user's code stays as it is, because the next attempt may succeed.
    """
    if not isinstance(error, AgentsException) or isinstance(error, TerminalError) or _has_other_cause(error):
        return error
    named: Any = type(error)
    kind = _terminal(named)
    terminal: Exception = kind.__new__(kind)
    terminal.__dict__.update(error.__dict__)
    terminal.args = error.args
    terminal.__dict__.update(message=str(error) or type(error).__name__, status_code=500, metadata=None)
    terminal.__cause__, terminal.__traceback__ = error.__cause__, error.__traceback__
    return terminal


def _has_other_cause(error: BaseException) -> bool:
    cause = error.__cause__
    while cause is not None:
        if not isinstance(cause, AgentsException):
            return True
        cause = cause.__cause__
    return False


@cache
def _terminal(kind: Any) -> Any:
    return type(kind.__name__, (kind, TerminalError), {"__module__": kind.__module__, "__doc__": kind.__doc__})
