"""Handlers in TypeScript on both engines and both transports: waiting, combining waits, being cancelled."""

from __future__ import annotations

import pytest
from subject import Subject, outcome, until

CANCELLED = "409 Cancelled"


@pytest.fixture
def ts(typescript_subject: Subject) -> Subject:
    return typescript_subject


def signal(ts: Subject, invocation_id: str, name: str, **result: str) -> None:
    assert ts.call("TsWaits/signal", {"to": invocation_id, "name": name, **result}).status == 200


def line(ts: Subject, invocation_id: str, depth: int) -> list[str]:
    """The invocation, its only child, that one's only child, and so on."""
    if depth == 0:
        return [invocation_id]
    until(lambda: ts.children(invocation_id), lambda: f"children of {invocation_id}")
    (child,) = ts.children(invocation_id)
    return [invocation_id, *line(ts, child, depth - 1)]


# Awakeables, signals, sleep


def test_a_nap_suspends(ts: Subject) -> None:
    sent = ts.send("TsWaits/nap", 600)
    assert ts.result(sent) == "woken"
    assert ts.marks(sent) == ["attempt"] * 2
    assert ts.journal(sent) == ["Input", "Sleep a nap", "> Sleep", "Output"]


def test_an_awakeable_is_resolved_by_whoever_has_its_name(ts: Subject) -> None:
    sent = ts.send("TsWaits/awakeable")
    name = ts.marked(sent, "awakeable")
    ts.reaches(sent, "suspended")
    assert ts.resolve(name, "ja").status == 202
    assert ts.result(sent) == "ja"
    assert ts.marks(sent) == ["attempt", f"awakeable {name}"] * 2


def test_an_awakeable_is_rejected(ts: Subject) -> None:
    sent = ts.send("TsWaits/awakeable")
    assert ts.reject(ts.marked(sent, "awakeable"), "not today").status == 202
    assert ts.result(sent) == "500 not today"


def test_handlers_complete_awakeables(ts: Subject) -> None:
    resolved, rejected = ts.send("TsWaits/awakeable"), ts.send("TsWaits/awakeable")
    ts.call("TsWaits/completes", {"id": ts.marked(resolved, "awakeable"), "value": "ja"})
    ts.call("TsWaits/completes", {"id": ts.marked(rejected, "awakeable"), "reason": "nein"})
    assert ts.result(resolved) == "ja"
    assert ts.result(rejected) == "500 nein"


def test_an_awakeable_completed_before_it_is_awaited(ts: Subject) -> None:
    gate = ts.unique()
    sent = ts.send("TsWaits/awakeableLater", gate)
    name = ts.marked(sent, "awakeable")
    ts.resolve(name, "early")
    ts.resolve(name, "again")
    ts.open_gate(gate)
    assert ts.result(sent) == ts.differs("completed-twice", rewake="early", restate="again")


def test_signals_by_name(ts: Subject) -> None:
    sent = ts.send("TsWaits/signals", ["one", "two", "three"])
    ts.marked(sent, "attempt")
    signal(ts, sent, "two", value="2")  # before anyone waits for it
    signal(ts, sent, "one", value="1")
    signal(ts, sent, "three", reason="drei")
    assert ts.result(sent) == ["1", "2", "418 drei"]


# Combinators


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        ("all", ["late a", "gone", "mine"]),
        ("race", ["gone", "late b"]),
        ("any", "gone"),
        ("allSettled", ["418 no luck", "gone", None]),
    ],
)
def test_combinators_wait_and_are_woken(ts: Subject, handler: str, expected: object) -> None:
    sent = ts.send(f"TsWaits/{handler}")
    ts.marked(sent, "attempt")
    ts.reaches(sent, "suspended")
    signal(ts, sent, "go", value="gone")
    assert ts.result(sent) == expected
    assert ts.marks(sent).count("attempt") >= 2
    assert ts.marks(sent).count("ran mine") == (handler == "all")


def test_the_first_failure_ends_all(ts: Subject) -> None:
    assert outcome(ts.call("TsWaits/allFails")) == "418 no luck"


def test_any_fails_when_all_have(ts: Subject) -> None:
    assert outcome(ts.call("TsWaits/anyFails")) == ["418 no a", "418 no b"]


@pytest.mark.parametrize(("signals", "expected"), [(["one", "two"], ["1", "2"]), (["one", "three"], "3")])
def test_combinators_in_combinators(ts: Subject, signals: list[str], expected: object) -> None:
    sent = ts.send("TsWaits/nested")
    ts.reaches(sent, "suspended")
    for name in signals:
        signal(ts, sent, name, value={"one": "1", "two": "2", "three": "3"}[name])
    assert ts.result(sent) == expected


def test_a_time_limit(ts: Subject) -> None:
    assert outcome(ts.call("TsWaits/inTime", 30)) == "408 Timeout occurred"
    sent = ts.send("TsWaits/inTime", 60_000)
    signal(ts, sent, "go", value="gone")
    assert ts.result(sent) == "gone"


def test_mapped_results(ts: Subject) -> None:
    assert outcome(ts.call("TsWaits/mapped")) == ["LATE C", "so no luck"]
    assert outcome(ts.call("TsWaits/settled")) == ["now", "never"]


# Cancelling


def test_cancelled_in_its_sleep(ts: Subject) -> None:
    sent = ts.send("TsCancels/asleep")
    ts.reaches(sent, "suspended")
    assert ts.operate(sent, "cancel").status == 202
    assert ts.result(sent) == CANCELLED


def test_cancelled_in_a_step(ts: Subject) -> None:
    """Full duplex the handler hears of it at once; in requests and responses only the next attempt would."""
    sent = ts.send("TsCancels/inStep")
    ts.marked(sent, "attempt")
    if ts.service.server == "node_http1":
        ts.operate(sent, "kill")
        assert ts.result(sent) == "409 killed"
    else:
        ts.operate(sent, "cancel")
        assert ts.result(sent) == CANCELLED


def test_cancelling_goes_down_to_the_leaf(ts: Subject) -> None:
    sent = ts.send("TsCancels/tree", 3)
    family = line(ts, sent, 3)
    for each in family:
        ts.reaches(each, "suspended")
    ts.operate(sent, "cancel")
    assert [ts.result(each) for each in family] == [CANCELLED] * 4


def test_killing_goes_down_to_the_leaf(ts: Subject) -> None:
    sent = ts.send("TsCancels/tree", 2)
    family = line(ts, sent, 2)
    ts.reaches(family[-1], "suspended")
    ts.operate(sent, "kill")
    assert [ts.result(each) for each in family] == ["409 killed"] * 3


def test_a_cancelled_handler_may_compensate_and_go_on(ts: Subject) -> None:
    sent = ts.send("TsCancels/catches", 2)
    for number in range(2):
        ts.marked(sent, f"round {number}")
        ts.operate(sent, "cancel")
        ts.marked(sent, f"ran compensation {number + 1}")
    assert ts.result(sent) == "caught 2"
    assert ts.marks(sent).count("ran compensation 1") == 1
    assert [entry for entry in ts.commands(sent) if entry.startswith("Run")] == [
        "Run compensation 1",
        "Run compensation 2",
    ]


def test_a_handler_cancels_another_invocation(ts: Subject) -> None:
    sent = ts.send("TsCancels/asleep")
    ts.reaches(sent, "suspended")
    assert ts.call("TsCancels/cancel", sent).status == 200
    assert ts.result(sent) == CANCELLED


@pytest.mark.parametrize("propagates", [False, True])
def test_cancellation_that_is_listened_for(ts: Subject, propagates: bool) -> None:
    sent = ts.send("TsCancels/listens", propagates)
    child = ts.marked(sent, "child")
    ts.reaches(sent, "suspended")
    ts.reaches(child, "suspended")
    ts.operate(sent, "cancel")
    ts.marked(sent, "heard")
    if propagates:
        assert ts.result(sent) == [CANCELLED]
    else:
        ts.reaches(sent, "suspended")
        signal(ts, child, "go", value="unharmed")
        assert ts.result(sent) == ["unharmed"]


def test_cancelled_before_it_began(ts: Subject) -> None:
    sent = ts.send("TsCancels/asleep", delay="1h")
    ts.reaches(sent, "scheduled")
    ts.operate(sent, "cancel")
    assert ts.attach(sent).status == 404
    assert ts.marks(sent) == []
