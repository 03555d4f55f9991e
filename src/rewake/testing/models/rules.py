"""Rules: they choose the answer to each request.

A rule is a set of conditions that must all hold, and an answer. The first matching rule answers, so put special rules
first. Conditions on text ignore case: a string must occur, a compiled pattern must match somewhere, and of a sequence
one member is enough. Pure; script.py counts, holds and records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from rewake.schema_examples import example_of

from .request import Api, ModelRequest, ToolCall

TextMatch = str | re.Pattern[str] | Sequence[str]


@dataclass(frozen=True, slots=True)
class Text:
    """The model answers with this text."""

    text: str
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """The model calls these tools, in this order; `text` is a remark before them."""

    calls: tuple[ToolCall, ...]
    text: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The provider refuses: an HTTP status, with a body in the provider's own form."""

    status: int
    message: str
    retry_after_s: float | None = None


Answer = Text | ToolCalls | Failure


@dataclass(frozen=True, slots=True)
class InTurn:
    """One answer for each call; the last one repeats."""

    answers: tuple[Answer, ...]


AnswerSource = Answer | InTurn | Callable[[ModelRequest], Answer]


def text(content: Any, *, input_tokens: int | None = None, output_tokens: int | None = None) -> Text:
    """A plain answer. Any other value than a string is sent as JSON, like structured output."""
    said = content if isinstance(content, str) else json.dumps(content)
    return Text(said, input_tokens, output_tokens)


def text_or_example(content: str) -> AnswerSource:
    """A plain answer; for structured output, an example of the schema with this text in its strings."""

    def answer(request: ModelRequest) -> Answer:
        if request.must_call is not None:
            name, schema = request.must_call
            return tool_call(name, example_of(schema, text=content))
        if request.output_schema is None:
            return text(content)
        return text(json.dumps(example_of(request.output_schema, text=content)))

    return answer


def tool_call(name: str, arguments: dict[str, Any] | None = None, *, id: str | None = None) -> ToolCalls:
    """A single call of the tool `name`; a handoff is one too. Without an id the server makes one."""
    return ToolCalls((ToolCall(name, arguments or {}, id),))


def tool_calls(*calls: ToolCalls, text: str = "") -> ToolCalls:
    """Several calls in one answer: `tool_calls(tool_call("a"), tool_call("b"))`."""
    return ToolCalls(tuple(call for group in calls for call in group.calls), text)


def failure(status: int, message: str = "", *, retry_after_s: float | None = None) -> Failure:
    """An error answer, such as 429 or 500; `retry_after_s` becomes the Retry-After header."""
    return Failure(status, message or f"A rule of the scripted model server answers {status}.", retry_after_s)


def in_turn(*answers: Answer) -> InTurn:
    """One answer for each call; the last one repeats: `in_turn(failure(500), text("now it works"))`."""
    if not answers:
        raise ValueError("in_turn() needs at least one answer")
    return InTurn(answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Conditions and an answer; build it with `rule()`. A condition of None always holds."""

    answer: AnswerSource
    name: str = ""
    says: TextMatch | None = None
    system: TextMatch | None = None
    model: TextMatch | None = None
    tool_result: TextMatch | None = None
    when_tool: str | Sequence[str] | None = None
    after_tool: str | bool | None = None
    api: Api | None = None
    when: Callable[[ModelRequest], bool] | None = None
    times: int | None = None
    delay_s: float = 0.0
    hold: bool = False
    pace_s: float = 0.0
    hold_after: int | None = None

    def mismatch(self, request: ModelRequest, asked: int) -> str | None:
        """Why this rule does not match, or None if it does.   asked: how often it was chosen before."""
        if self.times is not None and asked >= self.times:
            return f"already answered {self.times} times"
        if self.api is not None and self.api != request.api:
            return f"api is {request.api!r}"
        if (reason := self._tools_mismatch(request)) is not None:
            return reason
        if (reason := self._text_mismatch(request)) is not None:
            return reason
        if self.when is not None and not self.when(request):
            return "when(request) is false"
        return None

    def answer_to(self, request: ModelRequest, asked: int) -> Answer:
        """The answer for this request; a function is called each time.   asked: how often it was chosen before."""
        if isinstance(self.answer, InTurn):
            return self.answer.answers[min(asked, len(self.answer.answers) - 1)]
        return self.answer(request) if callable(self.answer) else self.answer

    def conditions(self) -> str:
        """The conditions in their written form, for messages."""
        hidden = {"answer", "name", "delay_s", "hold", "pace_s", "hold_after"}
        given = [(f.name, getattr(self, f.name)) for f in fields(self) if f.name not in hidden]
        return ", ".join(f"{name}={value!r}" for name, value in given if value is not None) or "anything"

    def _tools_mismatch(self, request: ModelRequest) -> str | None:
        wanted = [self.when_tool] if isinstance(self.when_tool, str) else list(self.when_tool or ())
        if missing := [name for name in wanted if name not in request.tools]:
            return f"tool {missing[0]!r} is not offered"
        returned = [result.name for result in request.tool_results]
        match self.after_tool:
            case True if not returned:
                return "there is no tool result"
            case False if returned:
                return f"there is a tool result, of {returned[-1]!r}"
            case str() as name if name not in returned:
                return f"there is no result of tool {name!r}"
        return None

    def _text_mismatch(self, request: ModelRequest) -> str | None:
        results = "\n".join(result.text for result in request.tool_results)
        for label, wanted, actual in (
            ("the last user text", self.says, request.last_user_text),
            ("the system text", self.system, request.system),
            ("the model", self.model, request.model),
            ("the tool results", self.tool_result, results),
        ):
            if wanted is not None and not _occurs(wanted, actual):
                return f"{label} does not match {wanted!r}"
        return None


def rule(
    *,
    answer: AnswerSource,
    name: str = "",
    says: TextMatch | None = None,
    system: TextMatch | None = None,
    model: TextMatch | None = None,
    tool_result: TextMatch | None = None,
    when_tool: str | Sequence[str] | None = None,
    after_tool: str | bool | None = None,
    api: Api | None = None,
    when: Callable[[ModelRequest], bool] | None = None,
    times: int | None = None,
    delay_s: float = 0.0,
    hold: bool = False,
    pace_s: float = 0.0,
    hold_after: int | None = None,
) -> Rule:
    """A rule that answers when every given condition holds.

    Args:
        answer: the answer, or a function that gets the request. See text, tool_call, tool_calls, failure, in_turn.
        name: the rule's name for tests and the control API; `rule-<position>` by default.
        says: must be in the last user text.   system: in the instructions.   model: in the model's name.
        tool_result: in the results of tools since the last user message.
        when_tool: the tool, or all the tools, that the request must offer. Handoffs count as tools.
        after_tool: a tool with a result since the last user message; True for any tool, False for no result.
        api: only for this API.   when: any other condition.
        times: the rule no longer matches after it was chosen so often.
        delay_s: wait before the answer.   hold: hold calls from the start, until the rule is released.
        pace_s: wait before each event of a streamed answer.   hold_after: hold a streamed answer after so many events,
            until the rule is released.
    """
    return Rule(
        answer=answer,
        name=name,
        says=says,
        system=system,
        model=model,
        tool_result=tool_result,
        when_tool=when_tool,
        after_tool=after_tool,
        api=api,
        when=when,
        times=times,
        delay_s=delay_s,
        hold=hold,
        pace_s=pace_s,
        hold_after=hold_after,
    )


def _occurs(wanted: TextMatch, actual: str) -> bool:
    if isinstance(wanted, re.Pattern):
        return wanted.search(actual) is not None
    options = [wanted] if isinstance(wanted, str) else wanted
    return any(option.lower() in actual.lower() for option in options)
