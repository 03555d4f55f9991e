"""The live state: a cache of committed rows plus the batches on their way."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Final

import pytest
from tests.unit.core.play import NOW_MS, Play, call_command, success

from rewake.core import commands
from rewake.core.effects import ArmTimer
from rewake.core.errors import EngineBug
from rewake.core.ids import CompletionId, EntryIndex, Epoch, InvocationId
from rewake.core.model import Listener, Promise, Status
from rewake.core.settings import IDLE_INSTANCES_MAX, IDLE_STATE_BYTES_MAX, Settings
from rewake.core.state import State, check, summarize
from rewake.core.writes import EntryRow, EventRow
from rewake.protocol import messages as m


def test_memory_holds_what_runs_and_nothing_else(play: Play) -> None:
    running = play.call("cart/a/add")
    play.call("cart/a/add")
    play.call("greeter/greet", at_ms=NOW_MS + 10)
    suspended = play.call("greeter/greet")
    play.suspend(suspended, signals=(17,))
    play.sdk_ends(play.call("greeter/greet"))
    play.sdk_ends(play.call("cart/b/add"))
    play.commit()
    assert list(play.state.invocations) == [running]
    assert list(play.state.instances) == [("cart", "a"), ("cart", "b")]  # b is free, but was used lately
    play.sdk_ends(running)
    play.commit()
    assert len(play.state.invocations) == 1
    assert not play.state.has_work


def test_reads_do_not_see_a_batch_that_is_under_way(play: Play) -> None:
    """Two batches sealed, none committed: what the first did must be in memory still."""
    first = play.call("greeter/route")
    play.commit()
    sealed = []
    play.state.invocations[first].attempt  # noqa: B018
    play.ask(commands.Cancel, first)
    sealed.append(play.state.seal()[0])
    play.ask(commands.Kill, first)
    play.ask(commands.Purge, first)
    sealed.append(play.state.seal()[0])
    assert play.state.invocation(first) is None
    play.ask(commands.Attach, first, wait=True)
    sealed.append(play.state.seal()[0])
    for batch in sealed:
        play.store.apply(batch)
        play.state.committed(batch.sequence)
    assert not play.exists(first)
    assert play.state.invocations == {}


def test_timers_that_are_not_stored_yet_are_known(play: Play) -> None:
    """Those of the open batch and of a sealed one, but none that was deleted again."""
    waiting, killed = (play.call("greeter/greet", at_ms=NOW_MS + 10) for _ in range(2))
    assert [timer[1] for timer in play.state.unstored_timers()] == [waiting, killed]
    play.ask(commands.Kill, killed)
    sealed, _ = play.state.seal()
    assert [timer[1] for timer in play.state.unstored_timers()] == [waiting]
    play.store.apply(sealed)
    play.state.committed(sealed.sequence)
    assert play.state.unstored_timers() == []


def test_committing_one_batch_keeps_what_the_next_still_writes(play: Play) -> None:
    first = play.call("greeter/greet")
    play.commit()
    play.sdk(first, m.Suspension(m.Future((), (17,))))
    before, _ = play.state.seal()
    play.ask(commands.CompleteSignal, first, signal=18, result=success())
    play.store.apply(before)
    play.state.committed(before.sequence)
    assert first in play.state.invocations
    play.commit()
    assert first not in play.state.invocations


def test_a_batch_of_reads_alone_is_empty_and_still_lets_go(play: Play) -> None:
    first = play.call("greeter/greet")
    play.sdk_ends(first)
    play.skip()
    play.ask(commands.Attach, first, wait=False)
    assert play.state.has_work
    batch, effects = play.state.seal()
    assert batch.is_empty
    assert len(effects) == 1
    play.state.committed(batch.sequence)
    assert play.state.invocations == {}


def test_each_invocation_is_written_once_per_batch_as_it_is_at_its_end(play: Play) -> None:
    first = play.call("greeter/greet")
    play.ask(commands.Cancel, first)
    play.ask(commands.Kill, first)
    batch, _ = play.state.seal()
    assert [item.status for item in batch.inserts] == [Status.COMPLETED]
    assert batch.updates == []
    assert batch.inserts[0] is not play.state.invocations[first]


def test_the_next_sequence_follows_the_stored_ones(play: Play) -> None:
    for _ in range(3):
        play.call("cart/a/add")
    play.skip()
    assert State(play.store).next_inbox_sequence() == 3


def test_a_journal_is_summed_up_from_its_rows(play: Play) -> None:
    first = play.call("greeter/route")
    play.sdk(first, call_command("greeter/greet", 1), m.RunCommand(3), m.SleepCommand(NOW_MS + 5, 4))
    play.sdk(first, m.ProposeRunCompletion(3, success()))
    play.ask(commands.CompleteSignal, first, signal=17, result=success())
    play.ask(commands.Cancel, first)
    play.commit()
    known = play.state.invocations[first].journal
    play.crash()
    item = play.state.invocation(first)
    assert item is not None
    assert play.state.journal_of(item) == known
    assert known is not None
    assert known.pending == {2: m.MessageType.CALL_COMPLETION, 4: m.MessageType.SLEEP_COMPLETION}
    assert known.signals == {17}


def test_a_journal_in_a_batch_is_without_that_of_a_deleted_one_with_its_id(play: Play) -> None:
    run = play.call("signup/w/run")
    play.run_step(run, 1)
    play.sdk_ends(run)
    play.commit()
    play.ask(commands.Purge, run)
    assert play.call("signup/w/run") == run
    assert [row.index for row in play.state.entries_of(play.state.invocations[run])] == [0]


def test_what_must_hold_is_checked(play: Play) -> None:
    first = play.call("cart/a/add")
    play.commit()
    play.state.invocations[first].status = Status.SUSPENDED
    with pytest.raises(EngineBug, match="SUSPENDED has what does not fit"):
        play.state.check()


FIRST: Final = InvocationId(b"f" * 24)
AWAITS: Final = m.Future((), (17,))
FITTING: Final[dict[str, dict[str, Any]]] = {
    "runs": {},
    "waits for its next try": {"attempt": None, "next_retry_at_ms": NOW_MS},
    "suspended": {"status": Status.SUSPENDED, "attempt": None, "awaiting": AWAITS},
    "paused": {"status": Status.PAUSED, "attempt": None},
    "completed": {"status": Status.COMPLETED, "attempt": None, "result": success()},
}
NOT_FITTING: Final[dict[str, dict[str, Any]]] = {
    "neither runs nor waits": {"attempt": None},
    "runs and waits for its next try": {"next_retry_at_ms": NOW_MS},
    "runs in another attempt": {"epoch": Epoch(77)},
    "runs and is suspended": {"awaiting": AWAITS},
    "runs and has a result": {"result": success()},
    "suspended on nothing": {"status": Status.SUSPENDED, "attempt": None},
    "suspended and runs": {"status": Status.SUSPENDED, "awaiting": AWAITS},
    "completed without a result": {"status": Status.COMPLETED, "attempt": None},
    "completed and runs": {"status": Status.COMPLETED, "result": success()},
}


@pytest.mark.parametrize("name", [*FITTING, *NOT_FITTING])
def test_fields_fit_the_status(play: Play, name: str) -> None:
    item = play.state.invocations[play.call("greeter/greet")]
    check(item)
    for field, value in (FITTING | NOT_FITTING)[name].items():
        setattr(item, field, value)
    with nullcontext() if name in FITTING else pytest.raises(EngineBug, match="what does not fit"):
        check(item)


def test_a_key_is_not_held_by_one_that_has_ended(play: Play) -> None:
    holder = play.state.invocations[play.call("cart/a/add")]
    play.state.check()
    for field, value in FITTING["completed"].items():
        setattr(holder, field, value)
    with pytest.raises(AssertionError, match="cart"):
        play.state.check()


def test_a_row_that_contradicts_itself_is_not_written(play: Play) -> None:
    first = play.call("greeter/greet")
    play.state.invocations[first].result = success()
    with pytest.raises(EngineBug) as caught:
        play.state.seal()
    assert caught.value.invocation_id == first


def test_settings_without_any_are_the_defaults() -> None:
    assert State(Play().store).settings == Settings()


def test_keys_that_are_free_stay_in_memory_while_there_is_room() -> None:
    play = Play(Settings(idle_instances_max=2, idle_state_bytes_max=4))
    for key, value in (("a", b"1"), ("b", b"1"), ("big", b"12345"), ("c", b"1")):
        holder = play.call(f"cart/{key}/add")
        play.sdk(holder, m.SetStateCommand(b"x", value))
        play.sdk_ends(holder)
        play.commit()
    assert list(play.state.instances) == [("cart", "b"), ("cart", "c")]
    again = play.call("cart/b/add")
    play.commit()
    assert play.started[again].state == ((b"x", b"1"),)
    play.suspend(again, signals=(17,))
    play.commit()
    assert list(play.state.instances) == [("cart", "c")]
    play.call("cart/c/view")
    play.commit()
    assert list(play.state.instances) == [("cart", "c")]


@pytest.mark.parametrize(("size", "is_kept"), [(IDLE_STATE_BYTES_MAX, True), (IDLE_STATE_BYTES_MAX + 1, False)])
def test_a_key_that_is_free_stays_with_state_up_to_a_size(play: Play, size: int, is_kept: bool) -> None:
    holder = play.call("cart/a/add")
    play.sdk(holder, m.SetStateCommand(b"x", bytes(size)))
    play.sdk_ends(holder)
    play.commit()
    assert (("cart", "a") in play.state.instances) == is_kept


def test_so_many_keys_that_are_free_stay(play: Play) -> None:
    for key in range(IDLE_INSTANCES_MAX + 1):
        play.sdk_ends(play.call(f"cart/{key}/add"))
    play.commit()
    assert len(play.state.instances) == IDLE_INSTANCES_MAX
    assert ("cart", "0") not in play.state.instances and ("cart", "1") in play.state.instances


def test_one_that_ends_waiting_leaves_the_others_in_line(play: Play) -> None:
    first, second = play.call("greeter/route"), play.call("greeter/route")
    for caller in (first, second):
        play.sdk(caller, call_command("greeter/greet", 1, key="k"))
    callee = play.children(first)[0]
    runs = [play.call(f"signup/{key}/run") for key in ("a", "b")]
    for run in runs:
        play.sdk(run, m.GetPromiseCommand("p", 1))
    looks = [play.call(f"signup/{key}/look") for key in ("a", "b")]
    for look in looks:
        play.sdk(look, m.GetPromiseCommand("p", 1))
    play.state.promise("signup", "b", "p")
    play.sdk_ends(first)
    play.state.promise("signup", "a", "p")
    play.sdk_ends(runs[0])
    play.sdk_ends(callee)
    assert play.journal(second)[-1] == m.Completion(m.MessageType.CALL_COMPLETION, 2, success())
    play.sdk(looks[0], m.CompletePromiseCommand("p", success(), 2))
    assert [len(play.journal(look)) for look in looks] == [4, 1]


def test_one_that_starts_to_wait_and_ends_in_one_batch_leaves_no_place(play: Play) -> None:
    run = play.call("signup/a/run")
    play.sdk(run, m.GetPromiseCommand("p", 1), m.OutputCommand(success()), m.End())
    play.commit()
    assert not any(play.store.promise_listeners.values())


def test_what_two_batches_use_stays_until_the_second_is_committed(play: Play) -> None:
    play.call("signup/a/run")
    sealed = []
    for key in ("a", "b"):
        play.state.promise("signup", key, "p")
        play.state.promise("signup", "a", "p")
        play.state.instance("cart", "a")
        sealed.append(play.state.seal()[0])
    play.store.apply(sealed[0])
    play.state.committed(sealed[0].sequence)
    assert set(play.state.promises) == {("signup", "a", "p"), ("signup", "b", "p")}
    assert ("cart", "a") in play.state.instances
    play.state.forget_promises("signup", "b")
    play.store.apply(sealed[1])
    play.state.committed(sealed[1].sequence)
    assert play.state.promises == {}


def test_a_place_of_somebody_unknown_is_passed_over(play: Play) -> None:
    """No batch of ours leaves one behind; a database that has one must still work."""
    callee, look = play.call("greeter/greet"), play.call("signup/w/look")
    play.suspend(callee, signals=(17,))
    play.commit()
    nobody = Listener(InvocationId(b"n" * 24), CompletionId(1), m.MessageType.CALL_COMPLETION)
    play.store.listener_rows[callee] = [nobody]
    play.store.promises["signup", "w", "p"] = Promise("signup", "w", "p")
    play.store.promise_listeners["signup", "w", "p"] = [nobody]
    play.ask(commands.Kill, callee)
    play.sdk(look, m.CompletePromiseCommand("p", success(), 1))
    assert play.status(callee) is Status.COMPLETED
    assert play.row(look).last_error is None


def waiter(caller: bytes) -> Listener:
    return Listener(InvocationId(caller * 24), CompletionId(1), m.MessageType.CALL_COMPLETION)


def test_completed_promises_are_forgotten_until_the_store_has_forgotten_them(play: Play) -> None:
    """Those of one key; an open one keeps who waits for it."""
    name = ("signup", "w")
    for promise in ("open", "one", "two", "three"):
        play.store.promises[*name, promise] = Promise(*name, promise, None if promise == "open" else success())
    play.store.promise_listeners[*name, "open"] = [waiter(b"a")]
    before = play.state.seal()[0]
    play.state.forget_promises(*name)
    forgetting = play.state.seal()[0]
    assert play.state.promise(*name, "open").listeners == [waiter(b"a")]
    assert play.state.promise(*name, "one").result is None
    play.state.committed(before.sequence)
    assert play.state.promise(*name, "two").result is None
    play.state.committed(forgetting.sequence)
    assert play.state.promise(*name, "three").result == success()  # of a later run with this key


def test_promises_of_other_keys_are_not_forgotten(play: Play) -> None:
    keys = [("signup", key, name) for key in ("a", "b") for name in ("done", "open")]
    for key in keys:
        play.state.promise(*key).result = play.state.batch.promises[key] = None if key[2] == "open" else success()
    play.state.forget_promises("signup", "a")
    assert play.state.batch.promises == {keys[1]: None, keys[2]: success(), keys[3]: None}
    assert [play.state.promise(*key).result for key in keys] == [None, None, success(), None]


def test_one_that_was_deleted_stays_so_until_the_store_has_deleted_it(play: Play) -> None:
    first = play.call("signup/w/run")
    play.sdk_ends(first)
    ended = play.state.seal()[0]
    play.ask(commands.Purge, first)
    play.state.seal()
    play.store.apply(ended)
    play.state.committed(ended.sequence)
    assert play.state.invocation(first) is None


def test_what_a_batch_has_of_one_that_is_gone_is_taken_back(play: Play) -> None:
    gone, other = play.call("greeter/greet"), play.call("greeter/greet")
    batch, item = play.state.batch, play.state.invocations[gone]
    batch.listeners = [(gone, waiter(b"a")), (other, waiter(b"a"))]
    batch.events = [EventRow(each, EntryIndex(0), NOW_MS, "failed", "{}") for each in (gone, other)]
    play.state.drop_journal(item)
    assert [row.invocation_id for row in batch.events] == [other]
    play.state.delete(item)
    assert batch.listeners == [(other, waiter(b"a"))]


def test_one_that_has_ended_waits_for_nothing(play: Play) -> None:
    ended = play.call("greeter/greet")
    by_ended = Listener(ended, CompletionId(1), m.MessageType.CALL_COMPLETION)
    play.state.batch.listeners = [(InvocationId(b"c" * 24), each) for each in (by_ended, waiter(b"a"))]
    promise = play.state.promise("signup", "w", "p")
    promise.listeners = [by_ended, waiter(b"a")]
    play.state.abandon(play.state.invocations[ended])
    assert [row[1] for row in play.state.batch.listeners] == [waiter(b"a")]
    assert promise.listeners == [waiter(b"a")]


def test_each_kind_of_work_is_work(play: Play) -> None:
    item = play.state.invocations[play.call("greeter/greet")]
    play.commit()
    assert not play.state.has_work
    play.state.emit(ArmTimer(NOW_MS))
    assert play.state.has_work
    play.commit()
    play.state.hold(item)
    assert play.state.has_work
    play.commit()
    play.state.batch.mutations[1] = None
    assert play.state.has_work
    play.commit()
    assert not play.state.has_work


def test_a_journal_has_what_is_on_its_way_to_the_store(play: Play) -> None:
    first = play.call("greeter/greet")
    batch = play.state.seal()[0]
    item = play.state.invocations[first]
    assert [row.index for row in play.state.entries_of(item)] == [0]
    play.store.apply(batch)
    play.state.committed(batch.sequence)
    play.store.entries[first].clear()
    assert play.state.entries_of(item) == []  # the store alone is asked


def test_nothing_is_kept_of_promises_that_are_committed(play: Play) -> None:
    play.state.promise("signup", "w", "p")
    play.commit()
    assert (play.state.promises, vars(play.state)["_held_promises"]) == ({}, {})


def test_a_key_that_is_free_outlives_its_readers(play: Play) -> None:
    view = play.call("cart/a/view")
    play.commit()
    play.suspend(view, signals=(17,))
    play.commit()
    assert (play.state.invocations, list(play.state.instances)) == ({}, [("cart", "a")])


def test_a_result_is_no_longer_pending_when_its_rows_are_summed_up() -> None:
    rows = [
        EntryRow(FIRST, EntryIndex(0), m.MessageType.GET_LAZY_STATE, b"", NOW_MS, completion_id=CompletionId(1)),
        EntryRow(
            FIRST, EntryIndex(1), m.MessageType.GET_LAZY_STATE_COMPLETION, b"", NOW_MS, completion_id=CompletionId(1)
        ),
    ]
    assert list(summarize(rows[:1]).pending) == [1]
    assert summarize(rows).pending == {}


def test_a_cancellation_is_the_last_thing_until_a_command_follows() -> None:
    rows = [
        EntryRow(FIRST, EntryIndex(0), m.MessageType.SIGNAL, b"", NOW_MS, signal=m.CANCEL_SIGNAL),
        EntryRow(FIRST, EntryIndex(1), m.MessageType.OUTPUT, b"", NOW_MS),
    ]
    assert summarize(rows[:1]).cancelled_at == 0
    assert summarize(rows).cancelled_at is None


def test_one_that_has_ended_leaves_the_listeners_that_were_read_from_the_store(play: Play) -> None:
    ended, callee = play.call("greeter/greet"), play.call("greeter/greet")
    play.suspend(callee, signals=(17,))
    play.commit()
    by_ended = Listener(ended, CompletionId(1), m.MessageType.CALL_COMPLETION)
    play.store.listener_rows[callee] = [by_ended, waiter(b"a")]
    item = play.state.invocation(callee)
    assert item is not None
    item.listeners = None
    assert play.state.listeners_of(item) == [by_ended, waiter(b"a")]
    play.state.abandon(play.state.invocations[ended])
    assert item.listeners == [waiter(b"a")]
    play.state.check()
    assert play.state.take_listeners(item) == [waiter(b"a")]
    play.state.check()
