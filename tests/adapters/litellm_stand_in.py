"""Stands for `litellm` where it is not installed: the part of its documented interface that OpenAI Agents call.

LiteLLM brings some thirty packages (boto3, tokenizers, ...), too many for two tests. With it installed the tests take
the real one: `import litellm` is tried first.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any

from openai import AsyncOpenAI
from openai.types import chat
from pydantic import BaseModel


class _Read(BaseModel):
    """LiteLLM's answers can be read like dicts."""

    def get(self, name: str, default: Any = None) -> Any:
        return getattr(self, name, default)


class Message(_Read, chat.ChatCompletionMessage):
    pass


class Choices(_Read, chat.chat_completion.Choice):
    message: Message


class ModelResponse(_Read, chat.ChatCompletion):
    choices: list[Choices]  # type: ignore[assignment]  # a list of its own kind


async def acompletion(*, model: str, base_url: str, api_key: str, messages: list[Any], tools: Any, **_: Any) -> Any:
    """An answer of chat completions; a model is named `provider/model`. Not the stand-in's: streams."""
    async with AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0) as client:
        asked: dict[str, Any] = {"tools": tools} if tools else {}
        answer = await client.chat.completions.create(model=model.partition("/")[2], messages=messages, **asked)
    return ModelResponse.model_validate(answer.model_dump())


def install() -> None:
    """Make `import litellm` find the real one, or this."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the internet for prices
    try:
        importlib.import_module("litellm")
    except ImportError:
        module, types, inner = ModuleType("litellm"), ModuleType("litellm.types"), ModuleType("litellm.types.utils")
        inner.__dict__.update(Message=Message, Choices=Choices, ModelResponse=ModelResponse)
        types.__dict__.update(utils=inner)
        module.__dict__.update(types=types, acompletion=acompletion)
        sys.modules.update({"litellm": module, "litellm.types": types, "litellm.types.utils": inner})
