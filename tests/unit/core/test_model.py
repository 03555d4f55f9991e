"""What the nouns say of themselves."""

from __future__ import annotations

import pytest
from tests.unit.core.play import Play, target_of

from rewake.core.model import ALIKE_MIN, AttemptError, HandlerOptions, RetryPolicy


@pytest.mark.parametrize(
    ("path", "is_exclusive", "is_workflow_run", "can_write_state"),
    [
        ("greeter/greet", False, False, False),
        ("cart/a/add", True, False, True),
        ("cart/a/view", False, False, False),
        ("signup/a/run", False, True, True),
        ("signup//look", False, False, False),
    ],
)
def test_a_target_by_its_kind(path: str, is_exclusive: bool, is_workflow_run: bool, can_write_state: bool) -> None:
    target = target_of(path)
    assert str(target) == path
    assert (target.is_exclusive, target.is_workflow_run) == (is_exclusive, is_workflow_run)
    assert target.can_write_state == can_write_state


@pytest.mark.parametrize(
    ("path", "key", "kept"),
    [
        ("greeter/greet", None, (30, 30)),
        ("greeter/greet", "k", (20, 20)),
        ("signup/a/run", None, (40, 30)),
        ("signup/a/run", "k", (40, 30)),
    ],
)
def test_how_long_a_result_and_its_journal_are_kept(path: str, key: str | None, kept: tuple[int, int]) -> None:
    """A journal never longer than the result it led to."""
    options = HandlerOptions(journal_retention_ms=30, idempotency_retention_ms=20, workflow_retention_ms=40)
    assert options.retention_ms(target_of(path), key) == kept


def test_an_error_that_comes_again_and_again_says_so() -> None:
    assert AttemptError(500, "broke", "RT0007", alike=ALIKE_MIN - 1).text == "broke"
    assert AttemptError(500, "broke", "RT0007", alike=ALIKE_MIN).text.startswith(f"{ALIKE_MIN} attempts in a row ended")


def test_an_invocation_that_failed_is_open_and_backs_off() -> None:
    play = Play(retry=RetryPolicy(max_attempts=2))
    first = play.call("greeter/greet")
    assert (play.row(first).is_open, play.row(first).is_backing_off) == (True, False)
    play.fails(first)
    assert (play.row(first).is_open, play.row(first).is_backing_off) == (True, True)
    play.time(60_000)
    play.sdk_ends(first)
    assert (play.row(first).is_open, play.row(first).is_backing_off) == (False, False)
