"""Branches: a fork of an earlier turn runs on a copy of its key when later runs changed it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.core.play import Play

from rewake.core import commands, ids
from rewake.core.effects import Note, ReplyStatus
from rewake.core.ids import InvocationId
from rewake.core.model import Invocation, Status
from rewake.protocol import messages as m


def turn(play: Play, value: bytes, *, known: bytes | None = None, is_lazy: bool = False) -> InvocationId:
    """A run of a key that reads a value, does a step and writes another."""
    run = play.call("cart/ada/add")
    found = m.VOID if known is None else m.Success(known)
    if is_lazy:
        play.sdk(run, m.GetLazyStateCommand(b"items", 9))
    else:
        play.sdk(run, m.GetEagerStateCommand(b"items", found))
    play.run_step(run, 1)
    play.sdk(run, m.SetStateCommand(b"items", value))
    play.sdk_ends(run)
    play.skip()
    return run


def forked(play: Play, invocation_id: InvocationId, **fields: Any) -> Invocation:
    """The new run, just begun or queued."""
    play.ask(commands.RestartAsNew, invocation_id, random=b"forked%04d" % len(play.replies), **fields)
    play.commit()
    assert play.replies[-1].status is ReplyStatus.ACCEPTED
    new_id = play.replies[-1].invocation_id
    assert new_id is not None
    return play.row(new_id)


def has_branch(play: Play, invocation_id: InvocationId, **fields: Any) -> bool:
    """Whether a fork gets one; it is ended at once."""
    row = forked(play, invocation_id, **fields)
    if play.status(row.id) is Status.INVOKED:
        play.sdk_ends(row.id)
        play.skip()
    assert row.target.key is not None
    return row.target.key.startswith("ada~fork-")


@pytest.mark.parametrize("is_lazy", [False, True])
def test_a_fork_of_an_earlier_turn_leaves_the_key_as_it_is(play: Play, is_lazy: bool) -> None:
    first = turn(play, b"1", is_lazy=is_lazy)
    kept = 3 if is_lazy else 2
    assert not has_branch(play, first, from_index=kept)
    second = turn(play, b"2", known=b"1", is_lazy=is_lazy)
    assert has_branch(play, first, from_index=kept)
    assert not has_branch(play, second, from_index=kept)
    assert not has_branch(play, first, from_index=kept, overwrite_state=True)
    assert play.store.state("cart", "ada") == {b"items": b"2"}


@pytest.mark.parametrize("is_lazy", [False, True])
def test_a_branch_has_the_state_of_its_moment_and_the_handler_its_key(play: Play, is_lazy: bool) -> None:
    play.sdk(setup := play.call("cart/ada/add"), m.SetStateCommand(b"name", b"Ada"))
    play.sdk_ends(setup)
    turn(play, b"1")
    second = turn(play, b"2", known=b"1", is_lazy=is_lazy)
    turn(play, b"3", known=b"2")
    kept = 3 if is_lazy else 2
    row = forked(play, second, from_index=kept)
    started = play.started[row.id]
    branch = f"ada~fork-{ids.invocation_id_to_str(row.id)[-8:]}"
    assert (started.key, started.target.key, row.target.key, row.branch_of) == ("ada", branch, branch, "ada")
    assert started.state == ((b"items", b"1"), (b"name", b"Ada"))
    assert row.id[:8] == ids.partition_key("ada", "") == ids.partition_key(row.target.key, "")
    play.sdk(row.id, m.SetStateCommand(b"items", b"other"))
    play.sdk_ends(row.id)
    play.skip()
    assert play.store.state("cart", "ada") == {b"items": b"3", b"name": b"Ada"}
    assert play.store.state("cart", row.target.key or "") == {b"items": b"other", b"name": b"Ada"}
    again = forked(play, row.id, from_index=kept)
    assert (again.branch_of, (again.target.key or "").count("~fork-")) == ("ada", 1)
    further = forked(play, row.id, from_index=kept)
    assert further.branch_of == "ada" and further.target.key not in (row.target.key, "ada")


def test_a_branch_is_logged(play: Play) -> None:
    first = turn(play, b"1")
    play.call("cart/ada/add")
    play.ask(commands.RestartAsNew, first, random=b"forked0000", from_index=2)
    (note,) = [effect for effect in play.state.effects if isinstance(effect, Note)]
    play.commit()
    assert play.replies[-1].invocation_id == note.invocation_id is not None
    branch = f"ada~fork-{ids.invocation_id_to_str(note.invocation_id)[-8:]}"
    facts: dict[str, object] = {"service": "cart", "key": "ada", "branch": branch}
    assert note == Note("forked_on_a_branch_of_the_key", note.invocation_id, facts, is_warning=False)


def test_one_value_of_several_that_has_changed_is_enough(play: Play) -> None:
    run = play.call("cart/ada/add")
    play.sdk(run, m.GetEagerStateCommand(b"name", m.VOID), m.GetEagerStateCommand(b"items", m.VOID))
    play.sdk_ends(run)
    turn(play, b"2")
    assert has_branch(play, run, from_index=2)


def test_a_fork_before_its_run_has_read_reads_anew(play: Play) -> None:
    run = play.call("cart/ada/add")
    play.run_step(run, 1)
    play.sdk(run, m.GetEagerStateCommand(b"items", m.VOID))
    play.sdk_ends(run)
    turn(play, b"2")
    assert has_branch(play, run, from_index=3)
    assert not has_branch(play, run, from_index=2)
    assert not has_branch(play, run)


def test_a_key_that_others_wait_for_is_about_to_change(play: Play) -> None:
    first = turn(play, b"1")
    holder = play.call("cart/ada/add")
    assert has_branch(play, first, from_index=2)
    play.sdk(holder, m.GetEagerStateCommand(b"items", m.Success(b"1")))
    assert not has_branch(play, holder, from_index=1)
    assert has_branch(play, holder, from_index=1)


def test_values_cleared_since_are_newer_too(play: Play) -> None:
    first = turn(play, b"1")
    cleared = play.call("cart/ada/add")
    play.sdk(cleared, m.ClearAllStateCommand())
    play.sdk_ends(cleared)
    assert has_branch(play, first, from_index=2)
    play.sdk(third := play.call("cart/ada/add"), m.SetStateCommand(b"items", b"1"), m.ClearStateCommand(b"x"))
    play.sdk_ends(third)
    assert not has_branch(play, first, from_index=2)


@pytest.mark.parametrize("clear", [m.ClearStateCommand(b"items"), m.ClearAllStateCommand()], ids=["one", "all"])
def test_a_value_that_the_run_itself_has_cleared_is_gone_in_its_fork_too(play: Play, clear: m.Command) -> None:
    turn(play, b"1")
    run = play.call("cart/ada/add")
    play.sdk(run, m.GetEagerStateCommand(b"items", m.Success(b"1")), clear)
    play.sdk_ends(run)
    assert not has_branch(play, run, from_index=2)


def test_a_shared_handler_writes_nothing_over(play: Play) -> None:
    shared = play.call("cart/ada/view")
    play.sdk(shared, m.GetEagerStateCommand(b"items", m.VOID))
    play.sdk_ends(shared)
    turn(play, b"1")
    assert not has_branch(play, shared, from_index=1)
