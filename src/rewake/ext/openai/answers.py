"""Answers of models to their stored form and back. Fields are stored by alias; without it `async` would be lost."""

from __future__ import annotations

from functools import cache
from typing import Any

from agents import ModelResponse, Usage
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFailedEvent,
    ResponseIncompleteEvent,
    ResponseUsage,
)
from pydantic import TypeAdapter, ValidationError
from restate import TerminalError

LastEvent = ResponseCompletedEvent | ResponseFailedEvent | ResponseIncompleteEvent


def stored_answer(answer: ModelResponse) -> Any:
    """JSON of an answer. It is read back before it is stored, so that it fails now and not at each replay."""
    return _answers().dump_python(answer, mode="json", by_alias=True, exclude_unset=True, warnings=False)


def read_answer(stored: Any) -> ModelResponse:
    """The stored answer. Raises TerminalError when it cannot be read."""
    try:
        answer: ModelResponse = _answers().validate_python(stored)
    except ValidationError as problem:
        raise TerminalError(f"An answer of the model cannot be read back from the journal: {problem}") from problem
    return answer


def stored_response(response: Response) -> Any:
    """JSON of the response that ends a stream."""
    return response.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)


def last_event(stored: Any, number: int) -> LastEvent:
    """The event that ends a stream, from the stored response. number: of the event in its stream."""
    response = Response.model_validate(stored)
    if response.status == "failed":
        return ResponseFailedEvent(response=response, sequence_number=number, type="response.failed")
    if response.status == "incomplete":
        return ResponseIncompleteEvent(response=response, sequence_number=number, type="response.incomplete")
    return ResponseCompletedEvent(response=response, sequence_number=number, type="response.completed")


def usage_of(usage: Usage | ResponseUsage | None) -> dict[str, int]:
    """Tokens in the envelope's names; what is 0 is left out."""
    if usage is None:
        return {}
    found = {
        "requests": getattr(usage, "requests", 1),
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": getattr(usage.input_tokens_details, "cached_tokens", 0),
        "reasoning_tokens": getattr(usage.output_tokens_details, "reasoning_tokens", 0),
    }
    return {name: count for name, count in found.items() if count}


@cache
def _answers() -> TypeAdapter[ModelResponse]:
    return TypeAdapter(ModelResponse)
