"""What the model says in each row, what the handler must answer, and how often models and tools must have run."""

from __future__ import annotations

from collections.abc import Callable

from adapter_kit import Case

from rewake.testing.models import ModelRequest, rule, text, tool_call, tool_calls

FINE = text({"is_fine": True})


def after_calls(count: int) -> Callable[[ModelRequest], bool]:
    """A condition: so many calls are in the conversation. Unlike `times`, it is the same when a request comes again."""
    return lambda request: sum(len(message.tool_calls) for message in request.messages) == count


CASES: dict[str, Case] = {
    "cycle": Case(
        [
            rule(name="to car", when=after_calls(0), answer=tool_call("transfer_to_car")),
            rule(name="back", when=after_calls(1), answer=tool_call("transfer_to_router")),
            rule(name="again", when=after_calls(2), answer=tool_call("transfer_to_car")),
            rule(name="look", when=after_calls(3), answer=tool_call("look_up", {"number": 7})),
            rule(name="end", system="you are car", answer=text("done")),
        ],
        [
            "done",
            True,
            ["router", "router", "car", "car", "router", "router", "car", "car", "car"],
        ],
        {"to car": 1, "back": 1, "again": 1, "look": 1, "end": 1},
        {"handed over": 2, "look_up 7": 1},
    ),
    "tools": Case(
        [
            rule(name="all end", after_tool=True, answer=text("all done")),
            rule(
                name="all",
                answer=tool_calls(
                    tool_call("look_up", {"number": 1}),
                    tool_call("look_up_in_a_thread", {"number": 2}),
                    tool_call("ask_twice", {"topic": "x"}),
                    tool_call("in_secret", {"topic": "y"}),
                    tool_call("in_hand", {"topic": "w"}),
                    tool_call("fail", {"topic": "z"}),
                ),
            ),
        ],
        ["all done", ["1 is fine", "2 is fine", "failed: no z", "w held", "x 1 2", "y found"]],
        {"all": 1, "all end": 1},
        {"look_up 1": 1, "thread 2": 1, "first": 1, "second": 1, "secret": 1, "hand": 1, "fail": 1},
    ),
    "both": Case(
        [
            rule(
                name="both",
                system="you are triage",
                answer=tool_calls(tool_call("transfer_to_billing"), tool_call("look_up", {"number": 3})),
            ),
            rule(name="end", system="you are billing", answer=text("billed")),
        ],
        ["billed", True],
        {"both": 1, "end": 1},
        {"look_up 3": 1},
    ),
    "consult": Case(
        [
            rule(name="end", system="you are boss", after_tool=True, answer=text("both agree")),
            rule(
                name="ask",
                system="you are boss",
                answer=tool_calls(tool_call("ask_car", {"input": "bumper"}), tool_call("ask_med", {"input": "leg"})),
            ),
            rule(name="car end", system="you are car", after_tool=True, answer=text("car: yes")),
            rule(
                name="car",
                system="you are car",
                answer=tool_calls(tool_call("look_up", {"number": 4}), tool_call("ask_twice", {"topic": "car"})),
            ),
            rule(name="med", system="you are med", answer=text("med: yes")),
        ],
        "both agree",
        {"ask": 1, "car": 1, "car end": 1, "med": 1, "end": 1},
        {"look_up 4": 1, "first": 1, "second": 1},
    ),
    "guarded": Case(
        [
            rule(name="judge", system="you are judge", answer=FINE),
            rule(name="end", system="you are desk", after_tool=True, answer=text("fine")),
            rule(name="desk", system="you are desk", answer=tool_call("look_up", {"number": 5})),
        ],
        ["fine", 2, 5],
        {"judge": 2, "desk": 1, "end": 1},
        {"plain guardrail": 3, "look_up 5": 1},
    ),
    "guarded and tripped": Case(
        [
            rule(name="judge", system="you are judge", answer=text({"is_fine": False})),
            rule(name="desk", system="you are desk", answer=tool_call("look_up", {"number": 5})),
        ],
        ["caught", False],
        {"judge": 1, "desk": 1},
        {"plain guardrail": 2, "after": 1},
    ),
    "approved": Case(
        [
            rule(name="cashier end", system="you are cashier", after_tool=True, answer=text("cashier paid")),
            rule(name="cashier", system="you are cashier", answer=tool_call("pay", {"amount": 10})),
            rule(name="end", system="you are desk", tool_result="paid 30", answer=text("all paid")),
            rule(name="more", system="you are desk", after_tool=True, answer=tool_call("pay", {"amount": 30})),
            rule(
                name="desk",
                system="you are desk",
                answer=tool_calls(
                    tool_call("look_up", {"number": 6}),
                    tool_call("pay", {"amount": 500}),
                    tool_call("pay", {"amount": 20}),
                    tool_call("ask_cashier", {"input": "10"}),
                ),
            ),
        ],
        "all paid",
        {"desk": 1, "cashier": 1, "cashier end": 1, "more": 1, "end": 1},
        {
            "look_up 6": 1,
            'ask pay {"amount": 500}': 1,
            'ask pay {"amount": 20}': 1,
            'ask pay {"amount": 10}': 1,
            'ask pay {"amount": 30}': 1,
            "pay 10": 1,
            "pay 20": 1,
            "pay 30": 1,
        },
    ),
    "approved_by_a_loop": Case(
        [
            rule(name="end", after_tool="pay", answer=text("paid it")),
            rule(name="desk", answer=tool_calls(tool_call("look_up", {"number": 6}), tool_call("pay", {"amount": 20}))),
        ],
        "paid it",
        {"desk": 1, "end": 1},
        {"look_up 6": 1, "pay 20": 1},
        on_object=True,
    ),
    "streamed": Case(
        [
            rule(name="router", system="you are router", answer=tool_call("transfer_to_car")),
            rule(name="end", system="you are car", after_tool="look_up", answer=text("streamed it")),
            rule(
                name="car",
                system="you are car",
                answer=tool_calls(tool_call("look_up", {"number": 8}), tool_call("look_up_in_a_thread", {"number": 9})),
            ),
        ],
        [
            "streamed it",
            [True, True],
            [
                "handoff_requested",
                "handoff_occured",
                "tool_called",
                "tool_called",
                "tool_output",
                "tool_output",
                "message_output_created",
            ],
            "after",
        ],
        {"router": 1, "car": 1, "end": 1},
        {"look_up 8": 1, "thread 9": 1, "after": 1},
    ),
    "models": Case(
        [
            rule(name="named", model="of-the-run", answer=FINE),
            rule(name="own end", model="own-model", after_tool=True, answer=text("remembered")),
            rule(name="own", model="own-model", answer=tool_call("remember", {"name": "Ada"})),
        ],
        ["remembered", True, ["Ada", 1], True],
        {"own": 1, "own end": 1, "named": 1},
        {"remember": 1},
    ),
    "azure": Case(
        [
            rule(name="look", when=after_calls(0), answer=tool_call("look_up", {"number": 3})),
            rule(name="over", model="on-azure", system="you are chat", answer=tool_call("transfer_to_responses")),
            rule(name="end", model="on-azure", answer=text("from azure")),
        ],
        ["from azure", "responses"],
        {"look": 1, "over": 1, "end": 1},
        {"look_up 3": 1},
    ),
    "litellm": Case(
        [
            rule(name="end", model="any", after_tool=True, answer=text("through it")),
            rule(name="look", model="any", answer=tool_call("look_up", {"number": 4})),
        ],
        ["through it", True],
        {"look": 1, "end": 1},
        {"look_up 4": 1},
    ),
    "session": Case(
        [
            rule(name="second", says="and now", answer=text("as before")),
            rule(name="first end", after_tool=True, answer=text("first")),
            rule(name="first", answer=tool_call("look_up", {"number": 2})),
        ],
        ["first", "as before", 6],
        {"first": 1, "first end": 1, "second": 1},
        {"look_up 2": 1},
        on_object=True,
    ),
    "mcp": Case(
        [
            rule(name="end", after_tool=True, answer=text("booked it")),
            rule(name="book", answer=tool_calls(tool_call("book", {"room": 1}), tool_call("book", {"room": 2}))),
        ],
        "booked it",
        {"book": 1, "end": 1},
        {"book 1": 1, "book 2": 1},
    ),
    "timed_out": Case(
        [
            rule(name="end", after_tool=True, answer=text("end")),
            rule(name="all", answer=tool_calls(tool_call("slow"), tool_call("look_up", {"number": 1}))),
        ],
        ["Tool 'slow' timed out after 0.15 seconds.", "1 is fine"],
        {"all": 1, "end": 1},
        {"slow": 1, "look_up 1": 1},
    ),
    "tool_guardrails": Case(
        [
            rule(name="end", after_tool=True, answer=text("end")),
            rule(
                name="all",
                answer=tool_calls(tool_call("checked"), tool_call("refused"), tool_call("look_up", {"number": 1})),
            ),
        ],
        ["checked", "not allowed", "1 is fine"],
        {"all": 1, "end": 1},
        {"let in": 1, "keep out": 1, "let out": 1, "checked": 1, "look_up 1": 1},
    ),
    "streamed_and_tripped": Case(
        [
            rule(name="judge", system="you are judge", answer=text({"is_fine": False})),
            rule(name="desk", answer=text("never heard")),
        ],
        "tripped",
        {"judge": 1, "desk": 1},
    ),
    "within_a_tool": Case(
        [
            rule(name="car", system="you are car", answer=text("car")),
            rule(name="med", system="you are med", answer=text("med")),
            rule(name="house", system="you are house", answer=text("house")),
            rule(name="end", after_tool=True, answer=text("end")),
            rule(
                name="all",
                answer=tool_calls(
                    tool_call("ask_both", {"topic": "x"}),
                    tool_call("ask_one", {"topic": "y"}),
                    tool_call("look_up", {"number": 1}),
                ),
            ),
        ],
        ["1 is fine", "car med", "house"],
        {"car": 1, "med": 1, "house": 1, "all": 1, "end": 1},
        {"look_up 1": 1},
    ),
    "stop_at_the_tool": Case(
        [rule(name="all", answer=tool_call("look_up", {"number": 1}))],
        ["1 is fine", 2],
        {"all": 1},
        {"look_up 1": 1, "check one": 1, "check two": 1},
    ),
    "images": Case(
        [
            rule(name="end", after_tool=True, answer=text("seen")),
            rule(name="ask", answer=tool_call("photo")),
        ],
        ["seen", [True]],
        {"ask": 1, "end": 1},
        {"photo": 1},
    ),
    "story": Case(
        [
            rule(name="answer", system="you are router", after_tool="close_case", answer=text("paid and closed")),
            rule(
                name="close",
                system="you are router",
                after_tool="pay",
                answer=tool_call("close_case", {"summary": "x"}),
            ),
            rule(name="route", system="you are router", answer=tool_call("transfer_to_car")),
            rule(name="back", system="you are car", after_tool="pay", answer=tool_call("transfer_to_router")),
            rule(name="pay", system="you are car", after_tool="check_policy", answer=tool_call("pay", {"amount": 90})),
            rule(
                name="look",
                system="you are car",
                answer=tool_calls(
                    tool_call("check_policy", {"customer": "Ada"}),
                    tool_call("estimate_damage", {"description": "door"}),
                ),
            ),
        ],
        "paid and closed",
        {"route": 1, "look": 1, "pay": 1, "back": 1, "close": 1, "answer": 1},
        {
            "check_policy": 1,
            "estimate_damage": 1,
            'ask pay {"amount": 90}': 1,
            "pay 90": 1,
            'ask close_case {"summary": "x"}': 1,
            "close_case": 1,
        },
    ),
}
CASES["mcp_over_http"] = CASES["mcp"]

ABSENT = {
    "fallback": "the framework has none: a model of the user's that asks others does so in one step",
    "dynamic_tools": "tools that change by run are those of agents made at run time, as in the other rows",
    "heard": "hooks are heard, but there is no handler of events: see the rows of streams",
}
