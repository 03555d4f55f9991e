"""Cancel, kill, pause, resume in every status, and recovery."""

from __future__ import annotations

import pytest
from tests.unit.core.play import (
    ABORT,
    FINISHED,
    HALF_CLOSE,
    NOW_MS,
    Answer,
    Close,
    Done,
    Logged,
    Play,
    Start,
    Tell,
    call_command,
    deployment,
    send_command,
    success,
)

from rewake.core import commands, ids, lifecycle, wakeups
from rewake.core.effects import ReplyStatus
from rewake.core.ids import InvocationId
from rewake.core.model import AttemptError, Blame, Status
from rewake.core.settings import Settings
from rewake.protocol import messages as m

CANCEL = m.Signal(1, m.VOID)
NOBODY = b"n" * 24


def bring_to(play: Play, status: Status) -> InvocationId:
    """An exclusive invocation in this status; INVOKED has a live attempt."""
    if status is Status.SCHEDULED:
        found = play.call("cart/a/add", at_ms=NOW_MS + 1000)
    elif status is Status.INBOXED:
        play.call("cart/a/add")
        found = play.call("cart/a/add")
    else:
        found = play.call("cart/a/add")
        if status is Status.SUSPENDED:
            play.suspend(found, signals=(1, 17))
        elif status is Status.PAUSED:
            play.ask(commands.Pause, found)
            play.suspend(found, signals=(1, 17))
        elif status is Status.COMPLETED:
            play.sdk_ends(found)
    assert play.status(found) is status
    play.skip()
    return found


# Cancel


def test_cancel_of_a_running_one_is_a_notification(play: Play) -> None:
    first = bring_to(play, Status.INVOKED)
    play.ask(commands.Cancel, first)
    play.expect(Tell(first, CANCEL), Answer(ReplyStatus.ACCEPTED))
    play.ask(commands.Cancel, first)
    play.expect(Tell(first, CANCEL), Answer(ReplyStatus.ACCEPTED))
    assert play.journal(first) == [CANCEL, CANCEL]


def test_cancel_wakes_one_that_is_suspended(play: Play) -> None:
    first = bring_to(play, Status.SUSPENDED)
    play.ask(commands.Cancel, first)
    play.expect(Answer(ReplyStatus.ACCEPTED), Start(first))
    assert play.journal(first) == [CANCEL]


def test_cancel_wakes_one_that_is_paused(play: Play) -> None:
    first = bring_to(play, Status.PAUSED)
    play.ask(commands.Cancel, first)
    play.expect(Start(first), Answer(ReplyStatus.ACCEPTED))
    assert play.journal(first) == [CANCEL]


def test_cancel_leaves_alone_who_does_not_wait_for_it(play: Play) -> None:
    """An SDK with implicit cancellation switched off."""
    first = play.call("greeter/greet")
    play.suspend(first, signals=(17,))
    play.skip()
    play.ask(commands.Cancel, first)
    play.expect(Answer(ReplyStatus.ACCEPTED))
    assert play.status(first) is Status.SUSPENDED


def test_cancel_ends_a_back_off(play: Play) -> None:
    first = bring_to(play, Status.INVOKED)
    play.fails(first)
    play.skip()
    play.ask(commands.Cancel, first)
    play.expect(Start(first), Answer(ReplyStatus.ACCEPTED))
    assert play.store.timers == set()


@pytest.mark.parametrize("status", [Status.SCHEDULED, Status.INBOXED])
def test_cancel_removes_what_has_not_begun(play: Play, status: Status) -> None:
    first = bring_to(play, status)
    play.ask(commands.Cancel, first)
    play.expect(Done(first, lifecycle.CANCELED), Answer(ReplyStatus.DONE))
    assert not play.exists(first)
    assert play.store.timers == set()


def test_cancel_of_what_is_over_or_unknown(play: Play) -> None:
    first = bring_to(play, Status.COMPLETED)
    play.ask(commands.Cancel, first)
    play.ask(commands.Cancel, InvocationId(NOBODY))
    play.expect(Answer(ReplyStatus.ALREADY_COMPLETED), Answer(ReplyStatus.NOT_FOUND))


def test_a_cancel_during_a_requested_pause_goes_through(play: Play) -> None:
    first = bring_to(play, Status.INVOKED)
    play.ask(commands.Pause, first)
    delivered = play.delivered[first]
    play.ask(commands.Cancel, first)
    play.skip()
    play.suspend(first, signals=(1,), delivered=delivered)
    play.expect(Close(first, FINISHED), Start(first))


def test_a_handler_cancels_its_callee_by_signal(play: Play) -> None:
    caller = play.call("greeter/route")
    play.sdk(caller, call_command("greeter/greet", 1), send_command("greeter/greet", 3, at_ms=NOW_MS + 100))
    running, scheduled = play.children(caller)
    play.skip()
    for callee in (running, scheduled, NOBODY):
        play.sdk(caller, m.SendSignalCommand(ids.invocation_id_to_str(callee), 1, m.VOID))
    play.expect(Tell(running, CANCEL), Done(scheduled, lifecycle.CANCELED))


def test_a_callee_canceled_before_it_began_fails_its_caller(play: Play) -> None:
    play.call("cart/a/add")
    caller = play.call("greeter/route")
    play.sdk(caller, call_command("cart/a/add", 1))
    (callee,) = play.children(caller)
    play.skip()
    play.ask(commands.Cancel, callee)
    play.expect(
        Tell(caller, m.Completion(m.MessageType.CALL_COMPLETION, 2, lifecycle.CANCELED)),
        Done(callee, lifecycle.CANCELED),
        Answer(ReplyStatus.DONE),
    )


# Kill


@pytest.mark.parametrize(
    ("status", "is_kept"),
    [
        (Status.SCHEDULED, False),
        (Status.INBOXED, False),
        (Status.INVOKED, True),
        (Status.SUSPENDED, True),
        (Status.PAUSED, True),
    ],
)
def test_kill_in_every_status(play: Play, status: Status, is_kept: bool) -> None:
    first = bring_to(play, status)
    play.ask(commands.Kill, first)
    cut = [Close(first, ABORT)] if status is Status.INVOKED else []
    play.expect(*cut, Done(first, lifecycle.KILLED), Answer(ReplyStatus.DONE))
    assert play.exists(first) is is_kept
    if is_kept:
        assert play.row(first).result == lifecycle.KILLED


def test_kill_of_what_is_over_or_unknown(play: Play) -> None:
    first = bring_to(play, Status.COMPLETED)
    play.ask(commands.Kill, first)
    play.ask(commands.Kill, InvocationId(NOBODY))
    play.expect(Answer(ReplyStatus.ALREADY_COMPLETED), Answer(ReplyStatus.NOT_FOUND))


def test_kill_during_a_back_off_drops_its_timer(play: Play) -> None:
    first = bring_to(play, Status.INVOKED)
    play.fails(first)
    play.ask(commands.Kill, first)
    play.skip()
    assert play.store.timers == set()


def test_kill_goes_down_the_tree_whatever_the_status_of_the_children(play: Play) -> None:
    holder = play.call("cart/a/add")
    root = play.call("greeter/route")
    play.sdk(
        root,
        call_command("greeter/route", 1),
        send_command("greeter/greet", 3),
        send_command("greeter/greet", 4, at_ms=NOW_MS + 100),
        call_command("cart/a/add", 5),
        call_command("greeter/greet", 7),
    )
    child, sent, scheduled, queued, finished = play.children(root)
    play.sdk(child, call_command("greeter/greet", 1))
    (grandchild,) = play.children(child)
    play.suspend(grandchild, signals=(1,))
    play.sdk_ends(finished)
    play.skip()
    play.crash()
    play.skip()
    play.ask(commands.Kill, root)
    play.commit()
    assert [play.row(item).result for item in (root, child, sent, grandchild)] == [lifecycle.KILLED] * 4
    assert [play.exists(item) for item in (scheduled, queued)] == [False, False]
    assert play.row(finished).result == success()
    assert play.status(holder) is Status.INVOKED
    assert play.store.timers == set()
    assert not any(play.store.listener_rows.values())


@pytest.fixture
def wide() -> tuple[Play, InvocationId, list[InvocationId]]:
    """A tree of nine, of which a command may kill three."""
    play = Play(Settings(kills_per_command=3))
    root = play.call("greeter/route")
    play.sdk(root, *(send_command("greeter/route", at) for at in range(1, 8)))
    children = play.children(root)
    play.sdk(children[0], call_command("greeter/greet", 1))
    play.skip()
    return play, root, [*children, *play.children(children[0])]


def test_a_large_tree_is_killed_in_slices_over_a_crash(wide: tuple[Play, InvocationId, list[InvocationId]]) -> None:
    play, root, below = wide
    play.ask(commands.Kill, root)
    play.commit()
    dead = [each for each in below if play.row(each).result == lifecycle.KILLED]
    assert play.row(root).result == lifecycle.KILLED
    assert len(dead) == 2
    play.crash()
    slices = 0
    while play.store.timers:
        play.time(0)
        play.commit()
        slices += 1
    assert slices == 2
    assert all(play.row(each).result == lifecycle.KILLED for each in below)


def test_what_ended_before_its_slice_keeps_its_result(wide: tuple[Play, InvocationId, list[InvocationId]]) -> None:
    play, root, below = wide
    play.ask(commands.Kill, root)
    play.commit()
    ending = next(each for each in below[1:] if play.row(each).result is None)
    play.sdk_ends(ending)
    while play.store.timers:
        play.time(1)
        play.commit()
    assert play.row(ending).result == success()


def test_a_late_slice_spares_one_that_was_created_after_the_kill() -> None:
    play = Play(Settings(kills_per_command=1), journal_retention_ms=0)
    root = play.call("greeter/route")
    play.sdk(root, call_command("signup/w/run", 1))
    (first,) = play.children(root)
    play.ask(commands.Kill, root)
    play.sdk_ends(first)
    play.ask(commands.Purge, first)
    play.now_ms += 1
    assert play.call("signup/w/run") == first
    play.time(0)
    play.commit()
    assert play.status(first) is Status.INVOKED


def test_a_killed_leaf_fails_its_caller(play: Play) -> None:
    caller = play.call("greeter/route")
    play.sdk(caller, call_command("greeter/greet", 1))
    (callee,) = play.children(caller)
    play.ask(commands.Kill, callee)
    assert play.journal(caller)[-1] == m.Completion(m.MessageType.CALL_COMPLETION, 2, lifecycle.KILLED)


def test_what_a_killed_one_waited_for_does_not_reach_the_next_with_its_id(play: Play) -> None:
    run = play.call("signup/w/run")
    play.sdk(run, call_command("greeter/greet", 1), m.SleepCommand(NOW_MS + 50, 3), m.GetPromiseCommand("p", 4))
    (callee,) = play.children(run)
    play.sdk(run, m.OutputCommand(success()), m.End())
    play.ask(commands.Purge, run)
    assert play.call("signup/w/run") == run
    play.sdk(run, m.RunCommand(2), m.RunCommand(3), m.RunCommand(4))
    play.sdk_ends(callee)
    play.time(100)
    look = play.call("signup/w/look")
    play.sdk(look, m.CompletePromiseCommand("p", success(), 1))
    assert play.journal(run) == [m.RunCommand(2), m.RunCommand(3), m.RunCommand(4)]


# Pause and resume


def test_pause_lets_the_handler_stop_by_itself(play: Play) -> None:
    first = bring_to(play, Status.INVOKED)
    play.ask(commands.Pause, first)
    play.expect(Close(first, HALF_CLOSE), Answer(ReplyStatus.ACCEPTED))
    play.sdk(first, m.RunCommand(1))
    play.suspend(first, 1)
    play.expect(Close(first, FINISHED), Logged("invocation_paused"))
    assert play.journal(first) == [m.RunCommand(1)]
    assert play.status(first) is Status.PAUSED


def test_a_failure_of_what_was_asked_to_pause_pauses_it(play: Play) -> None:
    first = bring_to(play, Status.INVOKED)
    play.ask(commands.Pause, first)
    play.fails(first)
    assert play.status(first) is Status.PAUSED
    assert play.store.timers == set()


def test_one_that_ends_although_asked_to_pause_is_done(play: Play) -> None:
    first = bring_to(play, Status.INVOKED)
    play.ask(commands.Pause, first)
    play.sdk_ends(first)
    assert play.status(first) is Status.COMPLETED


def test_pause_of_a_suspended_or_backing_off_one_is_done_at_once(play: Play) -> None:
    suspended = play.call("greeter/greet")
    play.suspend(suspended, signals=(17,))
    waiting = play.call("greeter/greet")
    play.fails(waiting)
    play.skip()
    play.ask(commands.Pause, suspended)
    play.ask(commands.Pause, waiting)
    play.expect(
        Logged("invocation_paused"),
        Answer(ReplyStatus.DONE),
        Logged("invocation_paused"),
        Answer(ReplyStatus.ACCEPTED),
    )
    assert play.store.timers == set()
    play.ask(commands.CompleteSignal, suspended, signal=17, result=success())
    play.expect(Answer(ReplyStatus.ACCEPTED))  # only journaled
    play.ask(commands.Resume, suspended)
    play.expect(Start(suspended), Answer(ReplyStatus.DONE))


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (Status.SCHEDULED, ReplyStatus.NOT_RUNNING),
        (Status.INBOXED, ReplyStatus.NOT_RUNNING),
        (Status.PAUSED, ReplyStatus.DONE),
        (Status.COMPLETED, ReplyStatus.ALREADY_COMPLETED),
    ],
)
def test_pause_where_there_is_nothing_to_pause(play: Play, status: Status, answer: ReplyStatus) -> None:
    first = bring_to(play, status)
    play.ask(commands.Pause, first)
    play.ask(commands.Pause, InvocationId(NOBODY))
    play.expect(Answer(answer), Answer(ReplyStatus.NOT_FOUND))
    assert play.status(first) is status


@pytest.mark.parametrize("status", [Status.SUSPENDED, Status.PAUSED])
def test_resume_starts_what_stands_still(play: Play, status: Status) -> None:
    first = bring_to(play, status)
    play.ask(commands.Resume, first)
    play.expect(Start(first), Answer(ReplyStatus.DONE))


def test_resume_of_a_back_off_is_retry_now(play: Play) -> None:
    first = bring_to(play, Status.INVOKED)
    play.fails(first)
    play.skip()
    play.ask(commands.Resume, first)
    play.expect(Start(first), Answer(ReplyStatus.DONE))
    assert play.row(first).retry_count == 0


def test_resume_takes_back_a_pause_that_has_not_happened(play: Play) -> None:
    first = bring_to(play, Status.INVOKED)
    play.ask(commands.Pause, first)
    play.ask(commands.Resume, first)
    play.suspend(first, signals=(17,))
    assert play.status(first) is Status.SUSPENDED


@pytest.mark.parametrize(
    ("status", "fields", "answer"),
    [
        (Status.SCHEDULED, {}, ReplyStatus.NOT_STARTED),
        (Status.INBOXED, {}, ReplyStatus.NOT_STARTED),
        (Status.COMPLETED, {}, ReplyStatus.ALREADY_COMPLETED),
        (Status.INVOKED, {}, ReplyStatus.DONE),
        (Status.INVOKED, {"deployment": "latest"}, ReplyStatus.NOT_PINNED),
        (Status.PAUSED, {"deployment": "dp9"}, ReplyStatus.DEPLOYMENT_NOT_FOUND),
    ],
)
def test_resume_where_it_changes_nothing(
    play: Play, status: Status, fields: dict[str, str], answer: ReplyStatus
) -> None:
    first = bring_to(play, status)
    play.ask(commands.Resume, first, **fields)
    play.expect(Answer(answer))
    play.ask(commands.Resume, InvocationId(NOBODY))
    play.expect(Answer(ReplyStatus.NOT_FOUND))


@pytest.mark.parametrize("named", ["latest", "dp2"])
def test_resume_on_another_deployment(play: Play, named: str) -> None:
    first = play.call("greeter/greet")
    play.sdk(first, m.SleepCommand(NOW_MS + 1000, 1))
    play.suspend(first, 1)
    play.register(deployment("dp2"))
    play.skip()
    play.ask(commands.Resume, first, deployment=named)
    play.expect(Start(first), Answer(ReplyStatus.DONE))
    assert play.started[first].deployment_id == "dp2"
    assert play.row(first).pinned_deployment_id == "dp2"


def test_latest_needs_a_service_that_is_registered(play: Play) -> None:
    first = bring_to(play, Status.SUSPENDED)
    play.remove_deployment()
    play.skip()
    play.ask(commands.Resume, first, deployment="latest")
    play.expect(Answer(ReplyStatus.DEPLOYMENT_NOT_FOUND))


# Recovery


def test_a_start_runs_again_what_ran(play: Play) -> None:
    running = play.call("greeter/greet")
    suspended = play.call("greeter/greet")
    play.suspend(suspended, signals=(17,))
    play.skip()
    play.crash()
    play.expect(Start(running))
    play.submit(commands.Recover(now_ms=play.now_ms, invocation_ids=[running, suspended, InvocationId(NOBODY)]))
    play.expect()


def test_uncommitted_work_is_lost_and_done_again(play: Play) -> None:
    first = play.call("greeter/greet")
    play.skip()
    play.sdk(first, m.RunCommand(1))
    play.crash(loses_batch=True)
    play.expect(Start(first))
    assert play.journal(first) == []


def test_a_faulty_invocation_is_paused_with_the_reason(play: Play) -> None:
    first = bring_to(play, Status.INVOKED)
    error = AttemptError(500, "bug", "RT0006")
    play.submit(commands.PauseFaulty(now_ms=play.now_ms, invocation_id=first, error=error))
    play.expect(Close(first, ABORT), Logged("invocation_paused"))
    assert play.row(first).last_error == error


@pytest.mark.parametrize("status", [Status.SCHEDULED, Status.INBOXED, Status.COMPLETED])
def test_what_does_not_run_cannot_be_faulty(play: Play, status: Status) -> None:
    first = bring_to(play, status)
    for invocation_id in (first, NOBODY):
        error = AttemptError(500, "bug", "RT0006")
        play.submit(commands.PauseFaulty(now_ms=play.now_ms, invocation_id=InvocationId(invocation_id), error=error))
    play.expect()
    assert play.status(first) is status


# Cancelled, and failing


def test_a_cancelled_one_that_fails_before_it_does_anything_ends_as_cancelled(play: Play) -> None:
    """Its first line raises, so that it never comes to the await at which the cancel would reach it."""
    first = play.call("greeter/greet")
    play.fails(first)
    play.ask(commands.Cancel, first)
    play.skip()
    play.fails(first)
    play.expect(Close(first, FINISHED), Logged("attempt_failed"), Done(first, lifecycle.CANCELED))


def test_a_cancelled_one_whose_code_is_gone_ends_as_cancelled(play: Play) -> None:
    first = play.call("greeter/greet")
    play.remove_deployment()
    play.fails(first)
    play.skip()
    play.ask(commands.Cancel, first)
    answer = Answer(ReplyStatus.ACCEPTED)
    play.expect(answer, Logged("attempt_failed"), Done(first, lifecycle.CANCELED))


def test_one_cancelled_while_it_ran_gets_another_attempt_that_can_see_it(play: Play) -> None:
    first = play.call("greeter/greet")
    play.ask(commands.Cancel, first)
    play.fails(first)
    assert play.status(first) is Status.INVOKED
    play.crash()  # what is known of the cancel comes from the journal
    play.time(1_000)
    play.fails(first)
    assert play.row(first).result == lifecycle.CANCELED


def test_a_clean_up_that_fails_is_retried(play: Play) -> None:
    first = play.call("greeter/greet")
    play.fails(first)
    play.ask(commands.Cancel, first)
    play.sdk(first, m.RunCommand(1, "refund"))
    for _ in range(3):
        play.fails(first)
        assert play.status(first) is Status.INVOKED
        play.time(60_000)


@pytest.mark.parametrize("blame", [Blame.NOBODY, Blame.SHARED])
def test_a_loss_that_others_caused_is_no_chance(play: Play, blame: Blame) -> None:
    first = play.call("greeter/greet")
    play.fails(first)
    play.ask(commands.Cancel, first)
    play.fails(first, "RT0010", blame=blame)
    assert play.status(first) is Status.INVOKED


def test_a_faulty_one_that_is_paused_already_shows_the_bug(play: Play) -> None:
    first = bring_to(play, Status.PAUSED)
    before = len(play.store.events)
    error = AttemptError(500, "bug", "RT0006")
    play.submit(commands.PauseFaulty(now_ms=play.now_ms, invocation_id=first, error=error))
    play.expect()
    assert play.row(first).last_error == error
    assert len(play.store.events) == before


def test_a_kill_passes_over_what_has_been_forgotten(play: Play) -> None:
    parent = play.call("greeter/route")
    play.sdk(parent, call_command("greeter/greet", 1), call_command("greeter/greet", 3))
    gone, open_one = play.children(parent)
    play.sdk_ends(gone)
    play.ask(commands.Purge, gone)
    play.ask(commands.Kill, parent)
    assert (play.status(open_one), play.exists(gone)) == (Status.COMPLETED, False)
    due = [(play.now_ms, InvocationId(NOBODY), wakeups.KILL)]
    play.skip()
    play.submit(commands.TimersDue(now_ms=play.now_ms, due=due))
    play.expect()
