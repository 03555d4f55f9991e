"""What the nouns say of themselves."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.core.play import Play, deployment, target_of

from rewake.core.ids import InvocationId
from rewake.core.model import (
    ALIKE_MIN,
    BY_URL,
    AttemptError,
    HandlerOptions,
    Invocation,
    InvokedBy,
    OnMaxAttempts,
    RetryPolicy,
    Status,
)


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


def test_what_is_stored_of_kinds() -> None:
    """As numbers and words in the database, the SQL tables and manifests."""
    assert [(item.name, int(item)) for item in Status] == [
        ("SCHEDULED", 0),
        ("INBOXED", 1),
        ("INVOKED", 2),
        ("SUSPENDED", 3),
        ("PAUSED", 4),
        ("COMPLETED", 5),
    ]
    assert list(InvokedBy) == ["ingress", "service", "restart_as_new"]
    assert list(OnMaxAttempts) == ["PAUSE", "KILL"]
    assert (BY_URL, deployment().http_version) == ("http", "HTTP/2.0")


def test_options_where_none_are_chosen() -> None:
    """The real server's."""
    assert HandlerOptions() == HandlerOptions(
        inactivity_timeout_ms=60_000,
        abort_timeout_ms=600_000,
        journal_retention_ms=86_400_000,
        idempotency_retention_ms=86_400_000,
        workflow_retention_ms=86_400_000,
        enable_lazy_state=False,
        public=True,
        retry=RetryPolicy(500, 2.0, 60_000, 70, OnMaxAttempts.PAUSE),
    )


def test_an_error_that_comes_again_and_again_says_so() -> None:
    assert AttemptError(500, "broke", "RT0007", alike=ALIKE_MIN - 1).text == "broke"
    assert AttemptError(500, "broke", "RT0007", alike=ALIKE_MIN).text.startswith(f"{ALIKE_MIN} attempts in a row ended")


def test_a_new_invocation_has_nothing_counted() -> None:
    """Whoever makes one need not name its counters, and the store fills them from its row."""
    made = Invocation(InvocationId(b"1" * 24), target_of("greeter/greet"), 0, 0)
    assert {value for value in msgspec.structs.asdict(made).values() if type(value) is int} == {0}
    assert (made.status, made.is_stored) == (Status.SCHEDULED, False)


def test_an_invocation_that_failed_is_open_and_backs_off() -> None:
    play = Play(retry=RetryPolicy(max_attempts=2))
    first = play.call("greeter/greet")
    assert (play.row(first).is_open, play.row(first).is_backing_off) == (True, False)
    play.fails(first)
    assert (play.row(first).is_open, play.row(first).is_backing_off) == (True, True)
    play.time(60_000)
    play.sdk_ends(first)
    assert (play.row(first).is_open, play.row(first).is_backing_off) == (False, False)
