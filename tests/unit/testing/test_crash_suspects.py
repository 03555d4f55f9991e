"""Suspects: what in a handler's code is named as a likely cause, and what is not."""

from __future__ import annotations

import functools
import os
import random
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from rewake.testing.crash.probe import Orders, Probe
from rewake.testing.crash.suspects import watched_body, watched_handler

HERE = Path(__file__)
counter = [0]


@pytest.fixture
def facts() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def probe(facts: list[dict[str, Any]], tmp_path: Path) -> Probe:
    """One whose own code is this file."""
    return Probe(Orders(folder=str(HERE), done=str(tmp_path / "done"), traces=True), facts.append)


def kinds_of(facts: list[dict[str, Any]]) -> set[str]:
    """Of what has been seen to run; what this file's source shows is left out."""
    return {fact["kind"] for fact in facts if fact["event"] == "suspect"} - {"set", "swallowed"}


def count() -> None:
    counter[0] += 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (lambda: time.time_ns(), "clock"),  # noqa: PLW0108, TID251
        (lambda: datetime.now(), "clock"),  # noqa: DTZ005, PLW0108, TID251
        (lambda: random.random(), "random"),  # noqa: PLW0108
        (lambda: random.choice("ab"), "random"),
        (lambda: uuid.uuid4(), "random"),  # noqa: PLW0108
        (lambda: os.environ.get("HOME"), "environment"),
        (lambda: os.getpid(), "process"),  # noqa: PLW0108
        (count, "global"),
    ],
)
def test_what_a_replay_would_find_changed(
    code: Callable[[], object], kind: str, probe: Probe, facts: list[dict[str, Any]]
) -> None:
    with probe.handler("Zoo/go"), watched_handler(probe):
        code()
    assert kinds_of(facts) == {kind}
    assert all(HERE.name in fact["line"] for fact in facts)


def test_what_is_the_same_in_each_attempt_is_no_suspect(probe: Probe, facts: list[dict[str, Any]]) -> None:
    """The SDK's own random numbers, code of libraries, and what runs in the body of a step."""
    seeded = random.Random(7)
    with probe.handler("Zoo/go"), watched_handler(probe):
        seeded.random()
        uuid.UUID(int=7)
        with probe.body("Ask"):
            time.time()  # noqa: TID251
    assert kinds_of(facts) == set()


def test_a_body_that_draws_a_key_and_one_that_changes_its_arguments(probe: Probe, facts: list[dict[str, Any]]) -> None:
    cart = {"price": 1}

    def change(given: dict[str, int]) -> None:
        given["price"] = 2

    for work in (functools.partial(change, cart), uuid.uuid4):
        with probe.handler("Zoo/go"), probe.body("Pay"), watched_body(probe, "Pay", work):
            work()
    assert kinds_of(facts) == {"mutation", "key"}


def test_acts_outside_of_a_step(probe: Probe, facts: list[dict[str, Any]], tmp_path: Path) -> None:
    def write() -> None:
        probe.on_audit("open", (str(tmp_path / "a.log"), "a", 0))
        probe.on_audit("open", (str(tmp_path / "read.txt"), "r", 0))
        probe.on_audit("socket.connect", (None, ("127.0.0.1", 80)))

    write()
    with probe.handler("Zoo/go"):
        with probe.body("Ask"):
            write()
        before = len(facts)
        write()
    outside = [fact["what"] for fact in facts if fact["event"] == "outside"]
    assert outside == ["writes a.log", "connects to ('127.0.0.1', 80)"]
    assert [fact["event"] for fact in facts[:before]] == ["boundary"]
