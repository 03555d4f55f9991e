"""What a play of the crash lab means: repeats that are excused and those that are not, mismatches, the report."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from rewake.engine.mismatch import USUAL_CAUSES
from rewake.testing.crash.boundary import Boundary, Kill
from rewake.testing.crash.judging import causes_of, judged, judged_cancelled, left_open
from rewake.testing.crash.lab import spread
from rewake.testing.crash.playing import OTHER_SIDE, Caller, Life
from rewake.testing.crash.report import Play, Report, mismatch_in

ANSWER = {"event": "answer", "value": 7}
NAMED = {"event": "named", "run": "inv_1", "step": 1, "name": "book"}
RAN = {"event": "ran", "run": "inv_1", "step": 1, "name": "no. 1"}
STORED = {"event": "stored", "run": "inv_1", "step": 1}
OTHER = {**RAN, "run": "inv_2"}
DIFFERS = (
    "Found a mismatch between the code paths taken during the previous execution and the paths of this one.\n"
    "This typically happens when some parts of the code are non-deterministic.\n"
    "- The mismatch happened while executing 'run' (index '1')\n- Difference:\n   name: a != b\n"
)


def life(*facts: dict[str, Any]) -> Life:
    return Life([(float(at), fact) for at, fact in enumerate(facts)])


def played(*facts: dict[str, Any]) -> Play:
    return judged(life(*facts), "a kill", {"value": 7}, life(ANSWER))


@pytest.mark.parametrize(
    ("facts", "repeated", "cut_off"),
    [
        ((NAMED, RAN, STORED), [], []),
        ((NAMED, RAN, RAN, STORED), [], ["book"]),
        ((NAMED, RAN, STORED, RAN), ["book"], []),
        ((NAMED, RAN, STORED, OTHER), [], []),
        ((RAN, RAN), [], ["no. 1"]),
    ],
)
def test_only_a_step_that_was_stored_may_not_run_again(
    facts: tuple[dict[str, Any], ...], repeated: list[str], cut_off: list[str]
) -> None:
    play = played(*facts, ANSWER)
    assert (play.repeated, play.cut_off, bool(play.problem)) == (repeated, cut_off, bool(repeated))


def test_kills_that_all_missed_prove_nothing() -> None:
    missed = Play("worker killed", ANSWER, is_same=True, is_kill=True)
    landed = Play("worker killed", ANSWER, is_same=True, is_kill=True, has_landed=True)
    calm = Play("suspended at every await", ANSWER, is_same=True, has_landed=True)
    report = Report("Desk/go", ANSWER, True, 3, plays=[missed, calm])
    assert not report.is_right
    assert ("note", "no kill landed where it should: nothing is proven") in report.facts()
    assert "No kill landed: nothing is proven." in report.as_page()
    assert Report("Desk/go", ANSWER, True, 3, plays=[missed, landed]).is_right
    assert Report("Desk/go", ANSWER, True, 3, plays=[calm]).is_right


def test_another_answer_and_none() -> None:
    assert played(ANSWER).problem == ""
    assert played({"event": "answer", "value": 8}).problem == "another answer"
    assert played({"event": "answer", "failed": {"code": 500, "message": "x"}}).problem == "another answer"
    assert played().problem == "no answer"
    assert Play("worker killed", is_timed_out=True).problem == "no answer in time"


def test_a_mismatch_is_one_line_that_names_the_place() -> None:
    message = f"{DIFFERS}{USUAL_CAUSES}the code was changed."
    fact = {"event": "attempt_failed", "facts": {"code": "RT0016", "message": message}}
    said = "an entry differs: The mismatch happened while executing 'run' (index '1') name: a != b"
    assert played(fact, ANSWER).mismatches == [said]
    assert played(fact, ANSWER).problem == f"the code took another way: {said}"
    assert mismatch_in({"code": "RT0016", "message": "Cannot replay 'await'"}) is not None
    assert mismatch_in({"code": "RT0010", "message": "The worker process 15704 died."}) is None


def test_what_was_done_to_the_world_again() -> None:
    """An act without a key, one whose second try had another key, and one outside of a step."""
    first, now = life(ANSWER), life(ANSWER, {"event": "outside", "what": "writes a.log", "line": "app.py:9"})
    first.acts.acts = [("POST /a", ""), ("POST /b", "k"), ("POST /c", "k")]
    now.acts.acts = [*first.acts.acts, ("POST /a", ""), ("POST /b", "k2"), ("POST /c", "k")]
    play = judged(now, "a kill", {"value": 7}, first)
    assert play.done_again == [
        "POST /a with no idempotency key",
        "POST /b with another idempotency key",
        "writes a.log outside of a step (app.py:9)",
    ]
    assert play.found[0] == "done again"


def test_a_model_may_be_asked_again_only_after_a_kill() -> None:
    first, now = life(ANSWER), life(ANSWER)
    first.model_calls, now.model_calls = 1, 2
    assert judged(now, "a kill", {"value": 7}, first).problem == ""
    assert judged(now, "suspended", {"value": 7}, first, is_calm=True).found[0] == "model again"


def test_a_cancelled_call_must_not_answer() -> None:
    cancelled = {"event": "cancelled"}
    failed = {"event": "answer", "failed": {"code": 409, "message": "cancelled"}}
    assert judged_cancelled(life(cancelled, ANSWER), "cancelled", life(ANSWER)).found[0] == "swallowed"
    assert judged_cancelled(life(cancelled, failed), "cancelled", life(ANSWER)).problem == ""
    assert not judged_cancelled(life(ANSWER), "cancelled", life(ANSWER)).has_landed


def test_effects_are_counted_by_their_last_state() -> None:
    effects = [{"event": "effect", "key": "k", "name": "pay", "state": state} for state in ("sent", "unknown")]
    play = judged(life(*effects, ANSWER), "a kill", {"value": 7}, life(ANSWER))
    report = Report("Desk/pay", {"value": 7}, is_comparable=True, boundaries=1, plays=[play, play])
    assert dict(report.facts())["effects"] == "pay: unknown 2 times"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_is_killed_at_its_call(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the second one, once."""
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, signal: killed.append(pid))
    now = life({"event": "worker_ready", "pid": 7})
    caller = Caller(now, Kill("worker", Boundary(when, OTHER_SIDE, "POST /a", 2)))
    assert [caller.heard(OTHER_SIDE, when, "POST /a") for _ in range(3)] == [False, True, False]
    assert killed == [7]
    assert [fact["at"]["occurrence"] for fact in now.named("boundary")] == [1, 2, 3]


def test_steps_that_nobody_waited_for() -> None:
    assert left_open(life(NAMED, RAN, STORED, ANSWER)) == []
    assert left_open(life(NAMED, ANSWER)) == ["book"]


def test_only_suspects_that_can_be_the_cause_are_named() -> None:
    suspects = [
        {"event": "suspect", "kind": kind, "what": kind, "line": "a.py:1"} for kind in ("clock", "key", "clock")
    ]
    assert causes_of({"other way"}, suspects) == ["clock: clock (a.py:1)"]
    assert causes_of({"done again"}, suspects) == ["key: key (a.py:1)"]
    assert causes_of({"repeated"}, suspects) == []


def test_time_to_go_on_ends_with_the_first_word_of_the_handler() -> None:
    def boundary(when: str) -> dict[str, Any]:
        return {"event": "boundary", "at": {"when": when, "target": "T", "entry": "x"}}

    killed = {"event": "killed"}
    assert life(boundary("before"), killed, boundary("after"), boundary("before")).recovered_ms == 2000
    assert life(killed, ANSWER).recovered_ms is None


def test_a_limit_is_spread_evenly() -> None:
    boundaries = [Boundary("after", "T", str(number)) for number in range(10)]
    assert [each.entry for each in spread(boundaries, 4)] == ["0", "2", "5", "7"]
    assert spread(boundaries, 10) == spread(boundaries, None) == boundaries


def test_the_report_for_people_for_programs_and_as_a_page() -> None:
    right = Play("worker killed after T: run a", ANSWER, has_landed=True, is_same=True, recovered_ms=40)
    wrong = Play("<b>", None, has_landed=False, mismatches=["an entry differs: <i>"])
    report = Report("T", 7, is_comparable=False, boundaries=9, model_calls=3, plays=[right, wrong])
    facts = dict(report.facts())
    assert facts["plays"] == "2, of which 1 did what they were to do"
    assert facts["time to go on"] == "40 ms at the median, 40 ms at most"
    assert "only success is compared" in facts["note"]
    assert not report.is_right
    assert json.loads(json.dumps(report.as_json()))["plays"][1]["problem"].startswith("the code took another way")
    page = report.as_page()
    assert "Wrong after 1 kills" in page
    assert "<b>" not in page
    assert "<i>" not in page
