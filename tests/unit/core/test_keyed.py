"""Virtual objects: one at a time per key, in arrival order; state; changes asked for by operators."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from tests.unit.core.play import FINISHED, NOW_MS, Answer, Close, Done, Logged, Play, Start, Timer, success

from rewake.core import commands
from rewake.core.effects import Note, ReplyStatus
from rewake.core.ids import InvocationId
from rewake.core.keyed import state_version
from rewake.core.model import OnMaxAttempts, RetryPolicy, Status
from rewake.protocol import messages as m


def mutate(play: Play, new_state: dict[bytes, bytes], version: str | None = None, **fields: Any) -> None:
    play.token += 1
    play.submit(
        commands.MutateState(
            now_ms=play.now_ms,
            token=play.token,
            service="cart",
            key="a",
            new_state=new_state,
            expected_version=version,
            **fields,
        )
    )


def test_exclusive_handlers_of_a_key_run_one_at_a_time_in_arrival_order(play: Play) -> None:
    first, second, third = play.call("cart/a/add"), play.call("cart/a/pay"), play.call("cart/a/add")
    other = play.call("cart/b/add")
    accepted = Answer(ReplyStatus.ACCEPTED)
    play.expect(accepted, Start(first), accepted, accepted, accepted, Start(other))
    assert play.status(second) is Status.INBOXED
    play.sdk_ends(first)
    play.expect(Close(first, FINISHED), Done(first, success()), Start(second))
    play.sdk_ends(second)
    play.expect(Close(second, FINISHED), Done(second, success()), Start(third))


def test_the_queue_survives_a_crash(play: Play) -> None:
    first, second, third = (play.call("cart/a/add") for _ in range(3))
    play.skip()
    play.crash()
    play.expect(Start(first))
    fourth = play.call("cart/a/add")
    for current, following in ((first, second), (second, third), (third, fourth)):
        play.skip()
        play.sdk_ends(current)
        play.expect(Close(current, FINISHED), Done(current, success()), Start(following))


def test_the_key_stays_taken_while_its_holder_stands_still(play: Play) -> None:
    first, second = play.call("cart/a/add"), play.call("cart/a/add")
    play.suspend(first, signals=(1, 17))
    assert play.status(second) is Status.INBOXED
    play.ask(commands.Pause, first)
    assert play.status(second) is Status.INBOXED
    play.ask(commands.Resume, first)
    play.fails(first)
    assert play.status(second) is Status.INBOXED
    play.skip()
    play.ask(commands.Kill, first)
    assert play.status(second) is Status.INVOKED


def test_shared_handlers_run_beside_the_exclusive_one(play: Play) -> None:
    holder = play.call("cart/a/add")
    shared = [play.call("cart/a/view") for _ in range(2)]
    accepted = Answer(ReplyStatus.ACCEPTED)
    play.expect(accepted, Start(holder), accepted, Start(shared[0]), accepted, Start(shared[1]))


def test_one_that_left_the_queue_is_passed_over(play: Play) -> None:
    first, second, third = (play.call("cart/a/add") for _ in range(3))
    play.ask(commands.Cancel, second)
    play.skip()
    play.sdk_ends(first)
    play.expect(Close(first, FINISHED), Done(first, success()), Start(third))


def test_a_delayed_call_queues_when_it_is_due(play: Play) -> None:
    late = play.call("cart/a/add", at_ms=NOW_MS + 10)
    first = play.call("cart/a/add")
    play.expect(Answer(ReplyStatus.ACCEPTED), Timer(NOW_MS + 10), Answer(ReplyStatus.ACCEPTED), Start(first))
    play.time(10)
    second = play.call("cart/a/add")
    assert [play.status(item) for item in (late, second)] == [Status.INBOXED] * 2
    assert play.row(late).inboxed_at_ms == NOW_MS + 10
    play.skip()
    play.sdk_ends(first)
    play.expect(Close(first, FINISHED), Done(first, success()), Start(late))


def test_a_long_line_of_calls_that_cannot_start_is_worked_off(play: Play) -> None:
    """Each ends within its own start and admits the next: a loop, not a recursion."""
    play.set_options(retry=RetryPolicy(max_attempts=1, on_max_attempts=OnMaxAttempts.KILL))
    first = play.call("cart/a/add")
    queued = [play.call("cart/a/add") for _ in range(1200)]
    play.skip()
    # As if the deployment had gone, which here would take the handler's policy along.
    play.state.deployments.clear()
    play.sdk_ends(first)
    play.commit()
    assert {play.store.invocations[item].status for item in queued} == {Status.COMPLETED}


def test_an_empty_key_is_a_key(play: Play) -> None:
    first, second = play.call("cart//add"), play.call("cart//add")
    assert [play.status(item) for item in (first, second)] == [Status.INVOKED, Status.INBOXED]


# State


def test_state_is_written_when_its_command_is_taken_and_survives_a_kill(play: Play) -> None:
    first = play.call("cart/a/add")
    play.sdk(first, m.SetStateCommand(b"x", b"1"), m.SetStateCommand(b"y", b""), m.ClearStateCommand(b"z"))
    play.ask(commands.Kill, first)
    play.commit()
    assert play.store.state("cart", "a") == {b"x": b"1", b"y": b""}
    second = play.call("cart/a/add")
    play.commit()
    assert play.started[second].state == ((b"x", b"1"), (b"y", b""))
    play.sdk(second, m.SetStateCommand(b"w", b"0"), m.ClearAllStateCommand())
    play.commit()
    assert play.store.state("cart", "a") == {}


def test_lazy_reads_are_answered_in_command_order(play: Play) -> None:
    first = play.call("cart/a/add")
    play.sdk(
        first,
        m.GetLazyStateCommand(b"x", 1),
        m.SetStateCommand(b"x", b"1"),
        m.SetStateCommand(b"a", b""),
        m.GetLazyStateCommand(b"x", 2),
        m.GetLazyStateCommand(b"a", 3),
        m.GetLazyStateKeysCommand(4),
    )
    lazy, keys = m.MessageType.GET_LAZY_STATE_COMPLETION, m.MessageType.GET_LAZY_STATE_KEYS_COMPLETION
    assert [item for item in play.journal(first) if isinstance(item, m.Completion)] == [
        m.Completion(lazy, 1, m.VOID),
        m.Completion(lazy, 2, m.Success(b"1")),
        m.Completion(lazy, 3, m.Success(b"")),
        m.Completion(keys, 4, m.StateKeys((b"a", b"x"))),
    ]


def test_eager_reads_are_only_recorded(play: Play) -> None:
    first = play.call("cart/a/add")
    play.skip()
    play.sdk(first, m.GetEagerStateCommand(b"x", m.VOID), m.GetEagerStateKeysCommand((b"x",)))
    play.expect()
    assert len(play.journal(first)) == 2


def test_a_shared_handler_reads_beside_the_writer(play: Play) -> None:
    writer, reader = play.call("cart/a/add"), play.call("cart/a/view")
    play.sdk(writer, m.SetStateCommand(b"x", b"1"))
    play.sdk(reader, m.GetLazyStateCommand(b"x", 1))
    assert play.journal(reader)[-1] == m.Completion(m.MessageType.GET_LAZY_STATE_COMPLETION, 1, m.Success(b"1"))


# Changes asked for by operators


def test_the_state_of_a_free_key_is_replaced_at_once(play: Play) -> None:
    mutate(play, {b"x": b"1", b"y": b"2"})
    play.expect(Answer(ReplyStatus.ACCEPTED))
    mutate(play, {b"y": b"3"}, state_version({b"x": b"1", b"y": b"2"}))
    play.expect(Answer(ReplyStatus.ACCEPTED))
    assert play.store.state("cart", "a") == {b"y": b"3"}


def test_a_change_of_another_version_is_dropped(play: Play) -> None:
    mutate(play, {b"x": b"1"})
    play.skip()
    mutate(play, {b"x": b"2"}, state_version({}))
    play.expect(Logged("state_change_dropped_version_differs"), Answer(ReplyStatus.ACCEPTED))
    assert play.store.state("cart", "a") == {b"x": b"1"}


def test_a_change_waits_in_line_with_the_calls_even_over_a_crash(play: Play) -> None:
    first = play.call("cart/a/add")
    mutate(play, {b"x": b"1"})
    second = play.call("cart/a/add")
    mutate(play, {b"x": b"2"})
    mutate(play, {b"x": b"3"})
    play.skip()
    assert play.store.state("cart", "a") == {}
    play.crash()
    play.sdk_ends(first)
    play.commit()
    assert play.started[second].state == ((b"x", b"1"),)
    play.sdk_ends(second)
    play.commit()
    assert play.store.state("cart", "a") == {b"x": b"3"}
    assert play.store.mutations == {}


def test_a_change_behind_a_holder_in_memory_is_made_when_it_ends(play: Play) -> None:
    first = play.call("cart/a/add")
    play.commit()
    mutate(play, {b"x": b"1"})
    play.sdk_ends(first)
    play.commit()
    assert (play.store.state("cart", "a"), play.store.mutations) == ({b"x": b"1"}, {})


def test_a_change_that_is_dropped_is_named_in_the_log(play: Play) -> None:
    mutate(play, {b"x": b"2"}, "another")
    facts: dict[str, object] = {"service": "cart", "key": "a"}
    note = Note("state_change_dropped_version_differs", None, facts, is_warning=True)
    assert [effect for effect in play.state.effects if isinstance(effect, Note)] == [note]


def test_the_version_is_a_digest_that_clients_keep() -> None:
    parts = b"\0" * 7 + b"\0\1a\2x\3" + b"\0" * 7 + b"\1\1b\2y\3"
    expected = base64.urlsafe_b64encode(hashlib.sha256(parts).digest()).decode()
    assert f"{state_version({b'a': b'x', b'b': b'y'})}=" == expected


def test_the_version_depends_on_names_and_values() -> None:
    versions = {state_version(values) for values in ({}, {b"a": b"1"}, {b"a": b"2"}, {b"b": b"1"})}
    assert len(versions) == 4
    assert state_version({b"a": b"1", b"b": b"2"}) == state_version({b"b": b"2", b"a": b"1"})


# Behind a holder that is asleep


@pytest.fixture
def asleep(play: Play, monkeypatch: pytest.MonkeyPatch) -> InvocationId:
    """A suspended holder of cart/a, whose queue must not be loaded."""
    holder = play.call("cart/a/add")
    play.suspend(holder, signals=(17,))
    play.skip()
    monkeypatch.setattr(play.store, "key_queue", None)
    return holder


def test_one_more_behind_a_sleeping_holder_does_not_load_the_queue(play: Play, asleep: InvocationId) -> None:
    waiting = []
    for _ in range(3):
        waiting.append(play.call("cart/a/add"))
        play.commit()
    play.ask(commands.Cancel, waiting[1])
    play.commit()
    assert play.state.instances == {}
    assert [play.status(each) for each in (waiting[0], waiting[2])] == [Status.INBOXED] * 2


def test_one_that_leaves_while_its_place_is_being_stored_is_skipped(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came behind a holder whose queue is not loaded, and the store has it already, but not that it has left."""
    holder = play.call("cart/a/add")
    play.suspend(holder, signals=(17,))
    play.commit()
    gone = play.call("cart/a/add")
    batches = [play.state.seal()[0]]
    play.store.apply(batches[0])
    play.ask(commands.Cancel, gone)
    following = play.call("cart/a/add")
    play.ask(commands.Kill, holder)
    batches.append(play.state.seal()[0])
    play.store.apply(batches[1])
    for batch in batches:
        play.state.committed(batch.sequence)
    assert (play.status(following), play.exists(gone)) == (Status.INVOKED, False)


def test_those_who_came_and_went_meanwhile_are_in_their_place_when_it_wakes(
    play: Play, asleep: InvocationId, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, gone = play.call("cart/a/add", key="k1"), play.call("cart/a/add", key="k2")
    play.commit()
    play.ask(commands.Cancel, gone)
    again = play.call("cart/a/add", key="k2")  # the same id, at the end of the line
    assert again == gone
    last = play.call("cart/a/add")
    monkeypatch.undo()
    play.ask(commands.CompleteSignal, asleep, signal=17, result=success())
    for each in (asleep, stored, again, last):
        play.sdk_ends(each)
    assert {play.status(each) for each in (asleep, stored, again, last)} == {Status.COMPLETED}
    assert [play.row(each).running_at_ms is not None for each in (stored, again, last)] == [True] * 3


def test_a_change_that_joins_a_queue_which_is_not_loaded_waits_in_its_place(play: Play) -> None:
    holder = play.call("cart/a/add")
    play.crash()
    mutate(play, {b"x": b"1"})
    following = play.call("cart/a/add")
    play.sdk_ends(holder)
    play.commit()
    assert play.started[following].state == ((b"x", b"1"),)
