"""The judge: what the ledger and the answers say about each run. Pure.

A step whose result is stored must not run again. From outside, that it was stored is seen by what came after it: an act
with a higher number, or the answer. So an act that comes after a later one of the same run ran again, and so did one
that comes after the run's answer. An act that runs again before that was cut off in the middle, which may happen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Act:
    """One line. at: its place in the ledger, in bytes."""

    run: str
    number: int
    token: str
    at: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run came to. ledger_bytes: how long the ledger was when the answer arrived."""

    tokens: tuple[str, ...]
    ledger_bytes: int


@dataclass(slots=True)
class Verdict:
    """repeated: acts that ran again after their result was stored.   lost: tokens answered that nobody drew last.

    cut_off: acts that ran more than once, rightly.
    """

    act_count: int = 0
    cut_off: int = 0
    repeated: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def acts_of(ledger: bytes) -> list[Act]:
    """The lines; one that was cut in the middle by a kill does not happen, as each is written by one call."""
    acts, at = [], 0
    for line in ledger.splitlines(keepends=True):
        run, number, token = line.decode().split()
        acts.append(Act(run, int(number), token, at))
        at += len(line)
    return acts


def judge(acts: Iterable[Act], answers: Mapping[str, Answer]) -> Verdict:
    """answers: by run, of those whose answer is the tokens of its acts, or has each of them in it."""
    verdict = Verdict()
    highest: dict[str, int] = {}
    last: dict[str, dict[int, str]] = defaultdict(dict)
    times: Counter[tuple[str, int]] = Counter()
    for act in acts:
        verdict.act_count += 1
        answer = answers.get(act.run)
        if act.number < highest.get(act.run, -1):
            verdict.repeated.append(f"{act.run}: act {act.number} after act {highest[act.run]}")
        elif answer is not None and act.at >= answer.ledger_bytes:
            verdict.repeated.append(f"{act.run}: act {act.number} after the answer")
        highest[act.run] = max(highest.get(act.run, -1), act.number)
        last[act.run][act.number] = act.token
        times[act.run, act.number] += 1
    verdict.cut_off = sum(count - 1 for count in times.values()) - len(verdict.repeated)
    for run, answer in answers.items():
        drawn = last.get(run, {})
        verdict.lost += [f"{run}: {token}" for token in answer.tokens if token not in drawn.values()]
    return verdict
