"""Judging: compares a play with an undisturbed one, and names the suspects that can be the cause."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec

from rewake.testing.crash.boundary import Boundary
from rewake.testing.crash.playing import Life
from rewake.testing.crash.report import Play, Report, mismatch_in

CANCELLED: Final = 409
_ANY: Final = frozenset({"clock", "random", "environment", "global", "set", "tasks", "process", "mutation"})
CAUSES: Final = {
    "other way": _ANY | {"swallowed"},
    "other answer": _ANY | {"outside", "swallowed"},
    "no answer": _ANY | {"swallowed"},
    "done again": frozenset({"outside", "key", "global"}),
    "model again": frozenset({"outside", "tasks"}),
    "swallowed": frozenset({"swallowed"}),
}
"""Kind of problem -> suspects that can cause it. Other kinds need no suspects to be understood."""


def report_of(call: str, first: Life, second: Life) -> tuple[Report, list[Boundary]]:
    """A report without plays, and the boundaries of the call. first, second: two undisturbed lives."""
    boundaries = [msgspec.convert(fact["at"], Boundary) for fact in first.named("boundary")]
    report = Report(
        call=call,
        answer=first.answer,
        is_comparable=first.answer == second.answer,
        boundaries=len(boundaries),
        model_calls=first.model_calls,
    )
    return report, boundaries


def judged(life: Life, what: str, expected: Any, first: Life, *, is_calm: bool = False) -> Play:
    """The judgement of a play. expected: its answer; None accepts any success.   is_calm: nothing was killed."""
    play = Play(what=what, answer=life.answer, model_calls=life.model_calls)
    play.is_timed_out = life.is_timed_out
    answer = life.answer or {}
    if expected is not None:
        play.is_same = answer == expected
    else:
        play.is_same = ("failed" in answer) == ("failed" in (first.answer or {})) and life.answer is not None
    play.repeated, play.cut_off = _repeated(life)
    play.done_again = [*life.acts.again(first.acts), *_outside_again(life, first)]
    play.effects = sorted({fact["key"]: f"{fact['name']}: {fact['state']}" for fact in life.named("effect")}.values())
    play.asked_again = is_calm and (life.model_calls or 0) > (first.model_calls or 0)
    for fact in life.named("attempt_failed"):
        mismatch = mismatch_in(fact["facts"])
        if mismatch is not None:
            play.mismatches.append(mismatch)
    return play


def judged_cancelled(life: Life, what: str, first: Life) -> Play:
    """The judgement of a play whose call was cancelled: it must not answer as if it had not been."""
    play = judged(life, what, None, first)
    answer = life.answer or {}
    play.is_same, play.done_again, play.asked_again = "failed" in answer, [], False
    play.is_swallowed = bool(life.named("cancelled")) and "value" in answer
    play.has_landed = bool(life.named("cancelled"))
    return play


def left_open(life: Life) -> list[str]:
    """Steps of a successful run whose result the code did not await."""
    stored = {(fact["run"], fact["step"]) for fact in life.named("stored")}
    return [fact["name"] for fact in life.named("named") if (fact["run"], fact["step"]) not in stored]


def causes_of(kinds: set[str], suspects: list[dict[str, Any]]) -> list[str]:
    """The suspects that can cause problems of these kinds, each once, as `kind: what (line)`."""
    wanted = frozenset[str]().union(*(CAUSES.get(kind, frozenset()) for kind in kinds))
    named = Counter((each["kind"], each["what"], each["line"]) for each in suspects if each["kind"] in wanted)
    return [f"{kind}: {what}" + (f" ({line})" if line else "") for kind, what, line in named]


def _outside_again(life: Life, first: Life) -> list[str]:
    """Acts outside steps that happened more often than in the undisturbed play."""
    before = Counter((fact["what"], fact["line"]) for fact in first.named("outside"))
    now = Counter((fact["what"], fact["line"]) for fact in life.named("outside"))
    return [f"{what} outside of a step ({line})" for (what, line), times in now.items() if times > before[what, line]]


def _repeated(life: Life) -> tuple[list[str], list[str]]:
    """Steps that ran again although their result was stored, and steps that ran again because it was not."""
    names = {(fact["run"], fact["step"]): fact["name"] for fact in life.named("named")}
    stored: set[tuple[str, int]] = set()
    ran: set[tuple[str, int]] = set()
    repeated, cut_off = [], []
    for _, fact in life.facts:
        if fact["event"] == "stored":
            stored.add((fact["run"], fact["step"]))
        elif fact["event"] == "ran":
            step = (fact["run"], fact["step"])
            name = names.get(step, fact["name"])
            if step in stored:
                repeated.append(name)
            elif step in ran:
                cut_off.append(name)
            ran.add(step)
    return repeated, cut_off
