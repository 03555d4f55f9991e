"""Which rule takes which request, without a server."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from rewake.testing.models import Message, ModelRequest, failure, in_turn, rule, text, tool_call, tool_calls
from rewake.testing.models.apis import Api, chat, gemini, responses
from rewake.testing.models.rules import Rule, Text, text_or_example
from rewake.testing.models.script import NoRuleMatches, Script

HELLO = text("hello")


def asked(*messages: Message, system: str = "", tools: tuple[str, ...] = (), model: str = "gpt-5") -> ModelRequest:
    return ModelRequest(
        api="chat", model=model, system=system, messages=messages, tools=tools, is_stream=False, body={}
    )


def user(said: str) -> Message:
    return Message("user", said)


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ({}, True),
        ({"says": "HOSPITAL"}, True),
        ({"says": "car"}, False),
        ({"says": ("car", "hospital")}, True),
        ({"says": re.compile(r"hosp\w+ bill$")}, True),
        ({"system": "router"}, True),
        ({"system": "doctor"}, False),
        ({"model": "gpt"}, True),
        ({"model": "gemini"}, False),
        ({"api": "chat"}, True),
        ({"api": "gemini"}, False),
        ({"when_tool": "transfer"}, True),
        ({"when_tool": ("transfer", "search")}, False),
        ({"when": lambda request: len(request.messages) == 1}, True),
        ({"when": lambda request: request.is_stream}, False),
        ({"after_tool": True}, False),
        ({"after_tool": False}, True),
        ({"says": "hospital", "system": "doctor"}, False),
    ],
)
def test_all_given_conditions_must_hold(conditions: dict[str, Any], fits: bool) -> None:
    request = asked(user("My hospital bill"), system="You are the router", tools=("transfer",))
    assert (rule(answer=HELLO, **conditions).mismatch(request, 0) is None) is fits


def test_tool_results_count_from_the_last_time_the_user_spoke() -> None:
    lookup = Message("tool", "policy P-1", tool_name="lookup")
    during = asked(user("am I covered?"), lookup)
    later = asked(user("am I covered?"), lookup, Message("assistant", "yes"), user("thanks"))
    for conditions in ({"after_tool": "lookup"}, {"after_tool": True}, {"tool_result": "p-1"}):
        waits: Rule = rule(answer=HELLO, **conditions)
        assert waits.mismatch(during, 0) is None
        assert waits.mismatch(later, 0) is not None


def test_last_user_text_joins_what_the_user_said_in_a_row() -> None:
    request = asked(user("old"), Message("assistant", "yes"), user("one"), user("two"), Message("tool", "result"))
    assert request.last_user_text == "one\ntwo"


def test_the_first_rule_that_fits_answers_and_times_lets_it_step_aside() -> None:
    script = Script([rule(answer=failure(500), times=2), rule(answer=HELLO)])
    assert [script.take(asked(user("hi"))).rule for _ in range(3)] == ["rule-1", "rule-1", "rule-2"]


def test_in_turn_gives_one_answer_per_call_and_keeps_the_last() -> None:
    script = Script([rule(answer=in_turn(failure(429), text("a"), text("b")))])
    answers = [script.take(asked()).answer for _ in range(4)]
    assert answers == [failure(429), text("a"), text("b"), text("b")]
    script.reset()
    assert script.take(asked()).answer == failure(429)


def test_an_answer_may_be_a_function_of_the_request() -> None:
    script = Script([rule(answer=lambda request: text(f"you said {request.last_user_text}"))])
    assert script.take(asked(user("hi"))).answer == Text("you said hi")


def test_tool_calls_get_ids_that_differ() -> None:
    script = Script([rule(answer=tool_calls(tool_call("a"), tool_call("b", id="mine"), tool_call("c")))])
    answer = script.take(asked()).answer
    assert answer is not None and not isinstance(answer, Text)
    first, second, third = (call.id for call in answer.calls)  # type: ignore[union-attr]  # it is ToolCalls
    assert second == "mine"
    assert first and third and first != third


def test_structured_answers_are_json_text() -> None:
    assert text({"specialist": "billing"}).text == '{"specialist": "billing"}'


def test_no_rule_says_what_was_asked_and_why_each_rule_stepped_aside() -> None:
    script = Script([rule(name="router", when_tool="transfer", answer=HELLO), rule(says="car", answer=HELLO)])
    with pytest.raises(NoRuleMatches) as caught:
        script.take(asked(user("my leg"), system="intake", tools=("search",)))
    assert str(caught.value).splitlines() == [
        "No rule of the scripted model server fits this request.",
        "api: chat   model: 'gpt-5'",
        "system: 'intake'",
        "last user text: 'my leg'",
        "tools offered: search",
        "tool results: none",
        "rules:",
        "  router (when_tool='transfer'): tool 'transfer' is not offered",
        "  rule-2 (says='car'): the last user text does not match 'car'",
    ]
    assert script.exchanges()[0].outcome == "unmatched"


def test_names_must_differ_and_unknown_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="given twice: a"):
        Script([rule(name="a", answer=HELLO), rule(name="a", answer=HELLO)])
    with pytest.raises(ValueError, match="No rule is named 'b'; there are: a"):
        Script([rule(name="a", answer=HELLO)]).hold("b")


CLAIM = {"type": "object", "properties": {"reason": {"type": "string"}, "amount": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("api", "body"),
    [
        (chat, {"messages": [], "response_format": {"type": "json_schema", "json_schema": {"schema": CLAIM}}}),
        (responses, {"input": "hi", "text": {"format": {"type": "json_schema", "name": "Claim", "schema": CLAIM}}}),
        (gemini, {"contents": [], "generationConfig": {"responseSchema": CLAIM}}),
        (gemini, {"contents": [], "generationConfig": {"responseJsonSchema": CLAIM}}),
    ],
)
def test_one_text_for_everything_also_fits_structured_output(api: Api, body: dict[str, Any]) -> None:
    said = rule(answer=text_or_example("hello")).answer_to(api.parse(body, "any", False), 0)
    assert isinstance(said, Text)
    assert json.loads(said.text) == {"reason": "hello", "amount": 1}


CLAIM_TOOLS = [{"name": "search", "parameters": {}}, {"name": "final_result", "parameters": CLAIM}]


@pytest.mark.parametrize(
    ("api", "body"),
    [
        (
            chat,
            {"messages": [], "tool_choice": "required", "tools": [{"function": tool} for tool in CLAIM_TOOLS]},
        ),
        (responses, {"input": "hi", "tool_choice": "required", "tools": CLAIM_TOOLS}),
        (
            gemini,
            {
                "contents": [],
                "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
                "tools": [{"functionDeclarations": CLAIM_TOOLS}],
            },
        ),
    ],
)
def test_one_text_for_everything_calls_the_tool_of_structured_output(api: Api, body: dict[str, Any]) -> None:
    said = rule(answer=text_or_example("hello")).answer_to(api.parse(body, "any", False), 0)
    assert said == tool_call("final_result", {"reason": "hello", "amount": 1})


def test_in_turn_needs_an_answer() -> None:
    with pytest.raises(ValueError, match="at least one"):
        in_turn()
