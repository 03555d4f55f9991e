"""Model calls that fail and that something else of the agent takes over: `ModelFallback`, or a hook for such errors.

A failed step normally ends the run or is retried, so nothing else gets its turn. If other code waits for the failure,
the failure is the outcome of the step: it is stored, and a replay raises the same error. With `ModelFallback` this
holds for every failure while another model is left, without a retry; the last model is retried like any other. Hooks
(`on_model_request_error`) get final failures only.

Stored as the value of a model's envelope: `{"$failed": {"error": "ModelOverloadedError", "text": "status_code: ...",
"http": true, "args": [...], "state": {...}}}`: a class of `pydantic_ai.exceptions`, and what it is made from.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic_ai import exceptions
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.durable_exec import ModelRequestParams
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError
from pydantic_core import to_jsonable_python
from restate import TerminalError

from rewake.ext.kernel.failures import fate
from rewake.ext.pydantic.newer import ModelFallback

_KEY: Final = "$failed"
_ATTACHED: Final = "_pydantic_ai_"
"""Begins what the framework keeps on an error while it is on its way: no part of it."""

_HAS_SPOKEN: Final = "_pydantic_ai_streamed_before_failing"
"""Readers have seen the beginning of the answer: such a call cannot be taken over."""


def is_taken_over(error: ModelAPIError, params: ModelRequestParams) -> bool:
    """Whether somebody waits for the failure of this call."""
    if hasattr(error, _HAS_SPOKEN):
        return False
    capabilities = _capabilities_of(params)
    if any(each._remaining for each in capabilities if isinstance(each, ModelFallback)):
        return True
    return isinstance(fate(error), TerminalError) and any(map(_hears_errors, capabilities))


def stored_failure(error: ModelAPIError) -> dict[str, Any]:
    """The value of the step's envelope."""
    known: Any = next(each for each in type(error).__mro__ if _is_known(each))
    category: Any = getattr(type(error), "category", known)  # of one that has a category beside its HTTP status
    is_http = isinstance(error, ModelHTTPError)
    arguments = ModelHTTPError.__reduce__(error)[1] if isinstance(error, ModelHTTPError) else known.__reduce__(error)[1]
    state = {name: each for name, each in error.__getstate__().items() if not name.startswith(_ATTACHED)}
    told = {"error": category.__name__, "text": str(error), "http": is_http, "args": list(arguments), "state": state}
    return {_KEY: to_jsonable_python(told, fallback=str)}


def failure_in(value: Any) -> ModelAPIError | None:
    """The error that a step stored, None for the answer of a model."""
    told = value.get(_KEY) if isinstance(value, dict) else None
    if not isinstance(told, dict):
        return None
    kind: Any = getattr(exceptions, told["error"], ModelAPIError)
    found: ModelAPIError
    if told["http"] and not issubclass(kind, ModelHTTPError):
        status, model, body = told["args"]
        found = ModelHTTPError.for_category(kind, status_code=status, model_name=model, body=body)
    else:
        found = kind(*told["args"])
    found.__setstate__(told["state"])
    return found


def _is_known(kind: type) -> bool:
    return not kind.__name__.startswith("_") and getattr(exceptions, kind.__name__, None) is kind


def _capabilities_of(params: ModelRequestParams) -> list[AbstractCapability[Any]]:
    found: list[AbstractCapability[Any]] = []
    if (root := params.run_context.root_capability) is not None:
        root.apply(found.append)
    return found


def _hears_errors(capability: AbstractCapability[Any]) -> bool:
    return type(capability).on_model_request_error is not AbstractCapability.on_model_request_error
