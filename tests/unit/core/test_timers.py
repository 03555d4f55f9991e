"""Timers: sleeps and delayed starts, fired once however often they are delivered."""

from __future__ import annotations

from tests.unit.core.play import NOW_MS, Answer, Play, Start, Tell, Timer

from rewake.core import commands
from rewake.core.effects import ReplyStatus
from rewake.core.ids import CompletionId, InvocationId
from rewake.core.model import Status
from rewake.core.wakeups import WAKE
from rewake.protocol import messages as m

WOKEN = m.Completion(m.MessageType.SLEEP_COMPLETION, 1, m.VOID)


def test_a_sleep_ends_when_its_timer_fires(play: Play) -> None:
    first = play.call("greeter/greet")
    play.skip()
    play.sdk(first, m.SleepCommand(NOW_MS + 10, 1))
    play.expect(Timer(NOW_MS + 10))
    play.time(9)
    play.expect()
    play.time(1)
    play.expect(Tell(first, WOKEN))
    assert play.store.timers == set()


def test_a_time_that_is_past_is_due_at_once(play: Play) -> None:
    first = play.call("greeter/greet")
    play.skip()
    play.sdk(first, m.SleepCommand(NOW_MS, 1))
    play.expect(Tell(first, WOKEN))
    assert play.store.timers == set()


def test_a_timer_delivered_twice_fires_once(play: Play) -> None:
    first = play.call("greeter/greet")
    play.sdk(first, m.SleepCommand(NOW_MS + 10, 1))
    play.skip()
    due = commands.TimersDue(now_ms=NOW_MS + 10, due=[(NOW_MS + 10, first, CompletionId(1))] * 2)
    play.submit(due)
    play.submit(due)
    play.expect(Tell(first, WOKEN))


def test_a_timer_for_nobody_is_dropped(play: Play) -> None:
    play.store.timers.add((NOW_MS, InvocationId(b"n" * 24), CompletionId(1)))
    play.time(1)
    play.expect()
    assert play.store.timers == set()


def test_a_delayed_start_fires_once(play: Play) -> None:
    first = play.call("greeter/greet", at_ms=NOW_MS + 10)
    play.skip()
    play.time(10)
    play.submit(commands.TimersDue(now_ms=play.now_ms, due=[(NOW_MS + 10, first, WAKE)]))
    play.expect(Start(first))
    assert play.store.timers == set()


def test_a_start_timer_of_an_earlier_one_with_the_same_id_is_dropped(play: Play) -> None:
    first = play.call("signup/w/run", at_ms=NOW_MS + 10)
    play.ask(commands.Cancel, first)
    assert play.call("signup/w/run", at_ms=NOW_MS + 20) == first
    play.skip()
    play.submit(commands.TimersDue(now_ms=NOW_MS + 10, due=[(NOW_MS + 10, first, WAKE)]))
    play.expect()
    assert play.status(first) is Status.SCHEDULED


def test_a_sleep_keeps_its_deadline_over_a_crash(play: Play) -> None:
    first = play.call("greeter/greet")
    play.sdk(first, m.SleepCommand(NOW_MS + 10, 1))
    play.crash()
    play.skip()
    play.time(10)
    play.expect(Tell(first, WOKEN))
    play.ask(commands.Attach, first, wait=False)
    play.expect(Answer(ReplyStatus.PENDING))
