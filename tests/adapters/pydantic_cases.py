"""What the model says to agents of Pydantic AI in each row; where it says the same to others, the case is theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import openai_cases
from adapter_kit import Case
from openai_cases import CASES as THEIRS
from pydantic_ai import capabilities

from rewake.testing.models import failure, in_turn, rule, text, tool_call, tool_calls

CASES: Final[dict[str, Case]] = {
    "models": Case(
        [
            rule(name="own end", model="own-model", after_tool=True, answer=text("remembered")),
            rule(name="own", model="own-model", answer=tool_call("remember", {"name": "Ada"})),
            rule(name="of the run", model="of-the-run", answer=openai_cases.FINE),
            rule(name="by id", model="by-id", answer=openai_cases.FINE),
        ],
        ["remembered", True, True],
        {"own": 1, "own end": 1, "of the run": 1, "by id": 1},
        {"remember": 1},
    ),
    "fallback": Case(
        [
            rule(name="busy", model="busy", answer=failure(503, retry_after_s=60)),
            rule(name="refuses", model="refuses", answer=failure(401)),
            rule(name="end", model="well", after_tool=True, answer=text("found it")),
            rule(name="ask", model="well", answer=tool_call("look_up", {"number": 1})),
        ],
        [["found it", ["well", "well"]], ["found it", ["well", "well"]]],
        {"busy": 4, "refuses": 2, "ask": 2, "end": 2},
        {"look_up 1": 2},
    ),
    "cycle": replace(
        THEIRS["cycle"],
        rules=[
            rule(name="to car", says="hello 0", answer=tool_call("transfer_to_car")),
            rule(name="back", says="hello 1", answer=tool_call("transfer_to_router")),
            rule(name="again", says="hello 2", answer=tool_call("transfer_to_car")),
            rule(name="end", says="hello 3", after_tool=True, answer=text("done")),
            rule(name="look", says="hello 3", answer=tool_call("look_up", {"number": 7})),
        ],
        answer=["done", ["router", "car", "router", "car"]],
        marks={"handed over": 3, "look_up 7": 1},
    ),
    "both": THEIRS["both"],
    "tools": replace(
        THEIRS["tools"], answer=["all done", ["1 is fine", "2 is fine", "failed: no z", "w held", "x 1 2", "y found"]]
    ),
    "within_a_tool": THEIRS["within_a_tool"],
    "timed_out": replace(THEIRS["timed_out"], answer=["Timed out after 0.15 seconds.", "1 is fine"]),
    "images": replace(
        THEIRS["images"],
        rules=[
            rule(name="end", when=lambda request: len(request.messages) > 1, answer=text("seen")),
            rule(name="ask", answer=tool_call("photo")),
        ],
    ),
    "consult": THEIRS["consult"],
    "mcp": THEIRS["mcp"],
    "mcp_over_http": THEIRS["mcp_over_http"],
    "dynamic_tools": Case(
        [
            rule(name="end", after_tool=True, answer=text("found")),
            rule(
                name="ask",
                answer=tool_calls(tool_call("look_up", {"number": 1}), tool_call("look_up_in_a_thread", {"number": 2})),
            ),
        ],
        "found",
        {"ask": 1, "end": 1},
        {"look_up 1": 1, "thread 2": 1},
    ),
    "guarded": Case(
        [
            rule(name="judge", system="you are judge", answer=openai_cases.FINE),
            rule(name="end", system="you are desk", after_tool=True, answer=text("fine")),
            rule(name="desk", system="you are desk", answer=tool_call("look_up", {"number": 5})),
        ],
        ["fine", [True]],
        {"judge": 1, "desk": 1, "end": 1},
        {"look_up 5": 1},
    ),
    "guarded and tripped": Case(
        [
            rule(
                name="judge",
                system="you are judge",
                answer=in_turn(text({"is_fine": False}), openai_cases.FINE),
            ),
            rule(name="desk", system="you are desk", answer=in_turn(text("rude"), text("polite"))),
        ],
        ["polite", [False, True]],
        {"judge": 2, "desk": 2},
    ),
    "tool_guardrails": Case(
        [
            rule(name="end", after_tool=True, answer=text("end")),
            rule(
                name="all",
                answer=tool_calls(*(tool_call("look_up", {"number": number}) for number in (1, 200, 3))),
            ),
        ],
        ["end", ["1 is fine", "3 is fine", "not allowed"]],
        {"all": 1, "end": 1},
        {"check 1": 1, "check 200": 1, "check 3": 1, "look_up 1": 1, "look_up 3": 1},
    ),
    "approved": THEIRS["approved"],
    "approved_by_a_loop": THEIRS["approved_by_a_loop"],
    "story": THEIRS["story"],
    "session": replace(THEIRS["session"], answer=["first", "as before", 6]),
    "streamed": replace(
        THEIRS["streamed"],
        answer=[
            "streamed it",
            True,
            ["function_tool_call", "function_tool_call", "function_tool_result", "function_tool_result"],
            "after",
        ],
    ),
    "heard": Case(
        [
            rule(name="more", says="more", answer=text("d e f")),
            rule(name="end", after_tool=True, answer=text("a b c")),
            rule(
                name="desk",
                answer=tool_calls(tool_call("look_up", {"number": 1}), tool_call("look_up_in_a_thread", {"number": 2})),
            ),
        ],
        ["a b c", "d e f"],
        {"desk": 1, "end": 1, "more": 1},
        {"look_up 1": 1, "thread 2": 1, "heard look_up": 1, "heard look_up_in_a_thread": 1},
    ),
}

ABSENT: Final = {
    "azure": "its clients of OpenAI are those of the framework's own providers, wrapped as any model",
    "litellm": "a provider of the framework like any other",
    "stop_at_the_tool": "functions that make the output are no steps, as with all its durable engines",
    "streamed_and_tripped": "no guardrails run beside a model's call",
}
if not hasattr(capabilities, "ModelFallback"):
    del CASES["fallback"]
    ABSENT["fallback"] = "this version has no such capability"
if not hasattr(capabilities, "RequestInput"):
    for waits in ("approved", "story"):
        del CASES[waits]
        ABSENT[waits] = "this version cannot wait for an answer from outside"
