"""Attempts: epochs, the four ways one ends, and the race between suspending and being told."""

from __future__ import annotations

import pytest
from tests.unit.core.play import (
    ABORT,
    FINISHED,
    HALF_CLOSE,
    NOW_MS,
    Ack,
    Answer,
    Asked,
    Close,
    Done,
    Logged,
    Play,
    Start,
    Tell,
    Timer,
    call_command,
    deployment,
    retry,
    run_done,
    success,
)

from rewake.core import commands, ids, placement
from rewake.core.effects import ReplyStatus
from rewake.core.ids import EntryIndex, InvocationId
from rewake.core.lifecycle import CANCELED
from rewake.core.model import HandlerOptions, OnMaxAttempts, RetryPolicy, Status
from rewake.core.settings import JOURNAL_ENTRIES_MAX, Settings
from rewake.protocol import messages as m
from rewake.protocol.framing import Oversized

SIGNALLED = m.Signal(17, m.Success(b"yes"))
FIRST, ALL = m.Combinator.FIRST_COMPLETED, m.Combinator.ALL_COMPLETED
ANY_OK, ALL_OK = m.Combinator.FIRST_SUCCEEDED_OR_ALL_FAILED, m.Combinator.ALL_SUCCEEDED_OR_FIRST_FAILED


@pytest.fixture
def first(play: Play) -> InvocationId:
    """A running invocation."""
    invocation_id = play.call("greeter/greet")
    play.skip()
    return invocation_id


def complete(play: Play, invocation_id: InvocationId, signal: int = 17, value: bytes = b"yes") -> None:
    play.ask(commands.CompleteSignal, invocation_id, signal=signal, result=m.Success(value))


# Messages


def test_a_step_is_acknowledged_with_its_stored_result(play: Play, first: InvocationId) -> None:
    play.run_step(first, 1)
    play.expect(Tell(first, run_done(1)))
    assert play.journal(first) == [m.RunCommand(1), run_done(1)]


def test_version_7_asks_for_a_short_ack_of_a_proposal() -> None:
    play = Play(Settings(protocol_version_max=7))
    first = play.call("greeter/greet")
    play.skip()
    play.sdk(first, m.RunCommand(1), Asked(m.ProposeRunCompletion(1, success(b"v"))))
    play.expect(Ack(first, m.ProposeRunCompletionAck(1)))
    assert play.delivered[first] == 3  # the ack stands for the entry
    assert play.journal(first) == [m.RunCommand(1), run_done(1)]


def test_in_version_7_a_proposal_without_the_flag_gets_its_result() -> None:
    play = Play(Settings(protocol_version_max=7))
    first = play.call("greeter/greet")
    play.skip()
    play.run_step(first, 1)
    play.expect(Tell(first, run_done(1)))


def test_before_version_7_a_proposal_that_asks_for_an_ack_gets_its_result(play: Play, first: InvocationId) -> None:
    """There is no such message: encoding it failed inside the engine, which rebuilt its memory."""
    play.sdk(first, m.RunCommand(1), Asked(m.ProposeRunCompletion(1, success(b"v"))))
    play.expect(Tell(first, run_done(1)))


def test_a_command_is_acknowledged_when_asked(play: Play, first: InvocationId) -> None:
    play.sdk(first, m.RunCommand(1), Asked(m.RunCommand(2)))
    play.expect(Ack(first, m.CommandAck(2)))
    assert play.delivered[first] == 3
    complete(play, first)
    play.expect(Tell(first, SIGNALLED), Answer(ReplyStatus.ACCEPTED))
    assert play.delivered[first] == 4


def test_the_first_command_pins_deployment_and_version(play: Play, first: InvocationId) -> None:
    assert play.row(first).pinned_deployment_id is None
    play.sdk(first, m.RunCommand(1))
    row = play.row(first)
    assert (row.pinned_deployment_id, row.pinned_version) == ("dp1", 6)
    play.register(deployment("dp2", version_max=5))
    play.skip()
    play.fails(first, "RT0010")
    play.time(0)
    play.commit()
    assert (play.started[first].deployment_id, play.started[first].version) == ("dp1", 6)
    second = play.call("greeter/greet")
    play.commit()
    assert (play.started[second].deployment_id, play.started[second].version) == ("dp2", 5)


def test_messages_of_an_older_attempt_are_dropped(play: Play, first: InvocationId) -> None:
    stale = play.started[first].epoch
    play.fails(first, "RT0010")
    play.time(0)
    play.skip()
    play.sdk(first, m.RunCommand(1), epoch=stale)
    play.sdk(first, m.OutputCommand(success()), m.End(), epoch=stale)
    play.fails(first, epoch=stale)
    play.expect()
    assert play.journal(first) == []
    play.sdk_ends(first)
    assert play.status(first) is Status.COMPLETED
    play.skip()
    play.sdk(first, m.End())
    play.expect()


@pytest.mark.parametrize("messages", [(m.RunCommand(1),), (m.OutputCommand(success()), m.End())])
def test_messages_while_no_attempt_lives_are_dropped(
    play: Play, first: InvocationId, messages: tuple[m.Message, ...]
) -> None:
    play.fails(first)
    play.skip()
    play.sdk(first, *messages)
    play.fails(first)
    play.expect()
    assert play.row(first).is_backing_off
    assert play.journal(first) == []


def test_what_follows_the_end_of_an_attempt_in_one_chunk_is_not_of_the_next(play: Play, first: InvocationId) -> None:
    """The suspension is answered at once by a new attempt, to which the rest does not belong."""
    complete(play, first)
    play.skip()
    play.sdk(first, m.Suspension(m.Future(signals=(17,))), m.RunCommand(1), delivered=EntryIndex(1))
    play.expect(Close(first, FINISHED), Start(first))
    assert play.journal(first) == [SIGNALLED]


def test_messages_for_nobody_are_dropped(play: Play, first: InvocationId) -> None:
    play.sdk_ends(first)
    play.ask(commands.Purge, first)
    play.skip()
    play.sdk(first, m.RunCommand(1))
    play.expect()


def test_epochs_grow_over_a_crash_and_over_reuse_of_an_id() -> None:
    play = Play()
    first = play.call("signup/w/run")
    play.commit()
    before = play.started[first].epoch
    play.crash()
    play.commit()
    assert play.started[first].epoch > before
    before = play.started[first].epoch
    play.ask(commands.Kill, first)
    play.ask(commands.Purge, first)
    assert play.call("signup/w/run") == first
    play.commit()
    assert play.started[first].epoch > before


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (m.Start(b"i", "i", 1, (), True, "", 0, 0, 0), "not allowed from the SDK"),
        (m.InputCommand((), b""), "not allowed from the SDK"),
        (m.ProposeRunCompletion(9, success()), "not waiting: 9"),
        (m.End(), "without a result"),
        (m.Suspension(m.Future()), "without naming"),
    ],
)
def test_what_the_protocol_forbids_fails_the_attempt(
    play: Play, first: InvocationId, message: m.Message, text: str
) -> None:
    play.sdk(first, m.RunCommand(1), message, m.RunCommand(2))
    play.expect(Close(first, ABORT), Logged("attempt_failed"), Timer(play.row(first).next_retry_at_ms or 0))
    error = play.row(first).last_error
    assert error is not None
    assert error.restate_code == "RT0012"
    assert text in error.message
    assert play.journal(first) == [m.RunCommand(1)]  # what came before it stays, what came after is dropped


def test_a_hint_about_what_is_awaited_changes_nothing() -> None:
    play = Play(Settings(protocol_version_max=7))
    first = play.call("greeter/greet")
    play.skip()
    play.sdk(first, m.AwaitingOn(m.Future((1,))))
    play.expect()
    assert play.status(first) is Status.INVOKED


def test_a_run_is_proposed_once(play: Play, first: InvocationId) -> None:
    play.run_step(first, 1)
    play.sdk(first, m.ProposeRunCompletion(1, success(b"other")))
    assert play.row(first).last_error is not None
    assert play.journal(first) == [m.RunCommand(1), run_done(1)]


def test_the_journal_has_a_limit() -> None:
    play = Play(Settings(journal_entries_max=2))
    first = play.call("greeter/greet")
    play.sdk(first, m.RunCommand(1))
    assert play.row(first).last_error is None
    play.sdk(first, m.RunCommand(2))
    error = play.row(first).last_error
    assert error is not None
    assert (error.restate_code, error.message) == ("RT0017", "the journal has reached its limit of 2 entries")


def test_the_limit_of_a_journal_where_no_other_is_chosen(play: Play, first: InvocationId) -> None:
    play.state.invocations[first].journal_length = JOURNAL_ENTRIES_MAX
    play.sdk(first, m.RunCommand(1))
    error = play.row(first).last_error
    assert error is not None and f"its limit of {JOURNAL_ENTRIES_MAX} entries" in error.message


# End


def test_an_output_without_its_end_is_replayed_and_ended(play: Play, first: InvocationId) -> None:
    play.sdk(first, m.OutputCommand(success(b"kept")))
    play.crash()
    play.expect(Start(first))
    play.sdk(first, m.End())
    play.expect(Close(first, FINISHED), Done(first, success(b"kept")))


def test_the_last_of_two_outputs_is_the_result(play: Play, first: InvocationId) -> None:
    play.sdk(first, m.OutputCommand(success(b"1")), m.OutputCommand(success(b"2")), m.End())
    assert play.row(first).result == success(b"2")


def test_the_last_of_two_stored_outputs_is_the_result(play: Play, first: InvocationId) -> None:
    play.sdk(first, m.OutputCommand(success(b"1")), m.OutputCommand(m.Failure(1, "2")), m.RunCommand(1))
    play.crash()
    play.sdk(first, m.End())
    assert play.row(first).result == m.Failure(1, "2")


# Suspension


def test_a_suspended_invocation_holds_no_memory_and_wakes_on_what_it_awaits(play: Play, first: InvocationId) -> None:
    play.suspend(first, signals=(1, 17))
    play.expect(Close(first, FINISHED))
    assert play.status(first) is Status.SUSPENDED
    assert play.state.invocations == {}
    complete(play, first, 18)
    play.expect(Answer(ReplyStatus.ACCEPTED))
    complete(play, first, 17)
    play.expect(Answer(ReplyStatus.ACCEPTED), Start(first))
    assert play.row(first).awaiting is None


def test_what_came_between_half_close_and_suspension_wakes_it_at_once(play: Play, first: InvocationId) -> None:
    play.commit()
    delivered = play.delivered[first]
    complete(play, first)
    play.skip()
    play.suspend(first, signals=(17,), delivered=delivered)
    play.expect(Close(first, FINISHED), Start(first))


def test_what_the_attempt_was_told_does_not_wake_it_again(play: Play, first: InvocationId) -> None:
    """A caught cancel, and an awaited set that always contains it: no loop of resumptions."""
    play.ask(commands.Cancel, first)
    play.expect(Tell(first, m.Signal(1, m.VOID)), Answer(ReplyStatus.ACCEPTED))
    play.suspend(first, signals=(1, 17))
    play.expect(Close(first, FINISHED))
    complete(play, first, 18)
    play.expect(Answer(ReplyStatus.ACCEPTED))
    assert play.status(first) is Status.SUSPENDED


def test_what_was_missed_counts_for_a_later_wake_up_even_over_a_crash() -> None:
    play = Play(Settings(protocol_version_max=7))
    first = play.call("greeter/greet")
    play.commit()
    delivered = play.delivered[first]
    complete(play, first, 17)
    play.suspend(first, signals=(17, 18), combinator=m.Combinator.ALL_COMPLETED, delivered=delivered)
    assert play.status(first) is Status.SUSPENDED
    play.crash()
    play.skip()
    complete(play, first, 18)
    play.expect(Answer(ReplyStatus.ACCEPTED), Start(first))


def test_a_proposal_after_half_close_is_stored_and_wakes_the_suspended(play: Play, first: InvocationId) -> None:
    play.sdk(first, m.RunCommand(1), m.ProposeRunCompletion(1, success()), m.Suspension(m.Future((1,))))
    play.expect(Tell(first, run_done(1, b"1")), Close(first, FINISHED), Start(first))


def test_only_an_attempt_after_a_stored_suspension_is_resumed(play: Play, first: InvocationId) -> None:
    """Whoever finds an effect without an outcome there knows that no crash cut it off. After a loss nobody does."""

    def is_resumed() -> bool:
        play.commit()
        return play.started[first].is_resumed

    assert not is_resumed()
    play.suspend(first, signals=(1, 17))
    play.crash()
    complete(play, first, 17)
    assert is_resumed()
    delivered = play.delivered[first]
    complete(play, first, 18)
    play.commit()
    play.suspend(first, signals=(1, 18), delivered=delivered)  # woken at once
    assert is_resumed()
    play.fails(first, "RT0010")
    play.time(60_000)
    assert not is_resumed()
    play.suspend(first, signals=(1, 19))
    complete(play, first, 19)
    assert is_resumed()
    play.crash()
    play.time(60_000)
    assert not is_resumed()


@pytest.mark.parametrize("is_woken_at_once", [False, True])
def test_a_suspension_that_cuts_off_a_step_is_no_clean_end(
    play: Play, first: InvocationId, is_woken_at_once: bool
) -> None:
    """The body of a step that no task waits for may have sent something when it was cut."""
    play.commit()
    delivered = play.delivered[first]
    play.sdk(first, m.RunCommand(1))
    if is_woken_at_once:
        complete(play, first, 17)
        play.commit()
    play.suspend(first, signals=(1, 17), delivered=delivered)
    if not is_woken_at_once:
        complete(play, first, 17)
    play.commit()
    assert not play.started[first].is_resumed


def test_an_await_too_deep_pauses(first: InvocationId, play: Play) -> None:
    tree = m.Future((1,))
    for _ in range(1001):
        tree = m.Future(nested=(tree,))
    play.state.invocations[first].attempt.version = 7  # type: ignore[union-attr]
    play.submit(
        commands.SdkMessages(
            now_ms=play.now_ms,
            invocation_id=first,
            epoch=play.started[first].epoch,
            delivered=EntryIndex(1),
            messages=[(m.Suspension(tree), 1, b"", 0)],
            seed=b"s" * 16,
        )
    )
    play.expect(Close(first, ABORT), Logged("attempt_failed"), Logged("invocation_paused"))
    assert play.status(first) is Status.PAUSED


def test_an_await_too_deep_found_while_decoding_pauses_too(first: InvocationId, play: Play) -> None:
    play.fails(first, "RT0025")
    assert play.status(first) is Status.PAUSED


# Where an attempt runs


def test_without_a_deployment_the_attempt_fails_without_reaching_the_handler(play: Play) -> None:
    play.remove_deployment()
    play.skip()
    first = play.state.invocations  # nobody yet
    assert first == {}
    play.register()
    invocation_id = play.call("greeter/greet")
    play.fails(invocation_id, "RT0010")
    play.remove_deployment()
    play.time(0)
    row = play.row(invocation_id)
    assert row.last_error is not None
    assert (row.last_error.restate_code, row.last_error.message) == (
        "RT0011",
        "no deployment was found to process the invocation",
    )
    assert (row.retry_count, row.command_retry_count) == (2, 1)


def test_one_that_is_forgotten_within_its_own_wake_up_stays_forgotten() -> None:
    """No deployment, one attempt, then kill, and nothing to keep: the wake-up ends it."""
    policy = RetryPolicy(max_attempts=1, on_max_attempts=OnMaxAttempts.KILL)
    play = Play(Settings(defaults=HandlerOptions(retry=policy)), journal_retention_ms=0)
    first = play.call("greeter/greet")
    play.suspend(first, signals=(17,))
    play.remove_deployment()
    play.skip()
    complete(play, first)
    play.expect(
        Answer(ReplyStatus.ACCEPTED),
        Logged("attempt_failed"),
        Done(first, m.Failure(500, placement.DEPLOYMENT_GONE)),
    )
    assert not play.exists(first)


def test_a_long_chain_of_callers_that_cannot_go_on_ends_level_by_level() -> None:
    """Each is woken by the end of the one it called and ends too: a loop, not a recursion."""
    policy = RetryPolicy(max_attempts=1, on_max_attempts=OnMaxAttempts.KILL)
    play = Play(Settings(defaults=HandlerOptions(retry=policy)))
    chain = [play.call("greeter/greet")]
    for _ in range(1_500):
        play.sdk(chain[-1], call_command("greeter/greet", 1))
        play.suspend(chain[-1], 2)
        chain += play.children(chain[-1])
    play.remove_deployment()
    play.fails(chain[-1])
    play.commit()
    results = {(play.store.invocations[item].status, play.store.invocations[item].result) for item in chain[:-1]}
    assert results == {(Status.COMPLETED, m.Failure(500, placement.DEPLOYMENT_GONE))}


def test_an_attempt_that_could_not_be_made_is_let_be_when_a_kill_is_faster(play: Play, first: InvocationId) -> None:
    """The end of the caller wakes the callee, which waits for it; the same kill then goes down to the callee."""
    play.sdk(first, call_command("greeter/route", 1))
    (callee,) = play.children(first)
    target = m.InvocationIdTarget(ids.invocation_id_to_str(first))
    play.sdk(callee, m.AttachInvocationCommand(target, 1))
    play.suspend(callee, 1)
    play.remove_deployment()
    play.skip()
    play.ask(commands.Kill, first)
    killed = m.Failure(409, "killed")
    play.expect(Close(first, ABORT), Done(first, killed), Done(callee, killed), Answer(ReplyStatus.DONE))
    assert play.row(callee).last_error is None


def test_a_cancelled_one_that_cannot_go_on_where_it_ran_ends_as_cancelled(play: Play, first: InvocationId) -> None:
    """It suspends before it gets the cancel, and nothing can run its next attempt."""
    delivered = play.delivered[first]
    play.ask(commands.Cancel, first)
    play.remove_deployment()
    play.suspend(first, signals=(1, 17), delivered=delivered)
    assert play.row(first).result == CANCELED


# Attempts beyond the concurrency limit


def about(
    play: Play, kind: type[commands.MakeRoom | commands.AttemptWithdrawn], invocation_id: InvocationId, **fields: bool
) -> None:
    """What the engine says of the attempt that began last."""
    play.commit()
    epoch = play.started[invocation_id].epoch
    play.submit(kind(now_ms=play.now_ms, invocation_id=invocation_id, epoch=epoch, **fields))


@pytest.mark.parametrize(
    ("waits_for", "completion_id"),
    [
        ([m.SleepCommand(NOW_MS + 1000, 1)], 1),
        ([call_command("greeter/route", 1)], 2),
        ([m.SleepCommand(NOW_MS + 1000, 1), m.RunCommand(2), m.ProposeRunCompletion(2, m.Success(b"v"))], 1),
    ],
)
def test_one_that_waits_for_others_makes_room(
    play: Play, first: InvocationId, waits_for: list[m.Message], completion_id: int
) -> None:
    play.sdk(first, *waits_for)
    play.skip()
    about(play, commands.MakeRoom, first)
    play.expect(Close(first, HALF_CLOSE))
    play.suspend(first, completion_id)
    assert play.status(first) is Status.SUSPENDED


@pytest.mark.parametrize(
    "at_work",
    [
        [],
        [m.RunCommand(1)],
        [m.SleepCommand(NOW_MS + 1000, 1), m.RunCommand(2)],
    ],
)
def test_one_that_may_be_at_work_keeps_its_place(play: Play, first: InvocationId, at_work: list[m.Message]) -> None:
    play.sdk(first, *at_work)
    play.skip()
    about(play, commands.MakeRoom, first)
    play.expect()


def test_when_it_is_urgent_only_one_that_executes_a_step_keeps_its_place(play: Play, first: InvocationId) -> None:
    second = play.call("greeter/greet")
    play.sdk(first, m.RunCommand(1))
    play.skip()
    for each in (first, second):
        about(play, commands.MakeRoom, each, is_urgent=True)
    play.expect(Close(second, HALF_CLOSE))


def test_one_that_was_asked_to_pause_before_its_turn_is_paused_without_a_failure(
    play: Play, first: InvocationId
) -> None:
    play.ask(commands.Pause, first)
    play.skip()
    about(play, commands.AttemptWithdrawn, first)
    play.expect(Logged("invocation_paused"))
    row = play.row(first)
    assert (row.status, row.last_error, row.command_retry_count) == (Status.PAUSED, None, 0)


def test_a_pause_before_its_turn_may_be_taken_back(play: Play, first: InvocationId) -> None:
    play.ask(commands.Pause, first)
    play.ask(commands.Resume, first)
    play.skip()
    about(play, commands.AttemptWithdrawn, first)
    play.expect(Start(first))


def test_a_cancelled_one_whose_turn_never_comes_ends_as_cancelled(play: Play, first: InvocationId) -> None:
    """The cancel takes back the pause, and meanwhile nothing can run it."""
    play.ask(commands.Pause, first)
    play.ask(commands.Cancel, first)
    play.remove_deployment()
    about(play, commands.AttemptWithdrawn, first)
    assert play.row(first).result == CANCELED


@pytest.mark.parametrize("kind", [commands.MakeRoom, commands.AttemptWithdrawn])
def test_what_is_said_of_an_attempt_that_is_over_changes_nothing(
    play: Play, first: InvocationId, kind: type[commands.MakeRoom | commands.AttemptWithdrawn]
) -> None:
    play.sdk(first, m.SleepCommand(NOW_MS + 1000, 1))
    play.suspend(first, 1)
    play.skip()
    about(play, kind, first)
    play.expect()


def test_a_pinned_deployment_that_is_gone_is_named(play: Play, first: InvocationId) -> None:
    play.sdk(first, m.RunCommand(1))
    play.remove_deployment()
    play.fails(first, "RT0010")
    play.time(0)
    error = play.row(first).last_error
    assert error is not None
    assert "has a deployment id associated" in error.message


def test_a_deployment_of_another_protocol_fails_the_attempt(play: Play) -> None:
    play.register(deployment("dp2", version_min=7, version_max=7))
    first = play.call("greeter/greet")
    error = play.row(first).last_error
    assert error is not None
    assert (error.code, error.restate_code) == (500, "RT0013")
    assert play.status(first) is Status.INVOKED


def test_eager_state_stops_at_its_limit() -> None:
    play = Play(Settings(eager_state_bytes_max=4))
    first = play.call("cart/a/add")
    play.sdk(first, m.SetStateCommand(b"b", b"1"), m.SetStateCommand(b"a", b"2"), m.SetStateCommand(b"c", b"3"))
    play.fails(first, "RT0010")
    play.time(0)
    play.commit()
    assert (play.started[first].state, play.started[first].partial_state) == (((b"a", b"2"), (b"b", b"1")), True)


def test_lazy_state_sends_nothing_ahead() -> None:
    play = Play(enable_lazy_state=True)
    first = play.call("cart/a/add")
    play.commit()
    assert (play.started[first].state, play.started[first].partial_state) == ((), True)


def test_a_complete_state_is_said_to_be_complete(play: Play) -> None:
    keyed, plain = play.call("cart/a/add"), play.call("greeter/greet")
    play.commit()
    assert (play.started[keyed].state, play.started[keyed].partial_state) == ((), False)
    assert (play.started[plain].state, play.started[plain].partial_state) == ((), True)


def test_a_reply_while_the_caller_is_gone_is_no_problem(play: Play, first: InvocationId) -> None:
    play.sdk(first, call_command("greeter/greet", 1))
    (callee,) = play.children(first)
    play.sdk_ends(first)
    play.sdk_ends(callee)
    assert play.status(callee) is Status.COMPLETED
    assert not any(play.store.listener_rows.values())


# Suspended on what was given before


def test_one_that_suspends_on_what_it_was_given_runs_again_and_backs_off_when_it_repeats() -> None:
    play = Play(retry=retry(max_attempts=3))
    first = play.call("greeter/greet")
    play.run_step(first, 1)
    play.run_step(first, 2)
    play.skip()
    play.suspend(first, 1)
    play.expect(Close(first, FINISHED), Start(first))
    play.suspend(first, 1)
    row = play.row(first)
    assert row.last_error is not None
    assert row.last_error.message == "suspended on what it had been given: completion 1"
    assert row.next_retry_at_ms is not None
    assert 200 <= row.next_retry_at_ms - NOW_MS <= 260
    play.time(260)
    play.suspend(first, 1)
    assert play.status(first) is Status.PAUSED


def test_one_that_repeats_it_is_given_an_attempt_that_begins_with_its_cancel(play: Play, first: InvocationId) -> None:
    play.run_step(first, 1)
    play.suspend(first, 1)
    play.ask(commands.Cancel, first)
    play.suspend(first, 1)
    assert play.row(first).is_backing_off
    play.time(60_000)
    play.fails(first)
    assert play.row(first).result == CANCELED


@pytest.mark.parametrize(
    ("awaiting", "given"),
    [
        (m.Future((5,)), "completion 5"),
        (m.Future(signals=(17,)), "signal 17"),
        (m.Future((5,), (17,)), "completion 5, signal 17"),
    ],
)
def test_reads_and_signals_that_were_given_count_as_well(play: Play, awaiting: m.Future, given: str) -> None:
    """A step and a signal of one number are two things."""
    first = play.call("signup/w/look")
    play.sdk(first, m.GetLazyStateCommand(b"x", 5), m.RunCommand(17))
    complete(play, first)
    for _ in range(2):
        play.sdk(first, m.Suspension(awaiting))
    error = play.row(first).last_error
    assert error is not None and error.message == f"suspended on what it had been given: {given}"


@pytest.mark.parametrize(
    ("awaiting", "message"),
    [
        (m.Future((99,), (1,), combinator=FIRST), "suspended on what never comes: completion 99"),
        (m.Future((2,), (1,), combinator=FIRST), "suspended on what never comes: completion 2"),
        (m.Future((2, 3, 99), combinator=ALL), "suspended on what never comes: completion 2, 99"),
        (m.Future((1, 2), combinator=ALL), "suspended on what never comes: completion 2"),
        (m.Future((1, 2), combinator=ALL_OK), "suspended on what never comes: completion 2"),
        (m.Future((4, 99), combinator=ANY_OK), "suspended on what never comes: completion 99"),
        (m.Future(nested=(m.Future(combinator=ALL),)), "suspended on what it had been given: nothing"),
    ],
)
def test_one_that_suspends_on_what_nothing_brings_does_not_hang(awaiting: m.Future, message: str) -> None:
    """Ids that no command has, and steps without a result: nobody executes them while it is suspended."""
    play = Play(Settings(protocol_version_max=7), retry=retry())
    first = play.call("greeter/greet")
    play.run_step(first, 1)
    play.sdk(first, m.RunCommand(2), m.SleepCommand(NOW_MS + 1000, 3))
    play.sdk(first, m.RunCommand(4), m.ProposeRunCompletion(4, m.Failure(500, "no")))
    play.skip()
    play.sdk(first, m.Suspension(awaiting))
    play.expect(Close(first, FINISHED), Start(first))
    play.sdk(first, m.Suspension(awaiting))
    row = play.row(first)
    assert row.last_error is not None
    assert (row.last_error.code, row.last_error.restate_code, row.last_error.message) == (571, "RT0012", message)
    assert (row.is_backing_off, row.command_retry_count) == (True, 0)


@pytest.mark.parametrize(
    "awaiting",
    [
        m.Future((2, 3), combinator=m.Combinator.UNKNOWN),
        m.Future((99, 3), combinator=FIRST),
        m.Future((99,), (17,), combinator=FIRST),
        m.Future((99,), named_signals=("news",), combinator=FIRST),
        m.Future((99, 3), combinator=ALL_OK),
        m.Future((99, 3), combinator=ANY_OK),
        m.Future((3,), nested=(m.Future((1, 99), combinator=ANY_OK),), combinator=ALL),
        m.Future((3,), nested=(m.Future((4, 99), combinator=ALL_OK),), combinator=ALL),
        m.Future(signals=(1,)),
    ],
)
def test_what_may_still_come_is_enough_to_suspend_on(awaiting: m.Future) -> None:
    play = Play(Settings(protocol_version_max=7))
    first = play.call("greeter/greet")
    play.run_step(first, 1)
    play.sdk(first, m.RunCommand(2), m.SleepCommand(NOW_MS + 1000, 3))
    play.sdk(first, m.RunCommand(4), m.ProposeRunCompletion(4, m.Failure(500, "no")))
    play.sdk(first, m.Suspension(awaiting))
    assert play.status(first) is Status.SUSPENDED


@pytest.mark.parametrize("is_evicted", [False, True])
def test_what_was_given_before_counts_for_a_later_wake_up(is_evicted: bool) -> None:
    play = Play(Settings(protocol_version_max=7))
    first = play.call("greeter/greet")
    play.run_step(first, 1)
    complete(play, first, 17)
    play.suspend(first, 1, signals=(17, 18), combinator=m.Combinator.ALL_COMPLETED)
    assert play.status(first) is Status.SUSPENDED
    if is_evicted:
        play.crash()
    play.skip()
    complete(play, first, 18)
    play.expect(Answer(ReplyStatus.ACCEPTED), Start(first))


def test_one_that_cannot_go_on_where_it_ran_backs_off(play: Play, first: InvocationId) -> None:
    """It suspends on what has come already, but its deployment is gone."""
    play.sdk(first, m.RunCommand(1))
    complete(play, first)
    play.remove_deployment()
    play.suspend(first, signals=(17,), delivered=EntryIndex(1))
    row = play.row(first)
    assert row.last_error is not None
    assert (row.last_error.restate_code, row.is_backing_off) == ("RT0011", True)


def test_a_named_signal_alone_can_be_waited_for(play: Play, first: InvocationId) -> None:
    play.suspend(first, named_signals=("news",))
    assert play.status(first) is Status.SUSPENDED


def test_a_cancel_and_a_named_signal_may_be_awaited_anew(play: Play, first: InvocationId) -> None:
    play.ask(commands.Cancel, first)
    sender = play.call("greeter/route")
    play.sdk(sender, m.SendSignalCommand(ids.invocation_id_to_str(first), "news", success()))
    play.suspend(first, signals=(1,), named_signals=("news",))
    assert play.status(first) is Status.SUSPENDED
    complete(play, first)
    assert play.status(first) is Status.SUSPENDED, "what came before does not count when something else comes"


# Results above the limit


def oversized(play: Play, invocation_id: InvocationId, type_id: int, start: bytes = b"") -> None:
    """The beginning of a result that is too large."""
    play.commit()
    message = Oversized(type_id, 40_000_000, 33_554_432, start)
    play.submit(
        commands.SdkMessages(
            now_ms=play.now_ms,
            invocation_id=invocation_id,
            epoch=play.started[invocation_id].epoch,
            delivered=play.delivered[invocation_id],
            messages=[(message, type_id, b"", 0)],
            seed=bytes(16),
        )
    )


def test_a_step_whose_result_is_too_large_fails_for_good_and_by_name(play: Play, first: InvocationId) -> None:
    play.sdk(first, m.RunCommand(1, name="other"), m.RunCommand(2, name="Draw image"))
    play.skip()
    oversized(play, first, m.MessageType.PROPOSE_RUN_COMPLETION, b"\x08\x02")
    play.expect(Close(first, ABORT), Start(first))
    text = "RW3006 The result of the step 'Draw image' has 40000000 bytes, more than the 33554432 allowed."
    failed = m.Completion(m.MessageType.RUN_COMPLETION, 2, m.Failure(413, text))
    assert play.journal(first)[-1] == failed
    row = play.row(first)
    assert (row.retry_count, row.last_error) == (0, None)


def test_a_result_too_large_of_a_run_that_is_not_waiting_is_a_violation(play: Play, first: InvocationId) -> None:
    oversized(play, first, m.MessageType.PROPOSE_RUN_COMPLETION, b"\x08\x02")
    error = play.row(first).last_error
    assert error is not None and "not waiting: 2" in error.message


def test_a_handler_whose_result_is_too_large_has_failed(play: Play, first: InvocationId) -> None:
    oversized(play, first, m.MessageType.OUTPUT)
    text = "RW3006 The result of greeter/greet has 40000000 bytes, more than the 33554432 allowed."
    play.expect(Close(first, ABORT), Done(first, m.Failure(413, text)))
