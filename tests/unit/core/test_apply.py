"""The one entrance: every command has its transition, and none leaves work behind that has no command of its own."""

from __future__ import annotations

from typing import get_args

from tests.unit.core.play import ABORT, Answer, Close, Done, Play, Start

from rewake.core import apply, commands
from rewake.core.effects import ReplyStatus
from rewake.core.model import Status
from rewake.protocol.messages import Failure


def test_every_command_has_one_transition() -> None:
    known = apply._TRANSITIONS
    assert set(known) == set(get_args(commands.Command))
    assert len(set(known.values())) == len(known)


def test_what_a_command_makes_ready_begins_with_it(play: Play) -> None:
    """Whoever waits for the key that a killed holder leaves needs no command to begin."""
    holder, following = play.call("cart/a/add"), play.call("cart/a/add")
    play.skip()
    play.ask(commands.Kill, holder)
    killed = Failure(409, "killed")
    play.expect(Close(holder, ABORT), Done(holder, killed), Answer(ReplyStatus.DONE), Start(following))
    assert (play.status(holder), play.status(following)) == (Status.COMPLETED, Status.INVOKED)
    assert not play.state.ready and not play.state.unstartable
