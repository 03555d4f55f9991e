"""Cancel, kill, pause and resume, on both engines: at every point of a life, and down a tree of calls."""

from __future__ import annotations

import pytest
from subject import Subject, outcome, until

SERVICES = ("Cancels", "BriefCancels")


def running(subject: Subject, service: str, handler: str, body: object = None) -> str:
    """An invocation that stands in its wait: for the brief one that is suspended."""
    invocation_id = subject.send(f"{service}/{handler}", body)
    subject.marked(invocation_id, "attempt")
    if handler != "in_step":
        subject.waits(invocation_id, service)
    return invocation_id


# Cancel


@pytest.mark.parametrize("service", SERVICES)
def test_cancel_in_a_sleep(subject: Subject, service: str) -> None:
    invocation_id = running(subject, service, "asleep")
    caller = subject.attaching(invocation_id)
    answer = subject.operate(invocation_id, "cancel")
    assert (answer.status, answer.body) == (202, b"")
    ended = caller.result()
    assert (ended.status, ended.json) == (409, {"code": 409, "message": "cancelled", "source": "invocation"})
    assert subject.journal(invocation_id) == ["Input", "Sleep", "> Signal", "Output"]
    row = subject.reaches(invocation_id, "completed")
    assert row["completion_failure"] == "[409] cancelled"


def test_cancel_in_a_step(subject: Subject) -> None:
    gate = subject.unique()
    invocation_id = running(subject, "Cancels", "in_step", gate)
    assert subject.operate(invocation_id, "cancel").status == 202
    if not subject.is_full_duplex:  # it hears of it only when the step has ended
        subject.open_gate(gate)
    assert subject.result(invocation_id) == "409 cancelled"
    assert subject.commands(invocation_id) == ["Input", "Run held", "Output"]


def test_cancel_before_it_is_due(subject: Subject) -> None:
    invocation_id = subject.send("Steps/leave_mark", "never", delay="1h")
    subject.reaches(invocation_id, "scheduled")
    caller = subject.attaching(invocation_id)
    answer = subject.operate(invocation_id, "cancel")
    assert (answer.status, answer.body) == (200, b"")
    assert outcome(caller.result()) in ("409 canceled", "404 not found")
    subject.vanishes(invocation_id)
    assert subject.operate(invocation_id, "cancel").status == 404
    assert subject.marks(invocation_id) == []


@pytest.mark.parametrize(("operation", "word"), [("cancel", "canceled"), ("kill", "killed")])
def test_what_is_queued_vanishes_and_the_queue_moves_on(subject: Subject, operation: str, word: str) -> None:
    key = subject.unique()
    holder = subject.send(f"Counter/{key}/hold", key)
    subject.marked(holder, "holds")
    queued = subject.send(f"Counter/{key}/add", 100)
    last = subject.send(f"Counter/{key}/add", 1)
    subject.reaches(queued, "pending")
    caller = subject.attaching(queued)
    until(lambda: subject.status(last) == "pending", lambda: str(subject.invocation(last)))
    answer = subject.operate(queued, operation)
    assert (answer.status, answer.body) == (200, b"")
    assert outcome(caller.result()) in (f"409 {word}", "404 not found")
    subject.vanishes(queued)
    subject.open_gate(key)
    assert subject.result(holder) == key
    assert subject.result(last) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_a_caught_cancellation_is_over_and_a_second_one_works_again(subject: Subject, service: str) -> None:
    invocation_id = running(subject, service, "catches", 2)
    for number in (1, 2):
        assert subject.operate(invocation_id, "cancel").status == 202
        subject.marked(invocation_id, f"ran compensation {number}, 409")
        if number == 1:  # The next one is to reach the wait, not the end of this step.
            until(
                lambda: subject.commands(invocation_id).count("Sleep") == 2, lambda: str(subject.journal(invocation_id))
            )
    outcome(subject.call("Waits/signaller", {"resolve": "done", "to": invocation_id, "value": "fine"}))
    assert subject.result(invocation_id) == "caught 2, fine"
    assert subject.ran(invocation_id) == ["compensation 1, 409", "compensation 2, 409"]


@pytest.mark.parametrize("service", SERVICES)
def test_cancel_goes_down_a_tree_of_calls(subject: Subject, service: str) -> None:
    """The SDK passes it on; the caller gets the callee's failure."""
    root = running(subject, service, "tree", 2)
    child = subject.has_children(root, 1)[0]
    grandchild = subject.has_children(child, 1)[0]
    subject.marked(grandchild, "attempt")
    assert subject.operate(root, "cancel").status == 202
    for each in (root, child, grandchild):
        assert subject.result(each) == "409 cancelled"
        assert subject.reaches(each, "completed")["completion_failure"] == "[409] cancelled"
    assert subject.commands(root) == ["Input", "Call", "SendSignal", "Output"]


def test_cancel_of_a_leaf_is_its_callers_failure(subject: Subject) -> None:
    root = subject.send("Cancels/tree_that_tells", 0)
    leaf = subject.has_children(root, 1)[0]
    subject.marked(leaf, "attempt")
    assert subject.operate(leaf, "cancel").status == 202
    assert subject.result(root) == "409 cancelled"


def test_cancel_by_another_handler(subject: Subject) -> None:
    invocation_id = running(subject, "BriefCancels", "asleep")
    assert outcome(subject.call("Waits/signaller", {"cancel": invocation_id})) is None
    assert subject.result(invocation_id) == "409 cancelled"


def test_sends_are_not_cancelled(subject: Subject) -> None:
    root = subject.send("Cancels/parent")
    done, sent, scheduled, called = subject.has_children(root, 4)
    subject.marked(sent, "attempt")
    subject.marked(called, "attempt")
    assert subject.operate(root, "cancel").status == 202
    assert subject.result(root) == subject.result(called) == "409 cancelled"
    assert subject.result(done) == "leaf"
    assert subject.status(sent) in ("running", "suspended")
    assert subject.status(scheduled) == "scheduled"
    for each in (sent, scheduled):
        assert subject.operate(each, "kill").status == 200


# Kill


@pytest.mark.parametrize("service", SERVICES)
def test_kill_ends_it_at_once(subject: Subject, service: str) -> None:
    invocation_id = running(subject, service, "asleep")
    caller = subject.attaching(invocation_id)
    answer = subject.operate(invocation_id, "kill")
    assert (answer.status, answer.body) == (200, b"")
    ended = caller.result()
    assert (ended.status, ended.json) == (409, {"code": 409, "message": "killed", "source": "invocation"})
    assert subject.reaches(invocation_id, "completed")["completion_failure"] == "[409] killed"
    assert subject.journal(invocation_id) == ["Input", "Sleep"]


def test_kill_reaches_calls_and_sends(subject: Subject) -> None:
    root = subject.send("Cancels/parent")
    done, sent, scheduled, called = subject.has_children(root, 4)
    subject.marked(sent, "attempt")
    subject.marked(called, "attempt")
    assert subject.operate(root, "kill").status == 200
    for each in (root, called, sent):
        assert subject.result(each) == "409 killed"
    assert subject.result(done) == "leaf"
    subject.vanishes(scheduled)


def test_kill_of_a_leaf_is_its_callers_failure(subject: Subject) -> None:
    root = subject.send("Cancels/tree_that_tells", 1)
    child = subject.has_children(root, 1)[0]
    leaf = subject.has_children(child, 1)[0]
    subject.marked(leaf, "attempt")
    assert subject.operate(leaf, "kill").status == 200
    assert subject.result(child) == "409 killed"
    assert subject.result(root) == "409 killed"


def test_kill_of_a_holder_keeps_its_writes_and_frees_the_key(subject: Subject) -> None:
    key = subject.unique()
    holder = subject.send(f"Counter/{key}/set_and_fail", "killed")
    until(lambda: "Sleep" in subject.commands(holder)[-1:], lambda: str(subject.commands(holder)))
    following = subject.send(f"Counter/{key}/add", 1)
    assert subject.operate(holder, "kill").status == 200
    assert subject.result(following) == 8


# Pause and resume


def paused(subject: Subject, service: str, handler: str, body: object = None) -> str:
    """One that was paused while it waited; in a suspension that means different things."""
    if not subject.is_full_duplex:
        pytest.skip("every wait is a suspension")
    invocation_id = running(subject, service, handler, body)
    assert subject.operate(invocation_id, "pause").status == 202
    subject.reaches(invocation_id, "paused")
    return invocation_id


def test_a_paused_invocation_goes_on_when_it_is_resumed(subject: Subject) -> None:
    invocation_id = paused(subject, "Waits", "named", ["a"])
    again = subject.operate(invocation_id, "pause")
    assert (again.status, again.body) == (200, b"")
    outcome(subject.call("Waits/signaller", {"resolve": "a", "to": invocation_id, "value": "x"}))
    assert subject.status(invocation_id) == "paused"
    assert subject.operate(invocation_id, "resume").status == 200
    assert subject.result(invocation_id) == ["x"]


def test_cancel_of_a_paused_invocation_resumes_it(subject: Subject) -> None:
    invocation_id = paused(subject, "Cancels", "asleep")
    assert subject.operate(invocation_id, "cancel").status == 202
    assert subject.result(invocation_id) == "409 cancelled"


def test_kill_of_a_paused_invocation(subject: Subject) -> None:
    invocation_id = paused(subject, "Cancels", "asleep")
    assert subject.operate(invocation_id, "kill").status == 200
    assert subject.result(invocation_id) == "409 killed"


def test_a_suspended_invocation_that_is_resumed_suspends_again(subject: Subject) -> None:
    invocation_id = running(subject, "BriefWaits", "named", ["a"])
    assert subject.operate(invocation_id, "resume").status == 200
    subject.marked(invocation_id, "attempt", times=2)
    subject.reaches(invocation_id, "suspended")
    outcome(subject.call("Waits/signaller", {"resolve": "a", "to": invocation_id, "value": "x"}))
    assert subject.result(invocation_id) == ["x"]
