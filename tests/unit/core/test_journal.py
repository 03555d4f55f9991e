"""The journal: what it holds, and when a suspended invocation goes on - every combinator."""

from __future__ import annotations

import pytest
from tests.unit.core.play import (
    FINISHED,
    NOW_MS,
    Answer,
    Close,
    Done,
    Play,
    Start,
    call_command,
    deployment,
    retry,
    success,
)

from rewake.core import commands, journal
from rewake.core.effects import ReplyStatus
from rewake.core.ids import CompletionId, EntryIndex, InvocationId, invocation_id_to_str
from rewake.core.model import Blame, Notified, Status
from rewake.core.settings import Settings
from rewake.protocol import messages as m

UNKNOWN, FIRST, ALL = m.Combinator.UNKNOWN, m.Combinator.FIRST_COMPLETED, m.Combinator.ALL_COMPLETED
ANY_OK, ALL_OK = m.Combinator.FIRST_SUCCEEDED_OR_ALL_FAILED, m.Combinator.ALL_SUCCEEDED_OR_FIRST_FAILED

YES, NO = m.Success(b"yes"), m.Failure(400, "no")


@pytest.mark.parametrize(
    ("combinator", "results", "wakes_at"),
    [
        (UNKNOWN, (NO, YES), 1),
        (FIRST, (NO, YES), 1),
        (ALL, (NO, YES), 2),
        (ANY_OK, (YES, YES), 1),
        (ANY_OK, (NO, YES), 2),
        (ANY_OK, (NO, NO), 2),
        (ALL_OK, (NO, YES), 1),
        (ALL_OK, (YES, NO), 2),
        (ALL_OK, (YES, YES), 2),
        (ANY_OK, (NO, NO, YES), 3),
    ],
)
@pytest.mark.parametrize("is_evicted", [False, True])
def test_a_suspended_invocation_wakes_when_its_await_is_decided(
    combinator: m.Combinator, results: tuple[m.Outcome, ...], wakes_at: int, is_evicted: bool
) -> None:
    play = Play(Settings(protocol_version_max=7))
    first = play.call("greeter/greet")
    awaited = tuple(range(17, 17 + len(results)))
    tree = m.Future(signals=(1,), nested=(m.Future(signals=awaited, combinator=combinator),), combinator=FIRST)
    play.sdk(first, m.Suspension(tree))
    for count, result in enumerate(results, 1):
        if is_evicted:
            play.crash()
        play.skip()
        play.ask(commands.CompleteSignal, first, signal=16 + count, result=result)
        woken = [Start(first)] if count == wakes_at else []
        play.expect(Answer(ReplyStatus.ACCEPTED), *woken)
        if woken:
            break


@pytest.mark.parametrize("is_evicted", [False, True])
def test_named_signals_that_are_awaited_together_wake_when_all_are_there(is_evicted: bool) -> None:
    play = Play(Settings(protocol_version_max=7))
    first, sender = play.call("greeter/greet"), play.call("greeter/route")
    play.suspend(first, named_signals=("a", "b"), combinator=ALL)
    for name in ("a", "b"):
        if is_evicted:
            play.crash()
        play.skip()
        play.sdk(sender, m.SendSignalCommand(invocation_id_to_str(first), name, success()))
        play.expect(*([Start(first)] if name == "b" else []))


def test_notifications_of_one_batch_count_together() -> None:
    play = Play(Settings(protocol_version_max=7))
    first = play.call("greeter/greet")
    play.suspend(first, signals=(17, 18), combinator=ALL)
    play.skip()
    for signal in (17, 18):
        play.ask(commands.CompleteSignal, first, signal=signal, result=success())
    play.expect(Answer(ReplyStatus.ACCEPTED), Answer(ReplyStatus.ACCEPTED), Start(first))


def test_completions_signals_and_names_are_told_apart() -> None:
    notified = [Notified(EntryIndex(1), 17, False, False), Notified(EntryIndex(2), "17", True, False)]
    assert not journal.await_resolved(m.Future(signals=(17,)), notified)
    assert journal.await_resolved(m.Future(completions=(17,)), notified)
    assert journal.await_resolved(m.Future(named_signals=("17",)), notified)


def test_a_named_signal_may_come_twice_and_wakes_each_time(play: Play) -> None:
    first, sender = play.call("greeter/greet"), play.call("greeter/route")
    signal = m.SendSignalCommand(invocation_id_to_str(first), "", success())
    for _ in range(2):
        play.suspend(first, named_signals=("",), signals=(1,))
        assert play.status(first) is Status.SUSPENDED
        play.crash()
        play.skip()
        play.sdk(sender, signal)
        play.expect(Start(first))
    assert play.journal(first) == [m.Signal("", success())] * 2


def test_a_completion_wakes_after_memory_is_gone(play: Play) -> None:
    first = play.call("greeter/greet")
    play.sdk(first, m.SleepCommand(NOW_MS + 10, 1), m.SleepCommand(NOW_MS + 20, 2))
    play.suspend(first, 2, signals=(1,))
    play.crash()
    play.skip()
    play.time(10)
    play.expect()
    assert play.status(first) is Status.SUSPENDED
    play.time(10)
    play.expect(Start(first))


def test_commands_are_stored_verbatim_with_their_facts(play: Play) -> None:
    first = play.call("greeter/route")
    play.sdk(first, m.RunCommand(1, "pick"), call_command("greeter/greet", 2, name="ask"))
    rows = play.store.entries[first]
    play.commit()
    facts = [(row.index, row.name, row.completion_id, row.child is not None) for row in rows]
    assert facts == [(0, "", None, False), (1, "pick", 1, False), (2, "ask", 3, False), (3, None, 2, True)]
    row = play.row(first)
    assert (row.journal_length, row.command_count, row.stored_at_ms) == (4, 3, NOW_MS)


@pytest.mark.parametrize("blame", [Blame.OWN, Blame.ALONE])
@pytest.mark.parametrize("reached_user_code", [False, True], ids=["before user code", "in user code"])
@pytest.mark.parametrize("is_suspended_since", [False, True])
def test_a_stored_command_is_progress_whichever_counter_had_begun(
    reached_user_code: bool, is_suspended_since: bool, blame: Blame
) -> None:
    """Each may count alone: no code was reached, the worker ended, or a suspension reset the counter of the policy."""
    play = Play(retry=retry())
    first = play.call("greeter/greet")
    play.fails(first, reached_user_code=reached_user_code, blame=blame)
    play.time(100)
    if is_suspended_since:
        play.suspend(first, signals=(17,))
        play.ask(commands.CompleteSignal, first, signal=17, result=success())
    assert counters(play, first) == (int(not is_suspended_since), int(reached_user_code), int(blame is Blame.ALONE))
    play.sdk(first, m.RunCommand(1))
    assert counters(play, first) == (0, 0, 0)


def counters(play: Play, invocation_id: InvocationId) -> tuple[int, int, int]:
    row = play.row(invocation_id)
    return row.retry_count, row.command_retry_count, row.kill_count


def test_a_command_without_failures_before_it_writes_nothing_but_its_entry(play: Play) -> None:
    first = play.call("greeter/greet")
    play.sdk(first, m.RunCommand(1))
    play.commit()
    play.sdk(first, m.RunCommand(2))
    batch, _ = play.state.seal()
    assert [row.completion_id for row in batch.entries] == [2]
    assert (batch.inserts, batch.updates) == ([], [])


@pytest.mark.parametrize("signal", ["news", 2])
def test_a_signal_that_is_no_cancel_gives_a_failing_attempt_another_one(play: Play, signal: int | str) -> None:
    first, sender = play.call("greeter/greet"), play.call("greeter/route")
    play.sdk(sender, m.SendSignalCommand(invocation_id_to_str(first), signal, m.VOID))
    for _ in range(2):
        play.fails(first)
        assert play.row(first).is_backing_off
        play.time(100_000)


def test_a_signal_is_written_in_the_version_of_its_invocation() -> None:
    """Version 5 knows no metadata of failures."""
    play = Play(Settings(protocol_version_max=7))
    play.register(deployment("dp1", version_max=5))
    first = play.call("greeter/greet")
    play.sdk(first, m.RunCommand(1))
    play.ask(commands.CompleteSignal, first, signal=17, result=m.Failure(400, "no", (("why", "x"),)))
    assert play.journal(first)[-1] == m.Signal(17, NO)


@pytest.mark.parametrize("steps", [0, 3])
def test_an_event_names_the_entry_it_came_after(play: Play, steps: int) -> None:
    first = play.call("greeter/greet")
    for completion_id in range(1, steps + 1):
        play.sdk(first, m.RunCommand(completion_id))
    play.fails(first)
    play.commit()
    assert [event.after_index for event in play.store.events] == [steps]


def test_failures_are_marked(play: Play) -> None:
    first = play.call("greeter/greet")
    play.sdk(first, m.RunCommand(1), m.ProposeRunCompletion(1, NO), m.RunCommand(2), m.ProposeRunCompletion(2, YES))
    play.commit()
    assert [row.is_failure for row in play.store.entries[first]] == [False, False, True, False, False]


@pytest.mark.parametrize(("version", "metadata"), [(5, ()), (6, (("why", "x"),)), (7, (("why", "x"),))])
def test_failure_metadata_needs_version_6(version: int, metadata: tuple[tuple[str, str], ...]) -> None:
    play = Play(Settings(protocol_version_max=7))
    play.register(deployment("dp1", version_max=version))
    first = play.call("greeter/greet")
    play.sdk(first, m.RunCommand(1), m.ProposeRunCompletion(1, m.Failure(400, "no", (("why", "x"),))))
    assert play.journal(first)[-1] == m.Completion(m.MessageType.RUN_COMPLETION, 1, m.Failure(400, "no", metadata))


def test_nothing_is_added_to_what_is_over(play: Play) -> None:
    first = play.call("greeter/greet")
    play.sdk(first, m.SleepCommand(NOW_MS + 10, 1))
    play.sdk_ends(first)
    length = play.row(first).journal_length
    play.skip()
    play.submit(commands.TimersDue(now_ms=NOW_MS + 10, due=[(NOW_MS + 10, first, CompletionId(1))]))
    play.ask(commands.CompleteSignal, first, signal=17, result=success())
    play.expect(Answer(ReplyStatus.DONE))
    assert play.row(first).journal_length == length
    item = play.state.invocation(first)
    assert item is not None
    completion = m.Completion(m.MessageType.SLEEP_COMPLETION, 1, m.VOID)
    journal.append_completion(play.state, item, completion, now_ms=NOW_MS)
    assert play.row(first).journal_length == length


def test_a_paused_invocation_is_only_written_to(play: Play) -> None:
    first = play.call("greeter/greet")
    play.sdk(first, m.SleepCommand(NOW_MS + 10, 1))
    play.ask(commands.Pause, first)
    play.suspend(first, 1)
    play.skip()
    play.time(10)
    play.expect()
    play.ask(commands.Resume, first)
    play.expect(Start(first), Answer(ReplyStatus.DONE))
    play.sdk_ends(first)
    play.expect(Close(first, FINISHED), Done(first, success()))
