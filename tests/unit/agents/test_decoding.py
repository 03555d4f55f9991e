"""Replies of models in the shapes of the frameworks, and values that are not replies."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rewake.agents.decoding import decode_conversation, decode_reply
from rewake.agents.replies import ModelReply, ToolCall

REPLIES: dict[str, Any] = {
    "Chat completion": {
        "id": "x",
        "model": "gpt-5-mini",
        "choices": [
            {
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": "hm",
                    "tool_calls": [{"id": "c1", "function": {"name": "look", "arguments": '{"at": 1}'}}],
                },
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    },
    "Vercel AI": {
        "json": {
            "content": [
                {"type": "text", "text": "hm"},
                {"type": "tool-call", "toolCallId": "c1", "toolName": "look", "input": '{"at": 1}'},
            ],
            "finishReason": {"unified": "tool-calls"},
            "usage": {"inputTokens": {"total": 3}, "outputTokens": {"total": 4}},
            "response": {"modelId": "gpt-5-mini"},
        }
    },
    "Vercel AI, streamed": {
        "parts": [
            {"type": "response-metadata", "modelId": "gpt-5-mini"},
            {"type": "text-delta", "id": "0", "delta": "h"},
            {"type": "tool-call", "toolCallId": "c1", "toolName": "look", "input": '{"at": 1}'},
            {"type": "text-delta", "id": "0", "delta": "m"},
            {"type": ["text-delta"]},
            {
                "type": "finish",
                "finishReason": {"unified": "tool-calls"},
                "usage": {"inputTokens": {"total": 3}, "outputTokens": {"total": 4}},
            },
        ],
    },
    "Anthropic": {
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [
            {"type": "text", "text": "hm"},
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": 1}},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 4},
    },
    "LangChain": {
        "result": [
            {
                "type": "ai",
                "content": "hm",
                "tool_calls": [{"id": "c1", "name": "look", "args": {"at": 1}}],
                "usage_metadata": {"input_tokens": 3, "output_tokens": 4},
                "response_metadata": {"model_name": "gpt-5-mini"},
            }
        ]
    },
}


@pytest.mark.parametrize("framework", REPLIES)
def test_replies_of_other_frameworks(framework: str) -> None:
    reply = decode_reply(msgspec.json.encode(REPLIES[framework]))
    assert reply is not None
    assert reply.framework == framework.partition(",")[0]
    assert (reply.text, reply.calls, reply.input_tokens, reply.output_tokens) == (
        "hm",
        (ToolCall("look", {"at": 1}, "c1"),),
        3,
        4,
    )
    assert reply.model


STRANGE: tuple[Any, ...] = (
    None, 1, [], {}, "text", {"output": None}, {"output": [1]}, {"choices": [[]]}, {"choices": [{"message": 1}]},
    {"content": {"parts": 3}}, {"content": {"parts": [None, {"function_call": 7}]}}, {"parts": [1], "kind": "response"},
    {"content": [None], "finishReason": None}, {"role": "assistant", "content": [{"type": []}]}, {"result": [[[]]]},
    {"output": [{"type": "message", "content": [{"text": {"a": 1}}]}], "usage": {"input_tokens": -1}},
)  # fmt: skip


@pytest.mark.parametrize("value", STRANGE, ids=range(len(STRANGE)))
def test_strange_content_is_no_error(value: Any) -> None:
    reply = decode_reply(msgspec.json.encode(value))
    assert reply is None or isinstance(reply, ModelReply)
    decode_conversation(msgspec.json.encode(value))


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000, b'{"a":' * 5_000, b"nul", b'"\\ud800"'])
def test_broken_content_is_no_error(content: bytes) -> None:
    assert decode_reply(content) is None
    assert decode_conversation(content) == []
