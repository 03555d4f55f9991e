"""Loss: whom a bug of ours is laid to, and what a paused invocation shows of it."""

from __future__ import annotations

from rewake.core import commands
from rewake.core.errors import EngineBug
from rewake.core.ids import InvocationId, invocation_id_to_str
from rewake.engine.loss import COMMAND_CHARS_MAX, loss_of
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.messages import Failure

A, B = b"a" * 24, b"b" * 24


def test_a_bug_names_one_of_those_a_command_was_about() -> None:
    loss = loss_of(
        EngineBug(InvocationId(B), "no move leads from A to B"),
        commands.Recover(now_ms=0, invocation_ids=[InvocationId(A), InvocationId(B)]),
    )
    assert (loss.suspects([InvocationId(A), InvocationId(B)]), loss.suspects([InvocationId(A)])) == ([B], [A])
    assert loss.cause.code is ErrorCode.ENGINE_BUG


def test_a_bug_that_names_none_leaves_all_of_them_suspect() -> None:
    loss = loss_of(AssertionError("x"), commands.Recover(now_ms=0, invocation_ids=[InvocationId(A), InvocationId(B)]))
    assert (loss.named, loss.suspects([InvocationId(A), InvocationId(B)])) == (None, [A, B])


def test_the_last_failure_shows_the_cause_and_the_command() -> None:
    command = commands.Cancel(now_ms=17, token=1, invocation_id=InvocationId(A))
    error = loss_of(EngineBug(InvocationId(A), "no move leads from A to B"), command).error
    assert error.message.startswith("Cancel failed inside the engine: EngineBug('no move leads from A to B")
    assert invocation_id_to_str(A) in error.message
    assert "EngineBug: no move leads from A to B" in error.stacktrace
    assert "Command: Cancel(token=1" in error.stacktrace


def test_a_disk_that_refused_is_no_bug() -> None:
    refused = RewakeError(ErrorCode.STORE_FULL, "full")
    loss = loss_of(refused, None)
    assert (loss.cause, loss.named) == (refused, None)


def test_of_a_large_command_only_the_beginning_is_kept() -> None:
    command = commands.CompletePromise(
        now_ms=0, token=1, service="s", key="k" * 5_000, name="n", result=Failure(500, "no")
    )
    trace, _, shown = loss_of(ValueError("x"), command).evidence.partition("\nCommand: ")
    assert "ValueError: x" in trace
    assert len(shown) == COMMAND_CHARS_MAX
