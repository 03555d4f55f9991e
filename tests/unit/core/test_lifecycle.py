"""Lifecycle: legal moves only, in one place, and what is ready begins at the end of the command."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from tests.unit.core.play import ABORT, NOW_MS, Answer, Close, Done, Play, Start, Tell, call_command, success, target_of

import rewake.core
from rewake.core import commands, lifecycle
from rewake.core.effects import Note, ReplyStatus
from rewake.core.errors import EngineBug
from rewake.core.ids import InvocationId, invocation_id_to_str
from rewake.core.lifecycle import KILLED, MOVES
from rewake.core.model import Blame, Invocation, Status
from rewake.protocol import messages as m

CORE = Path(rewake.core.__file__).parent
ILLEGAL = [(before, to) for before in Status for to in Status if (before, to) not in MOVES]


def test_every_status_has_a_way_in_and_a_way_out() -> None:
    assert {before for before, _ in MOVES} == {to for _, to in MOVES} == {None, *Status}


@pytest.mark.parametrize(("before", "to"), ILLEGAL)
def test_a_move_that_is_not_listed_is_a_bug_that_names_the_invocation(before: Status, to: Status) -> None:
    invocation = Invocation(InvocationId(b"i" * 24), target_of("greeter/greet"), 0, 0, before)
    with pytest.raises(EngineBug, match=f"from {before.name} to {to.name} .inv_1") as caught:
        lifecycle.move(invocation, to)
    assert (caught.value.invocation_id, invocation.status) == (invocation.id, before)


def test_what_has_begun_is_not_forgotten_before_it_is_completed(play: Play) -> None:
    first = play.state.invocation(play.call("greeter/greet"))
    assert first is not None
    with pytest.raises(EngineBug, match="from INVOKED to forgotten .inv_1"):
        lifecycle.forget(play.state, first)
    with pytest.raises(EngineBug, match="from INVOKED to forgotten .inv_1"):
        lifecycle.forget_unstarted(play.state, first, KILLED, play.now_ms)


def test_only_the_lifecycle_changes_a_status() -> None:
    setters = set()
    for path in CORE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            setters |= {path.name for each in targets if isinstance(each, ast.Attribute) and each.attr == "status"}
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Invocation":
                setters |= {path.name for keyword in node.keywords if keyword.arg == "status"}
    assert setters == {"lifecycle.py"}


def test_one_that_gets_its_key_and_is_killed_in_one_command_never_begins(play: Play) -> None:
    """The end of the holder gives the key to the queued one, which the same kill reaches next."""
    root = play.call("greeter/route")
    play.sdk(root, call_command("greeter/route", 1), call_command("greeter/route", 3))
    late, early = play.children(root)
    play.sdk(early, call_command("cart/a/add", 1))
    play.sdk(late, call_command("cart/a/add", 1))
    (holder,), (queued,) = play.children(early), play.children(late)
    waiting = play.call("cart/a/add")
    play.skip()
    play.ask(commands.Kill, root)
    killed = [effect for each in (root, early, holder, late) for effect in (Close(each, ABORT), Done(each, KILLED))]
    play.expect(*killed, Done(queued, KILLED), Answer(ReplyStatus.DONE), Start(waiting))
    assert not play.exists(queued)


def test_one_that_was_woken_twice_in_one_command_begins_once(play: Play) -> None:
    first, sender = play.call("cart/a/add"), play.call("greeter/route")
    play.suspend(first, named_signals=("news",))
    play.skip()
    news = m.SendSignalCommand(invocation_id_to_str(first), "news", success())
    play.sdk(sender, news, news)
    play.expect(Start(first))


def test_no_one_begins_without_its_key(play: Play) -> None:
    play.call("cart/a/add")
    queued = play.call("cart/a/add")
    play.state.ready.append(queued)
    play.ask(commands.Attach, queued, wait=False)
    assert play.status(queued) is Status.INBOXED


# What a move leaves in the row


def test_each_change_of_status_has_its_time(play: Play) -> None:
    first = play.call("cart/a/add", at_ms=NOW_MS + 1)
    second = play.call("cart/a/add", at_ms=NOW_MS + 2)

    def modified(invocation_id: InvocationId) -> tuple[Status, int]:
        row = play.row(invocation_id)
        return row.status, row.modified_at_ms - NOW_MS

    play.time(1)
    play.time(1)
    assert [modified(first), modified(second)] == [(Status.INVOKED, 1), (Status.INBOXED, 2)]
    play.now_ms += 1
    play.suspend(first, signals=(17,))
    assert modified(first) == (Status.SUSPENDED, 3)
    play.now_ms += 1
    play.ask(commands.Pause, first)
    assert modified(first) == (Status.PAUSED, 4)
    play.now_ms += 1
    play.ask(commands.Resume, first)
    assert modified(first) == (Status.INVOKED, 5)
    play.now_ms += 1
    play.sdk_ends(first)
    assert modified(first) == (Status.COMPLETED, 6)
    assert play.row(first).completed_at_ms == NOW_MS + 6


def test_a_run_remembers_when_and_where_it_began(play: Play) -> None:
    first = play.call("cart/a/add")
    play.fails(first)
    play.time(100_000)
    row = play.row(first)
    assert (row.running_at_ms, row.last_start_at_ms) == (NOW_MS, play.now_ms)
    assert row.last_deployment_id == "dp1"
    plain = play.call("greeter/greet", key="once")
    play.commit()
    assert (play.started[first].key, play.started[plain].key) == ("a", "")
    assert (play.row(first).idempotency_key, play.row(plain).idempotency_key) == (None, "once")


def test_a_trace_goes_from_the_caller_to_the_callee(play: Play) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    first = play.call("greeter/route", traceparent=trace)
    play.sdk(first, call_command("greeter/greet", 1))
    (callee,) = play.children(first)
    untraced = play.call("greeter/greet")
    assert [play.row(each).traceparent for each in (first, callee, untraced)] == [trace, trace, None]


def test_one_that_was_paused_is_not_said_to_go_on_from_a_suspension(play: Play) -> None:
    first = play.call("greeter/greet")
    play.suspend(first, signals=(17,))
    play.ask(commands.Pause, first)
    play.ask(commands.Resume, first)
    play.commit()
    assert not play.started[first].is_resumed


def test_a_pause_is_recorded_and_logged_with_its_facts(play: Play) -> None:
    first = play.call("greeter/greet")
    play.suspend(first, signals=(17,))
    play.ask(commands.Pause, first)
    (note,) = [effect for effect in play.state.effects if isinstance(effect, Note)]
    assert note == Note("invocation_paused", first, {"target": "greeter/greet"}, is_warning=True)
    assert play.row(first).kill_count == 0
    assert [(event.event_type, event.data) for event in play.store.events] == [("Paused", '{"ty": "Paused"}')]


def test_a_pause_shows_the_last_failure_and_forgets_what_was_counted(play: Play) -> None:
    first = play.call("greeter/greet")
    play.fails(first, blame=Blame.ALONE)
    play.ask(commands.Pause, first)
    row = play.row(first)
    assert (row.retry_count, row.kill_count) == (0, 0)
    paused = play.store.events[-1]
    assert (paused.event_type, json.loads(paused.data)["last_failure"]["error_message"]) == ("Paused", "broke")


def test_what_was_given_before_a_suspension_does_not_wake_it_in_the_same_batch(play: Play) -> None:
    first = play.call("greeter/greet")
    play.ask(commands.Cancel, first)
    play.suspend(first, signals=(1, 17))
    play.ask(commands.CompleteSignal, first, signal=18, result=success())
    assert play.status(first) is Status.SUSPENDED


def test_a_run_that_begins_anew_in_one_batch_has_nothing_of_the_one_before(play: Play) -> None:
    run = play.call("signup/w/run")
    play.ask(commands.CompleteSignal, run, signal=17, result=success())
    play.sdk_ends(run)
    play.commit()
    play.ask(commands.Purge, run)
    assert play.call("signup/w/run") == run
    play.skip()
    play.ask(commands.CompleteSignal, run, signal=17, result=success())
    play.expect(Tell(run, m.Signal(17, success())), Answer(ReplyStatus.ACCEPTED))


# Who waits for whom


@pytest.mark.parametrize("waits_by", ["call", "attach"])
def test_one_that_ends_while_it_waits_leaves_no_place_behind(play: Play, waits_by: str) -> None:
    callee, caller = play.call("greeter/greet"), play.call("greeter/route")
    if waits_by == "call":
        play.sdk(caller, call_command("greeter/greet", 1))
    else:
        play.sdk(caller, m.AttachInvocationCommand(m.InvocationIdTarget(invocation_id_to_str(callee)), 1))
    play.commit()
    assert any(play.store.listener_rows.values())
    play.sdk_ends(caller)
    play.commit()
    assert not any(play.store.listener_rows.values())


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_result_is_given_once_and_the_places_of_others_stay(play: Play, is_stored: bool) -> None:
    caller = play.call("greeter/route")
    play.sdk(caller, call_command("greeter/greet", 1), call_command("greeter/greet", 3))
    early, late = [row.child for row in play.state.batch.entries if row.child is not None]
    if is_stored:
        play.commit()
    play.ask(commands.Kill, early)
    play.commit()
    waiting = {callee: rows for callee, rows in play.store.listener_rows.items() if rows}
    assert list(waiting) == [late]


def test_a_cancelled_one_that_waits_in_line_is_told_so(play: Play) -> None:
    play.call("cart/a/add")
    second = play.call("cart/a/add")
    play.skip()
    play.ask(commands.Cancel, second)
    play.expect(Done(second, m.Failure(409, "canceled")), Answer(ReplyStatus.DONE))


# What is kept


def test_the_state_of_an_object_outlives_its_runs(play: Play) -> None:
    first = play.call("cart/a/add")
    play.sdk(first, m.SetStateCommand(b"x", b"1"))
    play.sdk_ends(first)
    play.ask(commands.Purge, first)
    play.commit()
    assert (play.exists(first), play.store.state("cart", "a")) == (False, {b"x": b"1"})


@pytest.mark.parametrize(
    ("result_ms", "journal_ms", "purges"), [(1, 1, (1, None)), (5, 5, (5, None)), (5, 1, (5, 1)), (5, 9, (5, None))]
)
def test_what_is_kept_has_its_deadlines(result_ms: int, journal_ms: int, purges: tuple[int, int | None]) -> None:
    play = Play(idempotency_retention_ms=result_ms, journal_retention_ms=journal_ms)
    first = play.call("greeter/greet", key="once")
    play.sdk_ends(first)
    row = play.row(first)
    journal_at_ms = None if row.journal_purge_at_ms is None else row.journal_purge_at_ms - NOW_MS
    assert ((row.purge_at_ms or 0) - NOW_MS, journal_at_ms) == purges


def test_a_journal_that_is_dropped_is_empty_at_once(play: Play) -> None:
    first = play.call("greeter/greet")
    play.run_step(first, 1)
    play.sdk_ends(first)
    play.ask(commands.Purge, first, journal_only=True)
    item = play.state.invocation(first)
    assert item is not None
    assert (item.journal_length, item.command_count) == (0, 0)
