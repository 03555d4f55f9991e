"""Formats of front ends: AG-UI read by its own package; test_ai_sdk.py has the other's schema read our chunks."""

from __future__ import annotations

from typing import Any

from ag_ui.core import Event, Message
from pydantic import TypeAdapter

from rewake.ext.chat.changes import Received, asked
from rewake.ext.chat.events import ChatEvent, TurnEnded, TurnStarted, TurnWaiting
from rewake.ext.chat.formats import ag_ui, ai_sdk, plain

TURN: dict[str, Any] = {"id": "m1", "text": "I was charged twice", "status": "waiting"}
TOOL = {"type": "tool", "call": "c1", "tool": "pay", "agent": "Bank", "input": {"amount": 4}, "state": "waiting"}
QUESTION = TOOL | {"approval": {"id": "a1", "expires_at_ms": 1_800_000_000_000}}
STEPS: list[dict[str, Any]] = [
    {"agent": "Desk", "parts": [{"type": "handoff", "agent": "Bank"}], "is_done": True},
    {
        "agent": "Bank",
        "parts": [{"type": "reasoning", "text": "Hm"}, {"type": "text", "text": "Oh."}, QUESTION],
        "is_done": True,
    },
]
AFTER = [
    STEPS[0],
    {**STEPS[1], "parts": [*STEPS[1]["parts"][:2], QUESTION | {"state": "returned", "output": "paid"}]},
    {"agent": "Bank", "parts": [{"type": "text", "text": "Done."}], "is_done": True},
]


def first_response() -> list[ChatEvent]:
    """A turn that loses an attempt, and waits for a person."""
    said = Received()
    draft = {"agent": "Bank", "parts": [{"type": "text", "text": "Void"}]}
    events: list[ChatEvent] = [TurnStarted("m1"), *said.go_on_to([STEPS[0], draft]), *said.go_on_to(STEPS)]
    return [*events, TurnWaiting((asked(1, QUESTION),))]


def second_response() -> list[ChatEvent]:
    """The rest, after the person has approved."""
    return [TurnStarted("m1", is_rest=True), *Received(STEPS).go_on_to(AFTER), TurnEnded("ended")]


def run_of(events: list[ChatEvent], turn: dict[str, Any], run_id: str = "r1") -> list[dict[str, Any]]:
    run = ag_ui.AgUiRun("t1", run_id, [{"id": "m0", "role": "user", "content": "Hi"}])
    found = [each for event in events for each in run.events(event, turn)]
    for each in found:
        TypeAdapter(Event).validate_python(each)
    return found


def test_ag_ui_of_a_message_in_mid_turn() -> None:
    """It is a message of the user's, in the run and in the history."""
    message = {"agent": None, "parts": [{"type": "steering", "id": "m2", "text": "Now"}], "is_done": True}
    said = Received()
    steps = [AFTER[0], message, AFTER[2]]
    found = run_of([TurnStarted("m1"), *said.go_on_to(steps), TurnEnded("ended")], TURN)
    own = [each for each in found if each.get("messageId") == "m2"]
    assert [each["type"] for each in own] == [f"TEXT_MESSAGE_{part}" for part in ("START", "CONTENT", "END")]
    assert own[0]["role"] == "user" and found[found.index(own[0]) - 1]["type"] == "STEP_FINISHED"
    history = ag_ui.messages_of(TURN | {"steps": steps})
    assert [(each["id"], each["role"]) for each in history][:2] == [("m1", "user"), ("m2", "user")]


def test_ag_ui_of_a_void_attempt_and_a_question() -> None:
    found = run_of(first_response(), TURN)
    kinds = [each["type"] for each in found]
    assert kinds[0] == "RUN_STARTED" and kinds[-1] == "RUN_FINISHED"
    snapshot = next(each for each in found if each["type"] == "MESSAGES_SNAPSHOT")
    assert [message["id"] for message in snapshot["messages"]] == ["m0", "m1"]  # the void text is gone
    for kind in ("TEXT_MESSAGE", "TOOL_CALL", "REASONING_MESSAGE"):
        assert kinds.count(f"{kind}_START") == kinds.count(f"{kind}_END")
    assert kinds.count("STEP_STARTED") == kinds.count("STEP_FINISHED") == 3
    (question,) = found[-1]["outcome"]["interrupts"]
    assert (question["id"], question["toolCallId"]) == ("a1", "c1")
    assert question["expiresAt"] == "2027-01-15T08:00:00+00:00"


def test_ag_ui_of_the_rest() -> None:
    found = run_of(second_response(), TURN | {"status": "ended"}, "r2")
    assert [(each["toolCallId"], each["content"]) for each in found if each["type"] == "TOOL_CALL_RESULT"] == [
        ("c1", "paid")
    ]
    assert [each["delta"] for each in found if each["type"] == "TEXT_MESSAGE_CONTENT"] == ["Done."]
    assert found[-1]["outcome"] == {"type": "success"}


ASKING = {"type": "tool", "call": "c0", "tool": "ask_bank", "agent": "Desk", "input": {}, "state": "called"}
NESTED: list[dict[str, Any]] = [
    {"agent": "Desk", "parts": [ASKING | {"progress": {"agent": "Bank", "text": "I look"}}], "is_done": True},
    {"agent": "Bank", "parts": [QUESTION | {"within": "c0"}], "is_done": True},
]
ANSWERED: list[dict[str, Any]] = [
    {**NESTED[0], "parts": [ASKING | {"state": "returned", "output": "done"}]},
    {**NESTED[1], "parts": [QUESTION | {"within": "c0", "state": "returned", "output": "paid"}]},
]


def test_ag_ui_of_an_agent_that_is_called_as_a_tool() -> None:
    """A subagent: announced once a run, its work marked; suspended while a person is asked, then continued."""
    question = asked(1, NESTED[1]["parts"][0])
    first = run_of([TurnStarted("m1"), *Received().go_on_to(NESTED), TurnWaiting((question,))], TURN)
    started = next(each for each in first if each["type"] == "SUBAGENT_STARTED")
    assert (started["name"], started["parentToolCallId"]) == ("Bank", "c0")
    name = started["subagentRunId"]
    marked = [each["type"] for each in first if each.get("subagentRunId") == name]
    assert marked == [
        "SUBAGENT_STARTED", "ACTIVITY_SNAPSHOT", "STEP_STARTED", "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END",
        "STEP_FINISHED", "SUBAGENT_FINISHED",
    ]  # fmt: skip
    finished = next(each for each in first if each["type"] == "SUBAGENT_FINISHED")
    assert finished["outcome"] == {"type": "suspended", "interruptIds": ["a1"]}
    assert first[-1]["outcome"]["interrupts"][0]["subagentRunId"] == name

    rest = [TurnStarted("m1", is_rest=True), *Received(NESTED).go_on_to(ANSWERED), TurnEnded("ended")]
    theirs = [each for each in run_of(rest, TURN) if each.get("subagentRunId") == name]
    assert [(each["type"], each.get("toolCallId")) for each in theirs] == [
        ("SUBAGENT_STARTED", None),
        ("TOOL_CALL_RESULT", "c1"),
        ("SUBAGENT_FINISHED", None),
    ]
    whole = run_of([TurnStarted("m1"), *(said := Received()).go_on_to(NESTED), *said.go_on_to(ANSWERED)], TURN)
    kinds = [(each["type"], each.get("subagentRunId")) for each in whole]
    assert kinds.index(("STEP_FINISHED", name)) < kinds.index(("SUBAGENT_FINISHED", name))
    stopped = run_of([TurnStarted("m1"), *Received().go_on_to(NESTED), TurnEnded("stopped")], TURN)
    assert "SUBAGENT_ERROR" in [each["type"] for each in stopped]

    messages = ag_ui.messages_of(TURN | {"steps": ANSWERED})
    TypeAdapter(list[Message]).validate_python(messages)
    assert [message.get("subagentRunId") for message in messages] == [None, None, None, name, name]


def test_ag_ui_of_the_history_and_of_other_ends() -> None:
    messages = ag_ui.messages_of(TURN | {"steps": AFTER})
    TypeAdapter(list[Message]).validate_python(messages)
    assert [message["role"] for message in messages] == [
        "user",
        "reasoning",
        "assistant",
        "assistant",
        "tool",
        "assistant",
    ]
    assert run_of([TurnEnded("failed", "no credit")], TURN)[-1] == {"type": "RUN_ERROR", "message": "no credit"}
    assert run_of([TurnEnded("stopped")], TURN)[-1]["outcome"] == {"type": "cancelled"}


def test_ag_ui_answers() -> None:
    resume = [
        {"interruptId": "a1", "status": "resolved", "payload": {"approved": True, "reason": "ok"}},
        {"interruptId": "a2", "status": "resolved", "payload": {"approved": False}},
        {"interruptId": "a3", "status": "cancelled", "payload": {"approved": True}},
    ]
    assert ag_ui.answers_of(resume) == {"a1": (True, "ok"), "a2": (False, None), "a3": (False, None)}


def chunks_of(events: list[ChatEvent]) -> list[dict[str, Any]]:
    stream = ai_sdk.UiMessageStream()
    return [chunk for event in events for chunk in stream.chunks(event)]


def test_ai_sdk_of_a_void_attempt_and_a_question() -> None:
    kinds = [chunk["type"] for chunk in chunks_of(first_response())]
    assert kinds == [
        "start",
        *("start-step", "data-agent", "data-handoff", "finish-step"),
        *("start-step", "data-agent", "text-start", "text-delta", "reset-step", "data-agent"),
        *("reasoning-start", "reasoning-delta", "reasoning-end", "text-start", "text-delta", "text-end"),
        *("tool-input-start", "tool-input-available", "tool-approval-request"),
        *("finish-step", "finish"),
    ]


def test_ai_sdk_of_the_rest() -> None:
    kinds = [chunk["type"] for chunk in chunks_of(second_response())]
    assert kinds[:3] == ["start", "tool-approval-response", "tool-output-available"]
    assert chunks_of([TurnEnded("stopped")]) == [{"type": "abort", "reason": "stopped"}]
    assert chunks_of([TurnEnded("failed", "no credit")]) == [{"type": "error", "errorText": "no credit"}]


def test_ai_sdk_says_when_it_cannot_take_back_enough() -> None:
    said = Received(AFTER)
    changed = [AFTER[0], {**AFTER[1], "parts": [{"type": "text", "text": "Other"}]}, AFTER[2]]
    chunks = chunks_of([*said.go_on_to(changed), TurnEnded("ended")])
    assert [chunk["type"] for chunk in chunks] == ["data-stale", "finish"]


def test_ai_sdk_answers() -> None:
    approval = {"id": "a1", "approved": False, "reason": "no"}
    message = {"parts": [{"type": "step-start"}, {"state": "approval-responded", "approval": approval}]}
    assert ai_sdk.answers_of(message) == {"a1": (False, "no")}


def test_plain_events() -> None:
    assert [plain.as_json(event)["type"] for event in second_response()] == [
        "turn_started",
        "approval_answered",
        "tool_returned",
        "step_started",
        "text_started",
        "text_delta",
        "text_ended",
        "turn_ended",
    ]
    assert plain.sse({"a": "ö"}) == 'data: {"a":"ö"}\n\n'.encode()
