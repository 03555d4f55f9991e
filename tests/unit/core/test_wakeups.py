"""Rows that say what is due when: one for each thing that waits, taken away when it does not wait any more."""

from __future__ import annotations

from tests.unit.core.play import NOW_MS, Play, retry

from rewake.core import commands, wakeups
from rewake.core.effects import ArmTimer
from rewake.core.ids import CompletionId, InvocationId
from rewake.protocol.messages import SleepCommand

ONE, OTHER = InvocationId(b"1" * 24), InvocationId(b"2" * 24)


def test_a_row_and_what_the_engine_remembers(play: Play) -> None:
    wakeups.arm(play.state, ONE, NOW_MS + 5, CompletionId(7))
    assert play.state.batch.timers == {(NOW_MS + 5, ONE, 7): True}
    assert play.state.effects == [ArmTimer(NOW_MS + 5)]
    wakeups.disarm(play.state, ONE, NOW_MS + 5, CompletionId(7))
    assert play.state.batch.timers == {(NOW_MS + 5, ONE, 7): False}
    assert len(play.state.effects) == 1  # a timer that finds nothing due costs nothing


def test_kills_by_later_commands_are_armed_at_once_or_not_at_all(play: Play) -> None:
    wakeups.arm_kills(play.state, [], NOW_MS)
    assert not play.state.batch.timers and not play.state.effects
    wakeups.arm_kills(play.state, iter([ONE, OTHER]), NOW_MS)
    assert list(play.state.batch.timers) == [(NOW_MS, ONE, wakeups.KILL), (NOW_MS, OTHER, wakeups.KILL)]
    assert play.state.effects == [ArmTimer(NOW_MS)]


def test_the_rows_of_the_core_have_numbers_that_no_handler_gives() -> None:
    """They are stored."""
    assert (wakeups.WAKE, wakeups.KILL) == (0, -1)


def test_where_no_row_is_left_none_is_taken_away(play: Play) -> None:
    scheduled = play.call("greeter/greet", at_ms=NOW_MS + 5)
    play.time(5)
    play.sdk_ends(scheduled)
    play.call("greeter/greet")
    assert not play.state.batch.timers


def test_a_start_a_retry_and_a_sleep_have_a_row_each_until_they_are_over() -> None:
    play = Play(retry=retry())
    scheduled = play.call("greeter/greet", at_ms=NOW_MS + 50)
    failing, sleeping = play.call("greeter/greet"), play.call("greeter/greet")
    play.fails(failing)
    play.sdk(sleeping, SleepCommand(NOW_MS + 70, 1))
    play.commit()
    retry_at_ms = play.row(failing).next_retry_at_ms
    assert retry_at_ms is not None and play.row(scheduled).start_at_ms == NOW_MS + 50
    assert set(play.store.timers) == {
        (NOW_MS + 50, scheduled, wakeups.WAKE),
        (retry_at_ms, failing, wakeups.WAKE),
        (NOW_MS + 70, sleeping, 1),
    }
    for each in (scheduled, failing, sleeping):
        play.ask(commands.Kill, each)
    play.commit()
    assert not play.store.timers
