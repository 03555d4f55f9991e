"""Signals: awakeables before and after they are awaited, to invocations in any status; the first completion wins."""

from __future__ import annotations

import pytest
from tests.unit.core.play import NOW_MS, Answer, Play, Start, Tell, success
from tests.unit.core.test_operations import bring_to

from rewake.core import commands, ids
from rewake.core.effects import ReplyStatus
from rewake.core.ids import InvocationId
from rewake.core.model import Status
from rewake.protocol import messages as m

NO = m.Failure(400, "no", (("why", "x"),))


@pytest.mark.parametrize("status", [item for item in Status if item is not Status.COMPLETED])
def test_a_signal_is_kept_in_every_open_status(play: Play, status: Status) -> None:
    """Also while scheduled or queued, where the real server drops it."""
    first = bring_to(play, status)
    play.ask(commands.CompleteSignal, first, signal=17, result=success())
    play.commit()
    assert play.journal(first) == [m.Signal(17, success())]


def test_one_for_a_queued_invocation_is_replayed_when_it_starts(play: Play) -> None:
    first = play.call("greeter/greet", at_ms=NOW_MS + 10)
    play.ask(commands.CompleteSignal, first, signal=17, result=success())
    play.skip()
    play.time(10)
    play.expect(Start(first))
    assert play.started[first].entries is None
    assert play.delivered[first] == 2


@pytest.mark.parametrize("is_evicted", [False, True])
def test_the_first_completion_of_an_awakeable_wins(play: Play, is_evicted: bool) -> None:
    first = play.call("greeter/greet")
    play.skip()
    play.ask(commands.CompleteSignal, first, signal=17, result=success())
    play.expect(Tell(first, m.Signal(17, success())), Answer(ReplyStatus.ACCEPTED))
    if is_evicted:
        play.crash()
        play.skip()
    play.ask(commands.CompleteSignal, first, signal=17, result=NO)
    play.expect(Answer(ReplyStatus.DONE))
    play.ask(commands.CompleteSignal, first, signal=18, result=NO)
    play.expect(Tell(first, m.Signal(18, NO)), Answer(ReplyStatus.ACCEPTED))


def test_unknown_and_finished_targets_take_nothing(play: Play) -> None:
    first = bring_to(play, Status.COMPLETED)
    for target in (first, b"n" * 24):
        play.ask(commands.CompleteSignal, InvocationId(target), signal=17, result=success())
        play.expect(Answer(ReplyStatus.DONE))


def test_an_awakeable_of_index_1_is_a_cancel(play: Play) -> None:
    first = play.call("greeter/greet")
    play.skip()
    play.ask(commands.CompleteSignal, first, signal=1, result=m.VOID)
    play.expect(Tell(first, m.Signal(1, m.VOID)), Answer(ReplyStatus.ACCEPTED))


def test_a_handler_completes_an_awakeable_and_signals_by_name(play: Play) -> None:
    first, sender = play.call("greeter/greet"), play.call("greeter/route")
    play.skip()
    play.sdk(
        sender,
        m.CompleteAwakeableCommand(ids.awakeable_id_format(first, 17), NO),
        m.SendSignalCommand(ids.invocation_id_to_str(first), "news", m.VOID),
        m.CompleteAwakeableCommand(ids.awakeable_id_format(b"n" * 24, 17), NO),
        m.SendSignalCommand(ids.invocation_id_to_str(b"n" * 24), "news", m.VOID),
    )
    play.expect(Tell(first, m.Signal(17, NO)), Tell(first, m.Signal("news", m.VOID)))
    assert play.status(sender) is Status.INVOKED
    sent = m.CompleteAwakeableCommand, m.SendSignalCommand
    assert [type(item) for item in play.journal(sender)] == [*sent, *sent]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (m.CompleteAwakeableCommand("prom_1nonsense", NO), "RT0012"),
        (m.SendSignalCommand("inv_1nonsense", "news", m.VOID), "RT0012"),
    ],
)
def test_an_unreadable_id_fails_the_attempt(play: Play, command: m.Command, code: str) -> None:
    first = play.call("greeter/greet")
    play.sdk(first, command)
    error = play.row(first).last_error
    assert error is not None
    assert error.restate_code == code
    assert play.journal(first) == []
