"""Retries: delays, the two counters, exhaustion, and what the handler may ask for."""

from __future__ import annotations

import json

import pytest
from tests.unit.core.play import FINISHED, NOW_MS, Close, Done, Logged, Play, Start, Timer, retry

from rewake.core import commands, retries
from rewake.core.effects import Note
from rewake.core.lifecycle import KILLED
from rewake.core.model import Blame, OnMaxAttempts, RetryPolicy, Status
from rewake.core.settings import LOST_CONNECTIONS_MAX, RETRY_DELAY_MS_MAX, WORKER_KILLS_MAX, Settings
from rewake.core.wakeups import KILL, WAKE
from rewake.protocol import messages as m


def test_default_delays_double_up_to_a_minute() -> None:
    delays = [retries.next_delay_ms(RetryPolicy(), failures, 0.0) for failures in range(1, 71)]
    assert delays[:9] == [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
    assert delays[68:] == [60000, None]


def test_jitter_adds_up_to_three_tenths() -> None:
    assert retries.next_delay_ms(RetryPolicy(), 1, 0.5) == 575
    assert retries.next_delay_ms(RetryPolicy(), 1, 0.999999) == 649


def test_a_delay_too_large_for_a_float_is_the_longest() -> None:
    policy = RetryPolicy(exponentiation_factor=1e300, max_attempts=None)
    assert retries.next_delay_ms(policy, 5, 0.0) == 60000


@pytest.mark.parametrize("max_attempts", [0, 1])
def test_one_attempt_means_no_retry(max_attempts: int) -> None:
    assert retries.next_delay_ms(RetryPolicy(max_attempts=max_attempts), 1, 0.0) is None


@pytest.fixture
def play() -> Play:
    stage = Play(retry=retry(max_attempts=3))
    stage.skip()
    return stage


def test_a_failed_attempt_is_followed_by_another_after_the_delay(play: Play) -> None:
    first = play.call("greeter/greet")
    play.skip()
    play.fails(first)
    play.expect(Close(first, FINISHED), Logged("attempt_failed"), Timer(NOW_MS + 100))
    row = play.row(first)
    assert (row.retry_count, row.command_retry_count, row.next_retry_at_ms) == (1, 1, NOW_MS + 100)
    play.time(99)
    play.expect()
    play.time(1)
    play.expect(Start(first))
    assert play.row(first).next_retry_at_ms is None
    assert play.started[first].retry_count == 1
    assert play.store.timers == set()


def test_exhaustion_pauses(play: Play) -> None:
    first = play.call("greeter/greet")
    for _ in range(3):
        play.fails(first)
        play.skip()
        play.time(1000)
    row = play.row(first)
    assert (row.status, row.retry_count) == (Status.PAUSED, 0)
    assert [event.event_type for event in play.store.events] == ["TransientError"] * 3 + ["Paused"]
    paused = json.loads(play.store.events[-1].data)
    assert paused["last_failure"]["error_message"] == "broke"


def test_exhaustion_kills_when_the_policy_says_so() -> None:
    play = Play(retry=retry(max_attempts=1, on_max_attempts=OnMaxAttempts.KILL))
    first = play.call("greeter/greet")
    play.skip()
    play.fails(first)
    play.expect(Close(first, FINISHED), Logged("attempt_failed"), Done(first, m.Failure(500, "broke")))


def test_a_delay_the_handler_asks_for_counts_as_an_attempt(play: Play) -> None:
    first = play.call("greeter/greet")
    play.skip()
    for _ in range(2):
        play.sdk(first, m.Error(500, "later", next_retry_delay=7))
        play.expect(Close(first, FINISHED), Logged("attempt_failed"), Timer(play.now_ms + 7))
        play.time(7)
        play.expect(Start(first))
    play.sdk(first, m.Error(500, "later", next_retry_delay=7))
    assert play.status(first) is Status.PAUSED


def test_a_delay_the_deployment_asks_for(play: Play) -> None:
    first = play.call("greeter/greet")
    play.skip()
    play.fails(first, "RT0023", retry_after_ms=9, jitter=0.9)
    play.expect(Close(first, FINISHED), Logged("attempt_failed"), Timer(NOW_MS + 9))


def test_no_delay_asked_for_is_longer_than_the_limit(play: Play) -> None:
    """From the deployment's answer or from the handler's Error: an absurd one must not overflow a column."""
    first, second = play.call("greeter/greet"), play.call("greeter/greet")
    play.skip()
    play.fails(first, "RT0023", retry_after_ms=2**70)
    play.sdk(second, m.Error(500, "later", next_retry_delay=2**63 - 1))
    assert play.row(first).next_retry_at_ms == play.row(second).next_retry_at_ms == NOW_MS + RETRY_DELAY_MS_MAX


@pytest.mark.parametrize("blame", [Blame.OWN, Blame.NOBODY])
@pytest.mark.parametrize(("asked_ms", "delay_ms"), [(-1, 0), (0, 0), (7, 7), (2**70, RETRY_DELAY_MS_MAX)])
def test_a_delay_asked_for_holds_whoever_is_to_blame(play: Play, blame: Blame, asked_ms: int, delay_ms: int) -> None:
    first = play.call("greeter/greet")
    play.fails(first, blame=blame, retry_after_ms=asked_ms)
    assert play.row(first).next_retry_at_ms == NOW_MS + delay_ms


def test_an_error_of_the_handler_counts_for_its_steps(play: Play) -> None:
    first = play.call("greeter/greet")
    play.sdk(first, m.Error(500, "no"))
    row = play.row(first)
    assert (row.retry_count, row.command_retry_count) == (1, 1)


def test_a_failure_is_logged_and_recorded_with_its_facts() -> None:
    play = Play(retry=retry())
    first = play.call("greeter/greet")
    facts = {"target": "greeter/greet", "code": "RT0007", "message": "no"}
    for attempt in range(1, 4):
        play.commit()
        play.sdk(first, m.Error(500, "no"))
        notes = [effect for effect in play.state.effects if isinstance(effect, Note)]
        assert notes[0] == Note("attempt_failed", first, {**facts, "attempt": attempt}, is_warning=True)
        play.time(1000)
    alike = {"attempts_alike": 3, "hint": "it will not heal by retrying"}
    assert notes[1:] == [Note("invocation_stuck", first, {**facts, "attempt": 3, **alike}, is_warning=True)]
    play.fails(first, blame=Blame.SHARED)
    (note,) = [effect for effect in play.state.effects if isinstance(effect, Note)]
    assert note.facts["attempt"] is None
    assert {json.loads(event.data)["ty"] for event in play.store.events} == {"TransientError"}
    assert {event.event_type for event in play.store.events} == {"TransientError"}


def test_one_whose_start_and_kill_are_due_at_once_has_not_failed() -> None:
    """It could not begin, but before that is looked at, the same command has killed it, and nothing of it is kept."""
    for retention_ms in (0, 1000):
        play = Play(journal_retention_ms=retention_ms)
        first = play.call("greeter/greet", at_ms=NOW_MS + 10)
        play.remove_deployment()
        play.state.options_of = lambda target, options=play.options: options  # type: ignore[method-assign, misc]
        play.skip()
        play.now_ms += 10
        due = [(play.now_ms, first, WAKE), (play.now_ms, first, KILL)]
        play.submit(commands.TimersDue(now_ms=play.now_ms, due=due))
        play.expect(Done(first, KILLED))


def test_one_that_cannot_begin_waits_as_long_as_the_policy_says(play: Play) -> None:
    first = play.call("greeter/greet", at_ms=NOW_MS + 10)
    play.state.deployments.clear()
    play.time(10)
    row = play.row(first)
    assert (row.retry_count, row.command_retry_count, row.next_retry_at_ms) == (1, 0, NOW_MS + 110)


def test_a_pause_that_an_error_asks_for_comes_before_the_end_of_a_cancelled_one() -> None:
    play = Play(Settings(protocol_version_max=7))
    first = play.call("greeter/greet")
    play.ask(commands.Cancel, first)
    play.fails(first, blame=Blame.NOBODY)
    play.time(0)
    play.sdk(first, m.Error(500, "no", behavior=m.ErrorBehavior.PAUSE))
    assert play.status(first) is Status.PAUSED


def test_the_first_loss_of_a_connection_is_retried_at_once(play: Play) -> None:
    first = play.call("greeter/greet")
    play.skip()
    play.fails(first, "RT0010")
    play.expect(Close(first, FINISHED), Logged("attempt_failed"), Timer(NOW_MS))
    play.time(0)
    play.fails(first, "RT0010")
    assert play.row(first).next_retry_at_ms == NOW_MS + 200


def test_progress_resets_both_counters_and_that_survives_a_crash(play: Play) -> None:
    first = play.call("greeter/greet")
    play.sdk(first, m.RunCommand(1))
    play.fails(first)
    play.time(1000)
    play.sdk(first, m.RunCommand(2))
    row = play.row(first)
    assert (row.retry_count, row.command_retry_count) == (0, 0)
    play.fails(first)
    play.crash()
    row = play.row(first)
    assert (row.retry_count, row.command_retry_count) == (1, 1)
    play.time(1000)
    play.commit()
    assert play.started[first].retry_count == 1


def test_errors_that_never_reached_the_handler_do_not_count_for_steps(play: Play) -> None:
    first = play.call("greeter/greet")
    play.fails(first, "RT0015", reached_user_code=False)
    row = play.row(first)
    assert (row.retry_count, row.command_retry_count) == (1, 0)


def test_a_restart_of_the_engine_does_not_skip_the_back_off(play: Play) -> None:
    first = play.call("greeter/greet")
    play.fails(first)
    play.skip()
    play.crash()
    play.expect()
    play.time(100)
    play.expect(Start(first))


def test_a_timer_of_an_earlier_back_off_wakes_nobody(play: Play) -> None:
    first = play.call("greeter/greet")
    play.fails(first)
    play.time(100)
    play.fails(first)
    play.skip()
    play.submit(commands.TimersDue(now_ms=play.now_ms, due=[(NOW_MS + 100, first, WAKE)]))
    play.expect()


def test_version_7_lets_the_handler_choose_what_follows() -> None:
    play = Play(Settings(protocol_version_max=7))
    paused, failed = play.call("greeter/greet"), play.call("greeter/greet")
    play.skip()
    play.sdk(paused, m.Error(500, "wait", behavior=m.ErrorBehavior.PAUSE))
    play.expect(Close(paused, FINISHED), Logged("attempt_failed"), Logged("invocation_paused"))
    play.sdk(failed, m.Error(418, "no", behavior=m.ErrorBehavior.FAIL))
    play.expect(Close(failed, FINISHED), Done(failed, m.Failure(418, "no")))


@pytest.mark.parametrize("blame", [Blame.SHARED, Blame.NOBODY])
def test_a_loss_that_others_may_have_caused_uses_up_no_attempt(blame: Blame) -> None:
    play = Play(retry=retry(max_attempts=1, on_max_attempts=OnMaxAttempts.KILL))
    first = play.call("greeter/greet")
    play.skip()
    for losses in range(1, 9):
        play.fails(first, "RT0010", blame=blame)
        play.expect(Close(first, FINISHED), Logged("attempt_failed"), Timer(play.now_ms))
        play.time(0)
        play.expect(Start(first))
        assert play.started[first].loss_count == (losses if blame is Blame.SHARED else 0)
    row = play.row(first)
    assert (row.retry_count, row.command_retry_count, row.kill_count) == (0, 0, 0)


def test_many_losses_that_others_may_have_caused_use_up_none_either(play: Play) -> None:
    first = play.call("greeter/greet")
    for _ in range(LOST_CONNECTIONS_MAX + 2):
        play.fails(first, "RT0010", blame=Blame.SHARED)
        play.time(0)
    assert play.row(first).retry_count == 0


def test_progress_takes_away_no_suspicion_of_ending_workers(play: Play) -> None:
    first = play.call("greeter/greet")
    play.fails(first, "RT0010", blame=Blame.SHARED)
    play.time(1)
    play.now_ms += 1
    play.sdk(first, m.RunCommand(1))
    play.fails(first, "RT0010", blame=Blame.SHARED)
    assert play.row(first).loss_count == 2


def test_a_loss_alone_counts_for_the_policy(play: Play) -> None:
    first = play.call("greeter/greet")
    play.fails(first, "RT0010", blame=Blame.ALONE)
    row = play.row(first)
    assert (row.retry_count, row.loss_count, row.next_retry_at_ms) == (1, 1, NOW_MS + 100)


def test_who_kills_workers_is_paused_before_the_policy_is_used_up() -> None:
    play = Play(retry=retry(on_max_attempts=OnMaxAttempts.KILL))
    first = play.call("greeter/greet")
    for _ in range(WORKER_KILLS_MAX):
        assert play.status(first) is Status.INVOKED
        play.fails(first, "RT0010", blame=Blame.ALONE)
        play.crash()  # of the engine: it knows afterwards
        play.time(1000)
    assert play.status(first) is Status.PAUSED
    play.ask(commands.Resume, first)
    play.commit()
    assert play.started[first].loss_count == WORKER_KILLS_MAX, "it goes on alone"
    play.fails(first, "RT0010", blame=Blame.ALONE)
    assert play.status(first) is Status.INVOKED, "and is given the same number of tries"


def test_progress_resets_the_kills_but_not_the_suspicion(play: Play) -> None:
    first = play.call("greeter/greet")
    play.fails(first, "RT0010", blame=Blame.ALONE)
    play.time(1000)
    play.sdk(first, m.RunCommand(1))
    row = play.row(first)
    assert (row.kill_count, row.loss_count) == (0, 1)


def test_an_attempt_that_ends_by_itself_is_above_suspicion(play: Play) -> None:
    """By a suspension or a failure of its own: the worker lived on."""
    suspends, fails = play.call("greeter/greet"), play.call("greeter/greet")
    for first in (suspends, fails):
        play.fails(first, "RT0010", blame=Blame.SHARED)
    play.time(0)
    play.sdk(suspends, m.SleepCommand(NOW_MS + 5000, 1))
    play.suspend(suspends, 1)
    play.fails(fails)
    assert [play.row(first).loss_count for first in (suspends, fails)] == [0, 0]


def test_connections_that_break_use_up_no_attempt_but_are_waited_for(play: Play) -> None:
    first = play.call("greeter/greet")
    delays = []
    for _ in range(LOST_CONNECTIONS_MAX):
        play.fails(first, "RT0010", blame=Blame.LOST)
        row = play.row(first)
        assert (row.retry_count, row.command_retry_count) == (0, 0)
        delays.append((row.next_retry_at_ms or 0) - play.now_ms)
        play.time(delays[-1])
    assert delays == [0, 100, 200, 400, 800, 1000, 1000, 1000, 1000, 1000]
    for count in range(1, 4):
        play.fails(first, "RT0010", blame=Blame.LOST)
        assert play.row(first).retry_count == count % 3, (
            "more than so many in a row do, until the policy's three are over"
        )
        play.time(1000)
    assert play.status(first) is Status.PAUSED


def test_a_connection_that_breaks_after_progress_is_the_first_one_again(play: Play) -> None:
    first = play.call("greeter/greet")
    for number in range(1, 4):
        play.fails(first, "RT0010", blame=Blame.LOST)
        assert play.row(first).loss_count == 1
        play.time(0)
        play.now_ms += 1
        play.sdk(first, m.RunCommand(number))


# Failures that no retry can heal


def test_three_attempts_that_end_alike_are_reported_once_and_shown() -> None:
    play = Play(retry=retry())
    first = play.call("greeter/greet")
    for number in range(1, 5):
        play.skip()
        play.sdk(first, m.Error(500, f"400: no such model, request req_01J{number}XYZ, attempt"))
        stuck = (Logged("invocation_stuck"),) if number == 3 else ()
        retry_at_ms = play.row(first).next_retry_at_ms or 0
        play.expect(Close(first, FINISHED), Logged("attempt_failed"), *stuck, Timer(retry_at_ms))
        play.time(2000)
    error = play.row(first).last_error
    assert error is not None and error.alike == 4
    assert error.text.startswith(
        "4 attempts in a row ended like this, it will not heal by retrying: 400: no such model"
    )
    assert json.loads(play.store.events[-1].data)["attempts_alike"] == 4


@pytest.mark.parametrize("between", ["another error", "progress"])
def test_attempts_that_end_alike_do_so_in_a_row_and_without_progress(between: str) -> None:
    play = Play(retry=retry())
    first = play.call("greeter/greet")
    for _ in range(2):
        play.sdk(first, m.Error(500, "no"))
        play.time(1000)
    if between == "progress":
        play.sdk(first, m.RunCommand(1))
    else:
        play.sdk(first, m.Error(500, "still not"))
        play.time(1000)
    play.sdk(first, m.Error(500, "no"))
    error = play.row(first).last_error
    assert error is not None and (error.alike, error.text) == (1, "no")


def test_a_loss_in_between_says_nothing_of_the_error() -> None:
    play = Play(retry=retry())
    first = play.call("greeter/greet")
    play.sdk(first, m.Error(500, "no"))
    play.time(1000)
    play.fails(first, "RT0010", blame=Blame.SHARED)
    play.time(0)
    play.sdk(first, m.Error(500, "no"))
    error = play.row(first).last_error
    assert error is not None and error.alike == 1


def test_losses_are_not_counted_as_errors_that_are_alike() -> None:
    play = Play(retry=retry())
    first = play.call("greeter/greet")
    play.fails(first)
    for _ in range(3):
        play.time(1000)
        play.fails(first, blame=Blame.LOST)
    error = play.row(first).last_error
    assert error is not None and error.alike == 1


def test_an_operator_may_have_them_paused_early() -> None:
    play = Play(Settings(pause_after_alike=2), retry=retry(on_max_attempts=OnMaxAttempts.KILL))
    first = play.call("greeter/greet")
    for number in range(2):
        assert play.status(first) is Status.INVOKED, number
        play.sdk(first, m.Error(500, "no"))
        play.time(1000)
    assert play.status(first) is Status.PAUSED
    play.ask(commands.Resume, first)
    play.sdk(first, m.Error(500, "no"))
    assert play.status(first) is Status.INVOKED, "it begins anew"
