"""Lifecycle: legal moves only, in one place, and what is ready begins at the end of the command."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tests.unit.core.play import ABORT, Answer, Close, Done, Play, Start, call_command, target_of

import rewake.core
from rewake.core import commands, lifecycle
from rewake.core.effects import ReplyStatus
from rewake.core.errors import EngineBug
from rewake.core.ids import InvocationId
from rewake.core.lifecycle import KILLED, MOVES
from rewake.core.model import Invocation, Status

CORE = Path(rewake.core.__file__).parent
ILLEGAL = [(before, to) for before in Status for to in Status if (before, to) not in MOVES]


@pytest.mark.parametrize(("before", "to"), ILLEGAL)
def test_a_move_that_is_not_listed_is_a_bug_that_names_the_invocation(before: Status, to: Status) -> None:
    invocation = Invocation(InvocationId(b"i" * 24), target_of("greeter/greet"), 0, 0, before)
    with pytest.raises(EngineBug, match=f"from {before.name} to {to.name} .inv_1") as caught:
        lifecycle.move(invocation, to)
    assert (caught.value.invocation_id, invocation.status) == (invocation.id, before)


def test_what_has_begun_is_not_forgotten_before_it_is_completed(play: Play) -> None:
    first = play.state.invocation(play.call("greeter/greet"))
    assert first is not None
    with pytest.raises(EngineBug, match="from INVOKED to forgotten"):
        lifecycle.forget(play.state, first)


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
