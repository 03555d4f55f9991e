"""A scripted model server: real HTTP and the providers' API formats, answers from your rules.

Point any OpenAI or Gemini client at it and test agents without a key, a bill or luck: the same question always
gets the same answer, every request is recorded, and a call can be slowed, failed or held open on purpose.
Read next: rules.py (what a rule says), server.py (starting one), `python -m rewake.testing.models --help`.
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
