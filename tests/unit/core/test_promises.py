"""Workflow promises: completed once, awaited by any handler of the key, forgotten with the run."""

from __future__ import annotations

import pytest
from tests.unit.core.play import Answer, Play, Start, Tell, success

from rewake.core import commands
from rewake.core.effects import ReplyStatus
from rewake.core.ids import EntryIndex
from rewake.core.model import Status
from rewake.protocol import messages as m

GET, PEEK = m.MessageType.GET_PROMISE_COMPLETION, m.MessageType.PEEK_PROMISE_COMPLETION
COMPLETE = m.MessageType.COMPLETE_PROMISE_COMPLETION


def test_a_promise_wakes_all_who_wait_in_order(play: Play) -> None:
    run, look = play.call("signup/w/run"), play.call("signup/w/look")
    for waiting in (run, look):
        play.sdk(waiting, m.GetPromiseCommand("p", 1))
        play.suspend(waiting, 1, signals=(1,))
    play.crash()
    sender = play.call("signup/w/look")
    play.skip()
    play.sdk(sender, m.CompletePromiseCommand("p", success(), 1))
    play.expect(Tell(sender, m.Completion(COMPLETE, 1, m.VOID)), Start(run), Start(look))
    assert play.journal(run)[-1] == m.Completion(GET, 1, success())
    assert play.state.promises == {}
    assert not any(play.store.promise_listeners.values())


@pytest.mark.parametrize("between", ["nothing", "commit", "crash"])
def test_the_first_completion_stays(play: Play, between: str) -> None:
    run = play.call("signup/w/run")
    failure = m.Failure(400, "no")
    before = m.PeekPromiseCommand("p", 1), m.CompletePromiseCommand("p", failure, 2)
    after = m.CompletePromiseCommand("p", success(), 3), m.PeekPromiseCommand("p", 4), m.GetPromiseCommand("p", 5)
    if between == "nothing":
        play.sdk(run, *before, *after)
    else:
        play.sdk(run, *before)
        if between == "crash":
            play.crash()
        play.sdk(run, *after)
    assert [item for item in play.journal(run) if isinstance(item, m.Completion)] == [
        m.Completion(PEEK, 1, m.VOID),
        m.Completion(COMPLETE, 2, m.VOID),
        m.Completion(COMPLETE, 3, m.Failure(409, "promise was already completed")),
        m.Completion(PEEK, 4, failure),
        m.Completion(GET, 5, failure),
    ]
    assert not any(play.store.promise_listeners.values())


def test_one_who_waits_for_itself_is_told(play: Play) -> None:
    run = play.call("signup/w/run")
    play.skip()
    play.sdk(run, m.GetPromiseCommand("p", 1), m.CompletePromiseCommand("p", success(), 2))
    play.expect(Tell(run, m.Completion(GET, 1, success())), Tell(run, m.Completion(COMPLETE, 2, m.VOID)))


def test_a_waiter_that_is_over_or_gone_is_passed_over(play: Play) -> None:
    over, gone = play.call("signup/w/look"), play.call("signup/w/look")
    for item in (over, gone):
        play.sdk(item, m.GetPromiseCommand("p", 1))
        play.sdk_ends(item)
    play.ask(commands.Purge, gone)
    run = play.call("signup/w/run")
    play.skip()
    play.sdk(run, m.CompletePromiseCommand("p", success(), 1))
    play.expect(Tell(run, m.Completion(COMPLETE, 1, m.VOID)))


def test_keys_do_not_share_promises(play: Play) -> None:
    first, second = play.call("signup/a/run"), play.call("signup/b/run")
    play.sdk(first, m.CompletePromiseCommand("p", success(), 1))
    play.sdk(second, m.PeekPromiseCommand("p", 1))
    assert play.journal(second)[-1] == m.Completion(PEEK, 1, m.VOID)


@pytest.mark.parametrize("path", ["cart/a/add", "greeter/greet"])
def test_only_workflows_have_promises(play: Play, path: str) -> None:
    first = play.call(path)
    play.sdk(first, m.GetPromiseCommand("p", 1))
    error = play.row(first).last_error
    assert error is not None
    assert (error.restate_code, play.journal(first)) == ("RT0017", [])


@pytest.mark.parametrize("is_committed", [False, True])
def test_a_run_after_the_purge_finds_no_promise(play: Play, is_committed: bool) -> None:
    """Even in the batch that forgets them, and in the next before it is committed."""
    run = play.call("signup/w/run")
    play.sdk(run, m.CompletePromiseCommand("p", success(), 1))
    play.sdk_ends(run)
    look = play.call("signup/w/look")
    play.commit()
    play.ask(commands.Purge, run)
    if not is_committed:
        sealed, _ = play.state.seal()
        play.state.promises.clear()
    start = play.started[look]
    payload = b"\x0a\x01p\x10\x02"
    command = m.PeekPromiseCommand("p", 2)
    play.submit(
        commands.SdkMessages(
            now_ms=play.now_ms,
            invocation_id=look,
            epoch=start.epoch,
            delivered=EntryIndex(1),
            messages=[(command, m.MessageType.PEEK_PROMISE, payload, 0)],
            seed=b"s" * 16,
        )
    )
    if not is_committed:
        play.store.apply(sealed)
        play.state.committed(sealed.sequence)
    assert play.journal(look)[-1] == m.Completion(PEEK, 2, m.VOID)
    assert play.state.promises == {}


def test_who_waits_for_a_promise_still_waits_after_the_purge_of_the_run(play: Play) -> None:
    run, look = play.call("signup/w/run"), play.call("signup/w/look")
    play.sdk(run, m.CompletePromiseCommand("other", success(), 1))
    play.sdk(look, m.GetPromiseCommand("p", 1))
    play.suspend(look, 1, signals=(1,))
    play.sdk_ends(run)
    play.ask(commands.Purge, run)
    play.commit()
    assert [key[2] for key in play.store.promises] == ["p"]
    again = play.call("signup/w/run")
    play.skip()
    play.sdk(again, m.CompletePromiseCommand("p", success(), 1))
    play.expect(Tell(again, m.Completion(COMPLETE, 1, m.VOID)), Start(look))
    assert play.status(look) is Status.INVOKED


def test_a_promise_completed_and_forgotten_in_one_batch_leaves_nothing(play: Play) -> None:
    run = play.call("signup/w/run")
    play.skip()
    play.sdk(
        run,
        m.GetPromiseCommand("p", 1),
        m.CompletePromiseCommand("p", success(), 2),
        m.OutputCommand(success()),
        m.End(),
    )
    play.ask(commands.Purge, run)
    play.commit()
    assert not [item for item in play.store.promises.values() if item.result is not None]
    assert not any(play.store.promise_listeners.values())


def complete(play: Play, result: m.Success | m.Failure, key: str = "w") -> Answer:
    """From outside; how it is answered."""
    play.token += 1
    play.submit(
        commands.CompletePromise(
            now_ms=play.now_ms, token=play.token, service="signup", key=key, name="p", result=result
        )
    )
    play.commit()
    reply = play.replies[-1]
    assert reply.token == play.token
    return Answer(reply.status)


@pytest.mark.parametrize("result", [success(), m.Failure(500, "no")])
def test_from_outside_a_promise_wakes_who_waits(play: Play, result: m.Success | m.Failure) -> None:
    run = play.call("signup/w/run")
    play.sdk(run, m.GetPromiseCommand("p", 1))
    play.suspend(run, 1, signals=(1,))
    play.crash()
    play.skip()
    assert complete(play, result) == Answer(ReplyStatus.ACCEPTED)
    play.expect(Answer(ReplyStatus.ACCEPTED), Start(run))
    assert play.journal(run)[-1] == m.Completion(GET, 1, result)
    assert complete(play, success()) == Answer(ReplyStatus.ALREADY_COMPLETED)


def test_from_outside_a_promise_can_be_completed_before_anybody_waits(play: Play) -> None:
    run = play.call("signup/w/run")
    assert complete(play, success()) == Answer(ReplyStatus.ACCEPTED)
    play.sdk(run, m.GetPromiseCommand("p", 1))
    assert play.journal(run)[-1] == m.Completion(GET, 1, success())


def test_from_outside_a_promise_nobody_could_forget_is_refused(play: Play) -> None:
    """Without a run of the key; those who wait without one may get it."""
    assert complete(play, success(), "nobody") == Answer(ReplyStatus.NOT_FOUND)
    assert play.store.promises == {}
    look = play.call("signup/w/look")
    play.sdk(look, m.GetPromiseCommand("p", 1))
    assert complete(play, success()) == Answer(ReplyStatus.ACCEPTED)
    assert play.journal(look)[-1] == m.Completion(GET, 1, success())
