"""Restart as new: from the input, or from a prefix whose commands are all answered."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.core.play import NOW_MS, Ack, Answer, Asked, Play, call_command, deployment, run_done, success
from tests.unit.core.test_operations import bring_to

from rewake.core import commands, ids
from rewake.core.effects import ReplyStatus
from rewake.core.ids import InvocationId
from rewake.core.model import InvokedBy, Status
from rewake.protocol import messages as m

NEW_RANDOM = b"restarted."


def restart(play: Play, invocation_id: InvocationId, **fields: Any) -> InvocationId:
    """The new invocation's id."""
    play.ask(commands.RestartAsNew, invocation_id, random=NEW_RANDOM, **fields)
    play.commit()
    reply = play.replies[-1]
    assert reply.status is ReplyStatus.ACCEPTED
    assert reply.invocation_id is not None
    return reply.invocation_id


@pytest.fixture
def ended(play: Play) -> InvocationId:
    """A run with two steps and a call in between."""
    first = play.call("greeter/route")
    play.run_step(first, 1, b"one")
    play.sdk(first, call_command("greeter/greet", 2))
    (callee,) = play.children(first)
    play.sdk(first, m.RunCommand(4))
    play.sdk_ends(callee)
    play.sdk(first, m.ProposeRunCompletion(4, success(b"two")))
    play.ask(commands.CompleteSignal, first, signal=17, result=success())
    play.sdk_ends(first)
    play.skip()
    return first


def test_from_the_input(play: Play, ended: bytes) -> None:
    play.register(deployment("dp2"))
    play.skip()
    again = restart(play, InvocationId(ended))
    row = play.row(again)
    assert again != ended
    assert again[:8] == ended[:8]
    assert (row.invoked_by, row.restarted_from, row.status) == (InvokedBy.RESTART_AS_NEW, ended, Status.INVOKED)
    assert row.random_seed == ids.random_seed_of(again)
    assert (row.pinned_deployment_id, row.pinned_version, row.branch_of) == (None, None, None)
    assert play.started[again].deployment_id == "dp2"
    assert play.store.entries[again][0].payload == play.store.entries[ended][0].payload
    assert play.journal(again) == []


def test_from_a_prefix_with_the_answers_of_its_commands(play: Play, ended: bytes) -> None:
    """Index 3 is the Call: its id follows it, its result came later."""
    again = restart(play, InvocationId(ended), from_index=3)
    callee = next(row.child for row in play.store.entries[ended] if row.child)
    assert play.journal(again) == [
        m.RunCommand(1),
        run_done(1, b"one"),
        call_command("greeter/greet", 2),
        m.Completion(
            m.MessageType.CALL_INVOCATION_ID_COMPLETION,
            2,
            m.InvocationIdResult(ids.invocation_id_to_str(callee or b"")),
        ),
        m.Completion(m.MessageType.CALL_COMPLETION, 3, success()),
    ]
    row = play.row(again)
    assert (row.random_seed, row.pinned_deployment_id, row.pinned_version) == (ids.random_seed_of(ended), "dp1", 6)
    assert row.command_count == 3
    play.run_step(again, 4)
    play.sdk_ends(again)
    assert play.status(again) is Status.COMPLETED


def test_a_restarted_one_can_be_restarted_from_the_same_call(play: Play, ended: bytes) -> None:
    again = restart(play, InvocationId(ended), from_index=4)
    play.sdk_ends(again)
    play.now_ms += 1
    third = restart(play, again, from_index=3)
    assert play.journal(third) == play.journal(again)[:5]


def test_a_copied_signal_is_complete(play: Play, ended: bytes) -> None:
    last = len(play.journal(InvocationId(ended)))
    again = restart(play, InvocationId(ended), from_index=last)
    play.skip()
    play.ask(commands.CompleteSignal, again, signal=17, result=success(b"other"))
    play.expect(Answer(ReplyStatus.DONE))
    play.sdk(again, m.End())
    assert play.row(again).result == success()


def test_copied_entries_keep_their_facts(play: Play) -> None:
    """Names for operators, failures for awaits, and the count of commands that acknowledgements go by."""
    first = play.call("greeter/route")
    play.sdk(first, m.RunCommand(1, "pick"), m.ProposeRunCompletion(1, m.Failure(500, "no")))
    play.sdk(first, m.RunCommand(2), m.ProposeRunCompletion(2, success()))
    again = restart(play, first, from_index=3)
    rows = play.store.entries[again]
    assert [(row.name, row.is_failure) for row in rows] == [
        ("", False),
        ("pick", False),
        (None, True),
        ("", False),
        (None, False),
    ]
    play.skip()
    play.sdk(again, Asked(m.RunCommand(3)))
    play.expect(Ack(again, m.CommandAck(3)))


@pytest.mark.parametrize("is_evicted", [False, True])
def test_what_was_completed_is_not_completed_once_more_in_the_copy(play: Play, ended: bytes, is_evicted: bool) -> None:
    again = restart(play, InvocationId(ended), from_index=1)
    if is_evicted:
        play.crash()
    play.sdk(again, m.ProposeRunCompletion(1, success(b"other")))
    assert play.row(again).last_error is not None
    assert play.journal(again) == [m.RunCommand(1), run_done(1, b"one")]


@pytest.mark.parametrize(("from_index", "status"), [(1, Status.COMPLETED), (2, Status.INVOKED)])
def test_a_copied_cancel_counts_until_a_command_follows_it(play: Play, from_index: int, status: Status) -> None:
    """An attempt that fails with a cancel in its journal ends as cancelled; a clean-up that has begun is retried."""
    first = play.call("greeter/route")
    play.ask(commands.Cancel, first)
    play.run_step(first, 1)
    again = restart(play, first, from_index=from_index)
    play.fails(again)
    assert play.status(again) is status


def test_killing_a_restarted_one_leaves_the_old_children_alone(play: Play) -> None:
    first = play.call("greeter/route")
    play.sdk(first, call_command("greeter/greet", 1))
    (callee,) = play.children(first)
    play.sdk(first, m.OutputCommand(success()), m.End())
    again = restart(play, first)
    play.ask(commands.Kill, again)
    assert play.status(callee) is Status.INVOKED


def test_a_prefix_that_waits_for_an_answer_cannot_be_kept(play: Play) -> None:
    first = play.call("greeter/greet")
    play.sdk(first, m.RunCommand(1), m.OutputCommand(success()), m.End())
    play.skip()
    play.ask(commands.RestartAsNew, first, random=NEW_RANDOM, from_index=1)
    play.ask(commands.RestartAsNew, first, random=NEW_RANDOM, from_index=9)
    play.expect(Answer(ReplyStatus.INCOMPLETE_PREFIX), Answer(ReplyStatus.INCOMPLETE_PREFIX))


def test_before_the_end_is_committed(play: Play) -> None:
    first = play.call("greeter/greet")
    play.run_step(first, 1)
    play.sdk_ends(first)
    sealed = [play.state.seal()[0]]
    play.ask(commands.RestartAsNew, first, random=NEW_RANDOM, from_index=2)
    sealed.append(play.state.seal()[0])
    for batch in sealed:
        play.store.apply(batch)
        play.state.committed(batch.sequence)
    (again,) = [item.id for item in play.store.invocations.values() if item.restarted_from]
    assert play.journal(again) == [m.RunCommand(1), run_done(1)]


def test_a_journal_dropped_in_this_batch_is_gone(play: Play, ended: bytes) -> None:
    play.ask(commands.Purge, InvocationId(ended), journal_only=True)
    play.ask(commands.RestartAsNew, InvocationId(ended), random=NEW_RANDOM)
    play.expect(Answer(ReplyStatus.DONE), Answer(ReplyStatus.INPUT_GONE))


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (Status.SCHEDULED, ReplyStatus.NOT_STARTED),
        (Status.INBOXED, ReplyStatus.NOT_STARTED),
        (Status.INVOKED, ReplyStatus.IN_PROGRESS),
        (Status.SUSPENDED, ReplyStatus.IN_PROGRESS),
        (Status.PAUSED, ReplyStatus.IN_PROGRESS),
    ],
)
def test_only_what_is_over_can_be_restarted(play: Play, status: Status, answer: ReplyStatus) -> None:
    first = bring_to(play, status)
    play.ask(commands.RestartAsNew, first, random=NEW_RANDOM)
    play.ask(commands.RestartAsNew, InvocationId(b"n" * 24), random=NEW_RANDOM)
    play.expect(Answer(answer), Answer(ReplyStatus.NOT_FOUND))


def test_a_workflow_run_cannot_be_restarted(play: Play) -> None:
    run = play.call("signup/w/run")
    play.sdk_ends(run)
    play.skip()
    play.ask(commands.RestartAsNew, run, random=NEW_RANDOM)
    play.expect(Answer(ReplyStatus.UNSUPPORTED))


def test_the_deployment_may_be_kept_or_named(play: Play, ended: bytes) -> None:
    play.register(deployment("dp2"))
    play.skip()
    kept = restart(play, InvocationId(ended), deployment="keep")
    assert play.started[kept].deployment_id == "dp1"
    play.sdk(kept, m.RunCommand(1))
    assert play.row(kept).pinned_version == 6
    play.ask(commands.RestartAsNew, InvocationId(ended), random=NEW_RANDOM, deployment="dp9")
    play.commit()
    assert play.replies[-1].status is ReplyStatus.DEPLOYMENT_NOT_FOUND


def test_a_restarted_exclusive_one_queues_for_its_key(play: Play) -> None:
    first = bring_to(play, Status.COMPLETED)
    holder = play.call("cart/a/add")
    again = restart(play, first)
    assert (play.status(again), play.row(again).branch_of) == (Status.INBOXED, None)
    play.now_ms = NOW_MS + 5
    play.sdk_ends(holder)
    assert play.status(again) is Status.INVOKED


def test_a_fork_replaces_the_result_of_its_last_step(play: Play, ended: bytes) -> None:
    """Index 1 is the first Run. Nothing of the old invocation changes."""
    before = list(play.store.entries[ended])
    again = restart(play, InvocationId(ended), from_index=1, deployment="keep", result=b"uno")
    assert play.journal(again) == [m.RunCommand(1), run_done(1, b"uno")]
    assert play.store.entries[again][-1].name is None
    assert play.store.entries[ended] == before
    assert play.row(again).random_seed == ids.random_seed_of(ended)
    play.sdk_ends(again)
    assert play.status(again) is Status.COMPLETED


@pytest.mark.parametrize("index", [0, 2, 3])
def test_only_a_step_has_a_result_to_replace(play: Play, ended: bytes, index: int) -> None:
    """The input, a notification and a call are no steps."""
    play.ask(commands.RestartAsNew, InvocationId(ended), random=NEW_RANDOM, from_index=index, result=b"uno")
    play.expect(Answer(ReplyStatus.NO_STEP))


def test_no_step_has_an_index_beyond_the_end(play: Play, ended: bytes) -> None:
    rows = play.store.entries[ended]
    play.ask(commands.RestartAsNew, InvocationId(ended), random=NEW_RANDOM, from_index=len(rows), result=b"uno")
    play.expect(Answer(ReplyStatus.INCOMPLETE_PREFIX))


# Forks of what is still open


@pytest.fixture
def halfway(play: Play) -> InvocationId:
    """A run that has done a step and is at the next; index 3 is that."""
    first = play.call("greeter/route")
    play.run_step(first, 1, b"one")
    play.sdk(first, m.RunCommand(2))
    play.skip()
    return first


@pytest.mark.parametrize("status", [Status.INVOKED, Status.SUSPENDED, Status.PAUSED])
def test_an_open_one_can_be_forked(play: Play, halfway: bytes, status: Status) -> None:
    """And goes on as if nothing had happened."""
    if status is Status.SUSPENDED:
        play.suspend(InvocationId(halfway), signals=(17,))
    elif status is Status.PAUSED:
        play.ask(commands.Pause, InvocationId(halfway))
        play.fails(InvocationId(halfway))
    before = (play.row(InvocationId(halfway)), list(play.store.entries[halfway]))
    fork = restart(play, InvocationId(halfway), from_index=1, deployment="keep")
    assert play.journal(fork) == [m.RunCommand(1), run_done(1, b"one")]
    assert (play.row(InvocationId(halfway)), play.store.entries[halfway]) == before
    play.run_step(fork, 2)
    play.sdk_ends(fork)
    assert (play.status(fork), play.status(InvocationId(halfway))) == (Status.COMPLETED, status)
    if status is Status.INVOKED:
        play.sdk(InvocationId(halfway), m.ProposeRunCompletion(2, success(b"two")))
        play.sdk_ends(InvocationId(halfway))
        assert play.status(InvocationId(halfway)) is Status.COMPLETED


def test_a_step_under_way_may_be_given_a_result(play: Play, halfway: bytes) -> None:
    play.ask(commands.RestartAsNew, InvocationId(halfway), random=NEW_RANDOM, from_index=3)
    play.expect(Answer(ReplyStatus.INCOMPLETE_PREFIX))
    fork = restart(play, InvocationId(halfway), from_index=3, result=b"by hand")
    assert play.journal(fork) == [m.RunCommand(1), run_done(1, b"one"), m.RunCommand(2), run_done(2, b"by hand")]


def test_a_replaced_result_stays_where_it_was_among_the_others(play: Play) -> None:
    """Who won a race is decided by the order of the journal."""
    first = play.call("greeter/route")
    play.sdk(first, m.RunCommand(1), m.RunCommand(2))
    play.sdk(first, m.ProposeRunCompletion(2, success(b"two")), m.ProposeRunCompletion(1, success(b"one")))
    fork = restart(play, first, from_index=2, result=b"dos")
    assert play.journal(fork) == [m.RunCommand(1), m.RunCommand(2), run_done(2, b"dos"), run_done(1, b"one")]


@pytest.mark.parametrize("is_open", [False, True])
def test_a_result_that_was_the_last_to_come_stays_that(play: Play, is_open: bool) -> None:
    """And one that has not come follows all that has."""
    first = play.call("greeter/route")
    play.sdk(first, m.RunCommand(1), m.RunCommand(2), m.RunCommand(3), m.ProposeRunCompletion(1, success(b"one")))
    if not is_open:
        play.sdk(first, m.ProposeRunCompletion(2, success(b"two")))
    fork = restart(play, first, from_index=2, result=b"dos")
    assert play.journal(fork) == [m.RunCommand(1), m.RunCommand(2), run_done(1, b"one"), run_done(2, b"dos")]


def test_a_fork_of_a_holder_queues_behind_it(play: Play) -> None:
    first, second = play.call("cart/a/add"), play.call("cart/a/add")
    play.run_step(first, 1)
    fork = restart(play, first, from_index=1)
    assert [play.status(item) for item in (first, second, fork)] == [Status.INVOKED, Status.INBOXED, Status.INBOXED]
    play.sdk_ends(first)
    play.sdk_ends(second)
    assert play.status(fork) is Status.INVOKED


def test_a_workflow_run_cannot_be_forked(play: Play) -> None:
    """Its key is its own, and its promises cannot be there twice."""
    run = play.call("signup/w/run")
    play.run_step(run, 1)
    play.skip()
    play.ask(commands.RestartAsNew, run, random=NEW_RANDOM, from_index=1)
    play.expect(Answer(ReplyStatus.UNSUPPORTED))


# Awakeables


def tell(play: Play, *signals: int) -> InvocationId:
    """A run that has given out ids of awakeables in a step, and waits for all of them."""
    first = play.call("greeter/route")
    told = " ".join(ids.awakeable_id_format(first, signal) for signal in signals)
    play.run_step(first, 1, f'"{told}"'.encode())
    play.suspend(first, signals=signals)
    play.skip()
    return first


def test_an_answer_that_is_still_to_come_would_not_reach_a_fork(play: Play) -> None:
    first = tell(play, 17, 18)
    play.ask(commands.CompleteSignal, first, signal=17, result=success(b"yes"))
    play.skip()
    play.ask(commands.RestartAsNew, first, random=NEW_RANDOM, from_index=1)
    play.ask(commands.RestartAsNew, first, random=NEW_RANDOM, from_index=2, result=b"{}")
    play.expect(Answer(ReplyStatus.OPEN_AWAKEABLE), Answer(ReplyStatus.NO_STEP))
    replaced = restart(play, first, from_index=1, result=b'"told nobody"')
    assert play.journal(replaced) == [m.RunCommand(1), run_done(1, b'"told nobody"')]


def test_an_answer_that_has_come_goes_with_the_fork(play: Play) -> None:
    """From before the answer and from after it, and also into a fork of the fork; another awakeable's does not."""
    first = tell(play, 17)
    play.ask(commands.CompleteSignal, first, signal=17, result=success(b"yes"))
    play.run_step(first, 2)
    play.ask(commands.CompleteSignal, first, signal=18, result=success(b"other"))
    kept = play.journal(first)[:3]
    assert kept[-1] == m.Signal(17, success(b"yes"))
    fork = restart(play, first, from_index=1)
    assert play.journal(fork) == kept
    for _ in range(3):
        play.now_ms += 1
        fork = restart(play, fork, from_index=1)
        assert play.journal(fork) == kept
    play.now_ms += 1
    assert play.journal(restart(play, first, from_index=3)) == kept


def test_a_run_can_be_forked_when_its_origin_is_gone(play: Play, ended: bytes) -> None:
    again = restart(play, InvocationId(ended), from_index=1)
    play.ask(commands.Purge, InvocationId(ended))
    play.now_ms += 1
    assert play.journal(restart(play, again, from_index=1)) == play.journal(again)


def test_a_trace_goes_on_in_the_new_run(play: Play) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    first = play.call("greeter/greet", traceparent=trace)
    play.sdk_ends(first)
    assert play.row(restart(play, first)).traceparent == trace


def test_awakeables_of_others_do_not_matter(play: Play) -> None:
    other, first = tell(play, 17), play.call("greeter/route")
    play.run_step(first, 1, ids.awakeable_id_format(other, 17).encode())
    assert len(play.journal(restart(play, first, from_index=1))) == 2
