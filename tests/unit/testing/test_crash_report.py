"""What a play of the crash lab means: repeats that are excused and those that are not, mismatches, the report."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rewake.testing.crash.lab import _judged, _Life, _spread
from rewake.testing.crash.report import Play, Report, mismatch_in
from rewake.testing.crash.tap import Boundary

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


def life(*facts: dict[str, Any]) -> _Life:
    return _Life([(float(at), fact) for at, fact in enumerate(facts)])


def judged(*facts: dict[str, Any]) -> Play:
    return _judged(life(*facts), "a kill", {"value": 7}, life(ANSWER))


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
    play = judged(*facts, ANSWER)
    assert (play.repeated, play.cut_off, bool(play.problem)) == (repeated, cut_off, bool(repeated))


def test_another_answer_and_none() -> None:
    assert judged(ANSWER).problem == ""
    assert judged({"event": "answer", "value": 8}).problem == "another answer"
    assert judged({"event": "answer", "failed": {"code": 500, "message": "x"}}).problem == "another answer"
    assert judged().problem == "no answer"


def test_a_mismatch_is_one_line_that_names_the_place() -> None:
    fact = {"event": "attempt_failed", "facts": {"code": "RT0016", "message": DIFFERS}}
    said = "an entry differs: The mismatch happened while executing 'run' (index '1') name: a != b"
    assert judged(fact, ANSWER).mismatches == [said]
    assert judged(fact, ANSWER).problem == f"the code took another way: {said}"
    assert mismatch_in({"code": "RT0016", "message": "Cannot replay 'await'"}) is not None
    assert mismatch_in({"code": "RT0010", "message": "The worker process 15704 died."}) is None


def test_time_to_go_on_ends_with_the_first_word_of_the_handler() -> None:
    def boundary(when: str) -> dict[str, Any]:
        return {"event": "boundary", "at": {"when": when, "target": "T", "entry": "x"}}

    killed = {"event": "killed"}
    assert life(boundary("before"), killed, boundary("after"), boundary("before")).recovered_ms == 2000
    assert life(killed, ANSWER).recovered_ms is None


def test_a_limit_is_spread_evenly() -> None:
    boundaries = [Boundary("after", "T", str(number)) for number in range(10)]
    assert [each.entry for each in _spread(boundaries, 4)] == ["0", "2", "5", "7"]
    assert _spread(boundaries, 10) == _spread(boundaries, None) == boundaries


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
