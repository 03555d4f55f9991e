"""The tap: one boundary among equal ones, names that vary, and when a life is given up."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from rewake.core.effects import Note
from rewake.core.ids import InvocationId
from rewake.testing.crash.boundary import Boundary, Kill
from rewake.testing.crash.report import MISMATCH
from rewake.testing.crash.tap import MISMATCHES_MAX, Tap


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *args: found.append(args))
    return found


def test_the_kill_comes_once_and_at_its_boundary_alone(killed: list[tuple[int, int]]) -> None:
    facts: list[dict[str, Any]] = []
    tap = Tap(Kill("worker", Boundary("before", "T", "result of a", 2)), facts.append, lambda: [7])
    passed = [("after", "a"), ("before", "b"), ("before", "a"), ("before", "a"), ("before", "a")]
    assert [tap.pass_boundary(when, "T", f"result of {name}") for when, name in passed] == [False] * 3 + [True, False]
    assert killed == [(7, signal.SIGKILL)]
    assert [fact["event"] for fact in facts].count("killed") == 1


@pytest.mark.parametrize("name", ["at 1796035258312386299", "for 0190f5d2-7a3c-7cc1-8a40-e6c8d8f6a111"])
def test_a_boundary_is_found_again_without_what_varies(killed: list[tuple[int, int]], name: str) -> None:
    tap = Tap(Kill("engine", Boundary("after", "T", f"run {name.split(maxsplit=1)[0]} #")), lambda fact: None, list)
    assert tap.pass_boundary("after", "T", f"run {name}")
    assert killed == [(os.getpid(), signal.SIGKILL)]


def test_a_life_whose_code_does_not_fit_its_journal_is_given_up() -> None:
    async def play() -> list[bool]:
        tap, seen = Tap(None, lambda fact: None, list), []
        lost = Note("attempt_failed", InvocationId(b"i"), {"code": "RT0010"})
        for note in [lost] * MISMATCHES_MAX + [Note("attempt_failed", InvocationId(b"i"), {"code": MISMATCH})] * 3:
            tap.on_note(note)
            seen.append(tap.is_hopeless.is_set())
        return seen

    assert asyncio.run(play()) == [False] * (MISMATCHES_MAX + 2) + [True]
