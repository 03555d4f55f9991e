"""A scripted model server: real HTTP and the providers' API formats, answers from your rules.

Any OpenAI or Gemini client can use it, so agents are tested without a key, a bill or luck: the same question always
gets the same answer, every request is recorded, and a test can slow, fail or hold a call.
Read next: rules.py (rules), server.py (how to start it), `python -m rewake.testing.models --help`.
"""

from .client import ModelServerClient
from .request import Message, ModelRequest, ToolCall, ToolResult
from .rules import Answer, Failure, Rule, Text, ToolCalls, failure, in_turn, rule, text, tool_call, tool_calls
from .script import CallCount, Exchange
from .server import HeldRule, ModelServer

__all__ = [
    "Answer",
    "CallCount",
    "Exchange",
    "Failure",
    "HeldRule",
    "Message",
    "ModelRequest",
    "ModelServer",
    "ModelServerClient",
    "Rule",
    "Text",
    "ToolCall",
    "ToolCalls",
    "ToolResult",
    "failure",
    "in_turn",
    "rule",
    "text",
    "tool_call",
    "tool_calls",
]
