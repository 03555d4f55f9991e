"""Every kind of row comes back as it went in, also after the database was closed and opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_samples import (
    ADD,
    GET,
    GREET,
    NOW_MS,
    RUN,
    deployment,
    entry,
    full_invocation,
    invocation,
    invocation_id,
    service,
    submit,
)

from rewake.core.ids import CompletionId, EntryIndex
from rewake.core.model import Invocation, Listener, Promise, StateMutation, Status
from rewake.core.writes import Batch, EventRow
from rewake.protocol.messages import Failure, MessageType, Success
from rewake.store.store import Store


def read(store: Store, number: int = 1) -> Invocation:
    found = store.reader.invocation(invocation_id(number))
    assert found is not None
    return found


@pytest.mark.parametrize("target", [GREET, ADD, GET, RUN], ids=str)
def test_an_invocation_of_each_kind(store: Store, target: object) -> None:
    item = invocation(target=target)  # type: ignore[arg-type]
    submit(store, Batch(inserts=[item]))
    item.is_stored = True
    assert read(store) == item


def test_an_invocation_with_every_field_set_survives_reopening(tmp_path: Path) -> None:
    item = full_invocation()
    store = Store.open(tmp_path, now_ms=NOW_MS)
    submit(store, Batch(inserts=[item]))
    store.close()
    store = Store.open(tmp_path, now_ms=NOW_MS)
    item.is_stored = True
    assert read(store) == item
    store.close()


def test_an_update_changes_everything_that_may_change(store: Store) -> None:
    submit(store, Batch(inserts=[invocation(target=RUN)]))
    wanted = full_invocation()
    submit(store, Batch(updates=[wanted]))
    found = read(store)
    fixed = ("invoked_by", "invoked_by_id", "invoked_by_target", "restarted_from", "idempotency_key", "traceparent")
    for name in (*fixed, "completion_retention_ms", "journal_retention_ms", "random_seed", "is_stored"):
        setattr(found, name, getattr(wanted, name))
    assert found == wanted


@pytest.mark.parametrize(
    "result",
    [Success(b""), Success(b"\x00\xff"), Failure(409, "killed"), Failure(0, ""), Failure(500, "x", (("a", "b"),))],
    ids=repr,
)
def test_results(store: Store, result: Success | Failure) -> None:
    submit(store, Batch(inserts=[invocation(status=Status.COMPLETED, result=result)]))
    assert read(store).result == result


def test_the_journal_tells_its_length_and_its_age(store: Store) -> None:
    rows = [
        entry(1, 0, MessageType.INPUT, b"in"),
        entry(1, 1, MessageType.CALL, b"call", name="ask", completion_id=2),
        entry(1, 2, MessageType.CALL_INVOCATION_ID_COMPLETION, completion_id=1, child=invocation_id(5), name=None),
        entry(1, 3, MessageType.SIGNAL, signal=17, is_failure=True, name=None),
        entry(1, 4, MessageType.SIGNAL, signal="go", name=None, appended_at_ms=NOW_MS - 1),
    ]
    submit(store, Batch(inserts=[invocation()], entries=rows + [entry(2, 0)]))
    assert store.reader.journal(invocation_id(1)) == rows
    for row in rows:
        row.payload = b""
    assert store.reader.journal_rows(invocation_id(1)) == rows
    found = read(store)
    assert (found.journal_length, found.command_count, found.stored_at_ms) == (5, 2, NOW_MS - 1)


def test_a_deleted_invocation_leaves_nothing_and_its_id_can_come_again_in_the_same_batch(store: Store) -> None:
    listener = Listener(invocation_id(2), CompletionId(1), MessageType.CALL_COMPLETION)
    event = EventRow(invocation_id(1), EntryIndex(0), NOW_MS, "Paused", "{}")
    submit(
        store,
        Batch(inserts=[invocation()], entries=[entry(1, 0)], events=[event], listeners=[(invocation_id(1), listener)]),
    )
    again = Batch(
        deletes=[invocation_id(1)],
        inserts=[invocation(awaiting_from=7)],
        entries=[entry(1, 0, payload=b"2")],
    )
    submit(store, again)
    assert read(store).awaiting_from == 7
    assert [row.payload for row in store.reader.journal(invocation_id(1))] == [b"2"]
    assert store.reader.listeners(invocation_id(1)) == []
    submit(store, Batch(deletes=[invocation_id(1)]))
    assert store.reader.invocation(invocation_id(1)) is None
    assert store.reader.journal(invocation_id(1)) == []


def test_a_dropped_journal_counts_as_empty(store: Store) -> None:
    submit(store, Batch(inserts=[invocation()], entries=[entry(1, 0)]))
    submit(store, Batch(journal_deletes=[invocation_id(1)]))
    assert read(store).journal_length == 0
    assert store.reader.journal(invocation_id(1)) == []


def test_listeners_keep_their_order_and_are_answered_before_a_new_one_comes(store: Store) -> None:
    first = Listener(invocation_id(9), CompletionId(3), MessageType.CALL_COMPLETION)
    second = Listener(invocation_id(3), CompletionId(1), MessageType.ATTACH_INVOCATION_COMPLETION)
    submit(store, Batch(listeners=[(invocation_id(1), first), (invocation_id(1), second)]))
    assert store.reader.listeners(invocation_id(1)) == [first, second]
    submit(store, Batch(listeners=[(invocation_id(1), first)], listener_deletes=[invocation_id(1)]))
    assert store.reader.listeners(invocation_id(1)) == [first]


def test_state_is_replaced_and_deleted_by_name(store: Store) -> None:
    submit(
        store, Batch(state={("Counter", "", b"a"): b"1", ("Counter", "", b"\xff"): b"", ("Counter", "x", b"a"): b"3"})
    )
    submit(store, Batch(state={("Counter", "", b"a"): b"2", ("Counter", "x", b"a"): None}))
    assert store.reader.state("Counter", "") == {b"a": b"2", b"\xff": b""}
    assert store.reader.state("Counter", "x") == {}


def test_promises_wait_complete_and_go(store: Store) -> None:
    listener = Listener(invocation_id(1), CompletionId(1), MessageType.GET_PROMISE_COMPLETION)
    go = ("Signup", "w1", "go")
    assert store.reader.promise(*go) is None
    submit(store, Batch(promises={go: None}, promise_listeners=[(go, listener)]))
    assert store.reader.promise(*go) == Promise(*go, listeners=[listener])
    submit(store, Batch(promises={go: Failure(409, "no")}, promise_listener_deletes=[go]))
    submit(store, Batch(promises={go: None}))
    assert store.reader.promise(*go) == Promise(*go, result=Failure(409, "no"))
    waited = ("Signup", "w1", "waited")
    submit(store, Batch(promises={waited: None}, promise_listeners=[(waited, listener)]))
    submit(store, Batch(promise_deletes=[("Signup", "w1")], promises={("Signup", "w1", "new"): Success(b"1")}))
    assert store.reader.promise(*go) is None
    assert store.reader.promise(*waited) == Promise(*waited, listeners=[listener]), "somebody waits for it"
    assert store.reader.promise("Signup", "w1", "new") == Promise("Signup", "w1", "new", Success(b"1"))


def test_a_key_has_its_holder_and_its_queue_in_order_of_arrival(store: Store) -> None:
    mutation = StateMutation("Counter", "k7", 2, {b"a": b"1"}, "v1")
    other = StateMutation("Counter", "other", 9, {}, None)
    submit(
        store,
        Batch(
            inserts=[
                invocation(1, ADD, Status.INBOXED, inbox_sequence=3),
                invocation(2, ADD, Status.INBOXED, inbox_sequence=1),
                invocation(3, ADD, Status.SUSPENDED),
                invocation(4, ADD, Status.COMPLETED),
                invocation(5, ADD, Status.SCHEDULED),
                invocation(6, GET, Status.INVOKED),
            ],
            mutations={2: mutation, 9: other},
        ),
    )
    assert store.reader.key_holder("Counter", "k7") == invocation_id(3)
    assert store.reader.key_queue("Counter", "k7") == [invocation_id(2), mutation, invocation_id(1)]
    assert store.reader.last_sequence() == 9
    submit(store, Batch(mutations={2: None, 9: None}))
    assert store.reader.key_queue("Counter", "k7") == [invocation_id(2), invocation_id(1)]
    assert store.reader.key_holder("Counter", "nobody") is None
    assert store.reader.last_sequence() == 3


def test_deployments_and_services(store: Store) -> None:
    newer = deployment("dp_1aaa", NOW_MS + 1)
    submit(store, Batch(deployments={"dp_1aaa": newer, "dp_1abc": deployment()}, services={"Counter": service()}))
    assert store.reader.deployments() == [deployment(), newer]
    assert store.reader.services() == [service()]
    submit(store, Batch(deployments={"dp_1aaa": None}, services={"Counter": None}))
    assert store.reader.deployments() == [deployment()]
    assert store.reader.services() == []


def test_timers_are_due_in_order(store: Store) -> None:
    early = (NOW_MS, invocation_id(2), CompletionId(1))
    late = (NOW_MS + 5, invocation_id(1), CompletionId(0))
    submit(store, Batch(timers={late: True, early: True}))
    assert store.reader.next_timer_at() == NOW_MS
    assert store.reader.due_timers(NOW_MS + 4, 10) == [early]
    assert store.reader.due_timers(NOW_MS + 5, 10) == [early, late]
    assert store.reader.due_timers(NOW_MS + 5, 1) == [early]
    submit(store, Batch(timers={early: False, late: False}))
    assert store.reader.next_timer_at() is None


def test_recovery_finds_what_ran_and_the_sweep_what_expired(store: Store) -> None:
    submit(
        store,
        Batch(
            inserts=[
                invocation(1, GREET, Status.INVOKED),
                invocation(2, ADD, Status.INVOKED),
                invocation(3, GREET, Status.SUSPENDED),
                invocation(4, GREET, Status.COMPLETED, purge_at_ms=NOW_MS + 10),
                invocation(5, GREET, Status.COMPLETED, purge_at_ms=NOW_MS + 10, journal_purge_at_ms=NOW_MS + 5),
                invocation(6, GREET, Status.COMPLETED, purge_at_ms=NOW_MS + 11),
            ]
        ),
    )
    assert sorted(store.reader.open_invocation_ids()) == [invocation_id(1), invocation_id(2)]
    assert store.reader.open_invocation_ids(Status.SUSPENDED) == [invocation_id(3)]
    assert store.reader.expired_invocation_ids(NOW_MS + 10, 10) == [invocation_id(5), invocation_id(4)]
    assert store.reader.expired_invocation_ids(NOW_MS + 10, 1) == [invocation_id(5)]
    assert store.reader.open_counts() == {Status.INVOKED: 2, Status.SUSPENDED: 1}


def test_an_abandoned_invocation_waits_for_nothing_any_more(store: Store) -> None:
    caller, callee, other = invocation_id(1), invocation_id(2), invocation_id(3)
    gone, stays = (Listener(item, CompletionId(1), MessageType.CALL_COMPLETION) for item in (caller, other))
    go, sleep = ("Signup", "w1", "go"), CompletionId(1)
    submit(
        store,
        Batch(
            timers={(NOW_MS, caller, sleep): True, (NOW_MS, other, sleep): True},
            listeners=[(callee, gone), (callee, stays)],
            promises={go: None},
            promise_listeners=[(go, gone), (go, stays)],
        ),
    )
    submit(store, Batch(abandoned=[caller], timers={(NOW_MS + 1, caller, CompletionId(0)): True}))
    assert store.reader.due_timers(NOW_MS + 1, 10) == [(NOW_MS, other, 1), (NOW_MS + 1, caller, 0)]
    assert store.reader.listeners(callee) == [stays]
    assert store.reader.promise(*go) == Promise(*go, listeners=[stays])
