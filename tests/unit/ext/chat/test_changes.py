"""What a reader is sent, for each way in which steps go on."""

from __future__ import annotations

from typing import Any

from rewake.ext.chat.changes import Received
from rewake.ext.chat.events import (
    ApprovalAnswered,
    ApprovalAsked,
    ChatEvent,
    HandedOver,
    Steered,
    StepReset,
    StepStarted,
    TextDelta,
    TextEnded,
    TextStarted,
    ToolCalled,
    ToolInputDelta,
    ToolProgress,
    ToolReturned,
    ToolStarted,
)

Step = dict[str, Any]


def text(said: str, *, is_done: bool = False, agent: str = "Desk") -> Step:
    return {"agent": agent, "parts": [{"type": "text", "text": said}], "is_done": is_done}


def call(state: str, **more: Any) -> Step:
    part = {"type": "tool", "call": "c1", "tool": "pay", "agent": "Desk", "input": {"amount": 4}, "state": state}
    return {"agent": "Desk", "parts": [part | more], "is_done": True}


def events(said: Received, *steps: Step) -> list[ChatEvent]:
    return list(said.go_on_to(list(steps)))


def test_text_goes_on_and_ends_once() -> None:
    said = Received()
    assert events(said, text("Hel")) == [StepStarted(0, "Desk"), TextStarted(0, 0), TextDelta(0, 0, "Hel")]
    assert events(said, text("Hello")) == [TextDelta(0, 0, "lo")]
    assert events(said, text("Hello", is_done=True)) == [TextEnded(0, 0)]
    assert events(said, text("Hello", is_done=True)) == []


def test_a_message_in_mid_turn_is_a_step_of_its_own() -> None:
    said = Received()
    message = {"agent": None, "parts": [{"type": "steering", "id": "m2", "text": "Now"}], "is_done": True}
    events(said, text("First.", is_done=True))
    assert events(said, text("First.", is_done=True), message) == [Steered(1, "m2", "Now")]
    assert events(said, text("First.", is_done=True), message, text("Oh"))[0] == StepStarted(2, "Desk")
    assert events(said, text("First.", is_done=True), message, text("Oh")) == []


def test_void_text_is_taken_back_and_said_anew() -> None:
    said = Received()
    events(said, text("First.", is_done=True), text("Hel"))
    kept = [{"agent": "Desk", "parts": [{"type": "text", "text": "First.", "is_done": True}]}]
    assert events(said, text("First.", is_done=True)) == [StepReset(1, is_last=True, steps=kept)]
    assert events(said, text("First.", is_done=True), text("Oh")) == [
        StepStarted(1, "Desk"),
        TextStarted(1, 0),
        TextDelta(1, 0, "Oh"),
    ]


def test_what_the_journal_has_replaces_other_deltas() -> None:
    said = Received()
    events(said, text("Hel"))
    assert events(said, text("Bye", is_done=True)) == [
        StepReset(0, is_last=True, steps=[]),
        StepStarted(0, "Desk"),
        TextStarted(0, 0),
        TextDelta(0, 0, "Bye"),
        TextEnded(0, 0),
    ]


def test_a_step_before_the_last_one_is_taken_back_with_all_after_it() -> None:
    said = Received()
    events(said, text("one", is_done=True), text("two", is_done=True))
    assert events(said, text("eins", is_done=True), text("two", is_done=True))[0] == StepReset(0, is_last=False)


def test_a_call_is_written_made_and_answered() -> None:
    said = Received()
    assert events(said, call("writing", written='{"am')) == [
        StepStarted(0, "Desk"),
        ToolStarted(0, "c1", "pay", "Desk"),
        ToolInputDelta("c1", '{"am'),
    ]
    assert events(said, call("called")) == [ToolCalled(0, "c1", "pay", {"amount": 4})]
    progress = {"agent": "Bank", "text": "I look"}
    assert events(said, call("called", progress=progress)) == [ToolProgress("c1", progress)]
    assert events(said, call("returned", output="paid")) == [ToolReturned("c1", "paid")]


def test_a_call_that_a_person_approves() -> None:
    said = Received()
    events(said, call("called"))
    waiting = call("waiting", approval={"id": "a1", "expires_at_ms": 5})
    assert events(said, waiting) == [ApprovalAsked("a1", 0, "c1", "pay", {"amount": 4}, "Desk", 5)]
    denied = call("denied", approval={"id": "a1", "reason": "too much"})
    assert list(Received([waiting]).go_on_to([denied])) == [ApprovalAnswered("a1", "c1", "denied", "too much", "Desk")]
    paid = call("returned", approval={"id": "a1"}, output="paid")
    assert events(said, paid) == [ApprovalAnswered("a1", "c1", "approved", None, "Desk"), ToolReturned("c1", "paid")]


def test_a_stream_that_does_not_know_a_result_yet_takes_nothing_back() -> None:
    said = Received([call("returned", output="paid")])
    assert events(said, call("called", progress={"agent": "Bank", "text": "I look"})) == []
    assert events(said, call("returned", output="paid")) == []


def test_a_handoff_is_said_once() -> None:
    said = Received()
    step = {"agent": "Desk", "parts": [{"type": "handoff", "agent": "Bank"}], "is_done": True}
    assert events(said, step) == [StepStarted(0, "Desk"), HandedOver(0, 0, "Bank")]
    assert events(said, step) == []
