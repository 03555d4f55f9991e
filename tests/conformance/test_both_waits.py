"""Awakeables, signals, combinators and promises, on both engines; with the connection kept and with suspensions."""

from __future__ import annotations

import subprocess

import pytest
from cli_process import rewake
from subject import Subject, outcome

SERVICES = ("Waits", "BriefWaits")
pytestmark = pytest.mark.parametrize("service", SERVICES)


# Awakeables


@pytest.mark.parametrize("value", ["yes", "", "x" * 100_000])
def test_an_awakeable_is_resolved(subject: Subject, service: str, value: str) -> None:
    invocation_id = subject.send(f"{service}/awakeable")
    name = subject.marked(invocation_id, "awakeable")
    subject.waits(invocation_id, service)
    answer = subject.resolve(name, value)
    assert (answer.status, answer.body) == (202, b"")
    assert subject.result(invocation_id) == f"got {value}"
    assert subject.commands(invocation_id) == ["Input", "Output"]


def test_people_are_asked_and_answer_from_a_terminal(subject: Subject, service: str) -> None:
    """`ask()` and `rewake approvals` need nothing of the engine that the public one has not."""
    invocation_id = subject.send(f"{service}/asks_people", None)
    name, _, link = subject.marked(invocation_id, "asked").partition(" ")
    assert (link == "None") == (subject.kind == "restate")
    subject.waits(invocation_id, service)
    assert name in cli(subject, "approvals", "list").stdout
    assert "1 more must approve" in cli(subject, "approvals", "approve", name, "--who", "Ada").stdout
    assert "RW4030" in cli(subject, "approvals", "approve", name, "--who", "ada").stderr
    assert cli(subject, "approvals", "approve", name, "--who", "Bob").returncode == 0
    assert subject.result(invocation_id) == "approved ['Ada', 'Bob']"
    assert "RW4027" in cli(subject, "approvals", "deny", name).stderr
    assert '"amount": 7' in cli(subject, "approvals", "show", name).stdout


def test_a_question_that_nobody_answers_expires(subject: Subject, service: str) -> None:
    assert subject.result(subject.send(f"{service}/asks_people", 0.2)) == "expired []"


def cli(subject: Subject, *arguments: str) -> subprocess.CompletedProcess[str]:
    places = ("--admin", f"http://127.0.0.1:{subject.admin_port}")
    ingress = ("--ingress", f"http://127.0.0.1:{subject.ingress_port}") if arguments[1] in ("approve", "deny") else ()
    return rewake(*arguments, *places, *ingress, cwd=subject.folder)


def test_an_awakeable_is_rejected(subject: Subject, service: str) -> None:
    invocation_id = subject.send(f"{service}/awakeable")
    name = subject.marked(invocation_id, "awakeable")
    assert subject.reject(name, "not today, ä").status == 202
    assert subject.result(invocation_id) == "500 not today, ä"


def test_an_awakeable_is_completed_by_another_handler(subject: Subject, service: str) -> None:
    for request, expected in (({"value": "yes"}, "got yes"), ({}, "418 not today")):
        invocation_id = subject.send(f"{service}/awakeable")
        name = subject.marked(invocation_id, "awakeable")
        subject.waits(invocation_id, service)
        asked = {"awakeable": name, **request} if request else {"reject_awakeable": name}
        done = subject.send("Waits/signaller", asked)
        assert subject.result(invocation_id) == expected
        assert subject.result(done) is None
        assert subject.commands(done) == ["Input", "CompleteAwakeable", "Output"]


def test_an_awakeable_that_is_completed_before_it_is_awaited(subject: Subject, service: str) -> None:
    gate = subject.unique()
    invocation_id = subject.send(f"{service}/awakeable_later", gate)
    name = subject.marked(invocation_id, "awakeable")
    assert subject.resolve(name, "early").status == 202
    subject.open_gate(gate)
    assert subject.result(invocation_id) == "got early"


def test_an_awakeable_completed_again_or_too_late_is_ignored(subject: Subject, service: str) -> None:
    invocation_id = subject.send(f"{service}/awakeable")
    name = subject.marked(invocation_id, "awakeable")
    assert subject.resolve(name, "first").status == 202
    assert subject.result(invocation_id) == "got first"
    for answer in (subject.resolve(name, "second"), subject.reject(name, "third")):
        assert (answer.status, answer.body) == (202, b"")
    assert subject.result(invocation_id) == "got first"


# Signals


def test_signals_by_name_in_any_order(subject: Subject, service: str) -> None:
    invocation_id = subject.send(f"{service}/named", ["a", "b", "a"])
    subject.waits(invocation_id, service)
    for name, value in (("b", "2"), ("a", "1"), ("a", "3")):
        outcome(subject.call("Waits/signaller", {"resolve": name, "to": invocation_id, "value": value}))
    assert subject.result(invocation_id) == ["1", "2", "3"]
    assert subject.journal(invocation_id).count("> Signal") == 3


def test_a_rejected_signal(subject: Subject, service: str) -> None:
    invocation_id = subject.send(f"{service}/named", ["a"])
    subject.waits(invocation_id, service)
    done = subject.send("Waits/signaller", {"reject": "a", "to": invocation_id})
    assert subject.result(invocation_id) == ["418 not today"]
    assert subject.result(done) is None
    assert subject.commands(done) == ["Input", "SendSignal", "Output"]


def test_a_signal_to_one_that_has_ended_is_ignored(subject: Subject, service: str) -> None:
    ended = subject.send("Steps/same", 1)
    assert subject.result(ended) == 1
    assert outcome(subject.call(f"{service}/signaller", {"resolve": "a", "to": ended, "value": "x"})) is None
    unknown = "inv_1aDcgkwRzurf63EjxyzWlE7fxLFXQM1sVg"
    assert outcome(subject.call(f"{service}/signaller", {"resolve": "a", "to": unknown, "value": "x"})) is None


# Combinators


def test_gather_waits_for_all(subject: Subject, service: str) -> None:
    invocation_id = subject.send(f"{service}/gathered")
    subject.marked(invocation_id, "attempt")
    subject.waits(invocation_id, service)
    outcome(subject.call("Waits/signaller", {"resolve": "go", "to": invocation_id, "value": "now"}))
    assert subject.result(invocation_id) == ['"late a"', "now"]


def test_select_takes_the_first(subject: Subject, service: str) -> None:
    invocation_id = subject.send(f"{service}/selected")
    subject.waits(invocation_id, service)
    outcome(subject.call("Waits/signaller", {"resolve": "go", "to": invocation_id, "value": "now"}))
    assert subject.result(invocation_id) == [["signal", "now"], "nap"]


def test_as_completed_gives_them_in_the_order_of_their_arrival(subject: Subject, service: str) -> None:
    invocation_id = subject.send(f"{service}/completed_in_turn")
    subject.waits(invocation_id, service)
    for name in ("first", "second", "third"):
        outcome(subject.call("Waits/signaller", {"resolve": name, "to": invocation_id, "value": "x"}))
        subject.marked(invocation_id, f"completed {name}")
    assert subject.result(invocation_id) == ["first", "second", "third"]


def test_wait_completed_tells_done_from_pending(subject: Subject, service: str) -> None:
    invocation_id = subject.send(f"{service}/waited")
    subject.waits(invocation_id, service)
    outcome(subject.call("Waits/signaller", {"resolve": "go", "to": invocation_id, "value": "now"}))
    assert subject.result(invocation_id) == [1, 1]


def test_a_failing_call_wins_a_race(subject: Subject, service: str) -> None:
    assert outcome(subject.call(f"{service}/first_failure")) == "418 no such claim"


# Suspensions


def test_what_it_waits_for_is_told_while_suspended(subject: Subject, service: str) -> None:
    invocation_id = subject.send(f"{service}/named", ["a"])
    row = subject.waits(invocation_id, service)
    subject.marked(invocation_id)  # a running row does not mean that the handler has begun
    assert subject.marks(invocation_id) == ["attempt"]
    assert row.get("suspended_waiting_for_signals") == ([1] if row["status"] == "suspended" else None)
    outcome(subject.call("Waits/signaller", {"resolve": "a", "to": invocation_id, "value": "x"}))
    assert subject.result(invocation_id) == ["x"]
    assert len(subject.marks(invocation_id)) == (2 if row["status"] == "suspended" else 1)
