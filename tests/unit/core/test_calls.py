"""Calls from outside and from handlers: who is created, who is joined, who hears of the result."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.core.play import (
    FINISHED,
    NOW_MS,
    Answer,
    Close,
    Done,
    Play,
    Start,
    Tell,
    Timer,
    call_command,
    deployment,
    send_command,
    success,
    target_of,
)

from rewake.core import calls, commands, ids, journal
from rewake.core.effects import ReplyStatus
from rewake.core.ids import CompletionId, InvocationId
from rewake.core.lifecycle import KILLED
from rewake.core.model import BY_URL, Status
from rewake.core.settings import UNKNOWN_CALLEE_ATTEMPTS_MAX
from rewake.protocol import messages as m
from rewake.protocol.codec import encode_message

CALL_DONE = m.MessageType.CALL_COMPLETION
ATTACH_DONE = m.MessageType.ATTACH_INVOCATION_COMPLETION
OUTPUT_DONE = m.MessageType.GET_INVOCATION_OUTPUT_COMPLETION


def test_a_call_starts_at_once_and_is_answered_at_its_end(play: Play) -> None:
    first = play.call("greeter/greet")
    play.expect(Answer(ReplyStatus.ACCEPTED), Start(first))
    assert play.replies[-1].wait
    play.sdk_ends(first)
    play.expect(Close(first, FINISHED), Done(first, success()))
    assert play.status(first) is Status.COMPLETED


def test_the_first_attempt_is_given_the_input_without_reading_it_back(play: Play) -> None:
    first = play.call("greeter/greet", input=b"hello")
    play.commit()
    start = play.started[first]
    assert start.entries is not None
    ((type_id, payload),) = start.entries
    assert (type_id, payload) == (m.MessageType.INPUT, play.store.entries[first][0].payload)
    assert start.version == 6
    assert start.random_seed == ids.random_seed_of(first)


def test_an_idempotency_key_names_one_invocation(play: Play) -> None:
    first = play.call("greeter/greet", key="k")
    assert play.call("greeter/greet", key="k", input=b"other") == first
    assert play.call("greeter/greet", key="k", wait=False) == first
    play.expect(
        Answer(ReplyStatus.ACCEPTED), Start(first), Answer(ReplyStatus.PENDING), Answer(ReplyStatus.PREVIOUSLY_ACCEPTED)
    )
    assert [reply.wait for reply in play.replies[-3:]] == [True, True, False]
    play.sdk_ends(first)
    play.expect(Close(first, FINISHED), Done(first, success()))
    play.call("greeter/greet", key="k")
    play.expect(Answer(ReplyStatus.COMPLETED, success()))
    assert play.replies[-1].expires_at_ms == NOW_MS + 86_400_000


def test_the_same_key_names_another_invocation_of_another_handler_or_object(play: Play) -> None:
    paths = ("greeter/greet", "greeter/route", "cart/a/add", "cart/b/add")
    assert len({play.call(path, key="k") for path in paths}) == 4


def test_an_expired_key_is_free_at_once(play: Play) -> None:
    """Without waiting for the sweep."""
    first = play.call("greeter/greet", key="k")
    play.sdk_ends(first)
    play.skip()
    play.now_ms += 86_400_000
    assert play.call("greeter/greet", key="k", input=b"again") == first
    play.expect(Answer(ReplyStatus.ACCEPTED), Start(first))
    assert play.status(first) is Status.INVOKED


def test_a_workflow_runs_once(play: Play) -> None:
    first = play.call("signup/w/run", key="ignored")
    assert play.row(first).idempotency_key is None
    assert play.call("signup/w/run") == first
    play.call("signup/w/run", wait=False)
    play.expect(
        Answer(ReplyStatus.ACCEPTED),
        Start(first),
        Answer(ReplyStatus.COMPLETED, calls.ALREADY_INVOKED),
        Answer(ReplyStatus.PREVIOUSLY_ACCEPTED),
    )


def test_attaching_waits_or_asks(play: Play) -> None:
    first = play.call("greeter/greet")
    play.skip()
    play.ask(commands.Attach, first, wait=True)
    play.ask(commands.Attach, first, wait=False)
    play.ask(commands.Attach, InvocationId(b"x" * 24), wait=True)
    play.expect(Answer(ReplyStatus.PENDING), Answer(ReplyStatus.PENDING), Answer(ReplyStatus.NOT_FOUND))
    assert [reply.wait for reply in play.replies[-3:]] == [True, False, False]
    play.sdk_ends(first)
    play.skip()
    play.ask(commands.Attach, first, wait=False)
    play.expect(Answer(ReplyStatus.COMPLETED, success()))


def test_the_asker_is_answered_before_an_end_that_comes_at_once() -> None:
    """An invocation without a deployment and without a second attempt completes within its own Invoke."""
    from rewake.core.model import OnMaxAttempts, RetryPolicy

    play = Play(retry=RetryPolicy(max_attempts=1, on_max_attempts=OnMaxAttempts.KILL))
    play.state.deployments.clear()
    play.skip()
    first = play.call("greeter/greet")
    effects = play.commit()
    assert type(effects[0]).__name__ == "Reply"
    assert type(effects[-1]).__name__ == "Completed"
    assert play.status(first) is Status.COMPLETED


def test_a_handler_calls_and_is_told_the_id_and_the_result(play: Play) -> None:
    caller = play.call("greeter/route")
    play.skip()
    play.sdk(caller, call_command("greeter/greet", 1, name="ask"))
    (callee,) = play.children(caller)
    play.expect(
        Tell(
            caller,
            m.Completion(
                m.MessageType.CALL_INVOCATION_ID_COMPLETION, 1, m.InvocationIdResult(ids.invocation_id_to_str(callee))
            ),
        ),
        Start(callee),
    )
    row = play.row(callee)
    assert (row.invoked_by, row.invoked_by_id, row.invoked_by_target) == ("service", caller, "greeter/route")
    play.sdk_ends(callee)
    play.expect(Close(callee, FINISHED), Tell(caller, m.Completion(CALL_DONE, 2, success())), Done(callee, success()))


def test_a_failure_of_the_callee_is_the_callers_result(play: Play) -> None:
    caller = play.call("greeter/route")
    play.sdk(caller, call_command("greeter/greet", 1))
    (callee,) = play.children(caller)
    failure = m.Failure(400, "no", (("why", "x"),))
    play.sdk(callee, m.OutputCommand(failure), m.End())
    assert play.journal(caller)[-1] == m.Completion(CALL_DONE, 2, failure)


def test_calls_with_one_key_join_the_running_and_the_finished_callee(play: Play) -> None:
    caller = play.call("greeter/route")
    play.sdk(caller, call_command("greeter/greet", 1, key="k"), call_command("greeter/greet", 3, key="k"))
    (callee, again) = play.children(caller)
    assert callee == again
    assert play.row(callee).idempotency_key == "k"
    play.sdk_ends(callee)
    play.sdk(caller, call_command("greeter/greet", 5, key="k"))
    done = [item for item in play.journal(caller) if isinstance(item, m.Completion) and item.type is CALL_DONE]
    assert [(item.completion_id, item.result) for item in done] == [(2, success()), (4, success()), (6, success())]
    assert not any(play.store.listener_rows.values())


def test_who_begins_to_wait_while_a_batch_is_under_way_is_not_forgotten(play: Play) -> None:
    callee, caller = play.call("greeter/greet"), play.call("greeter/route")
    play.suspend(callee, signals=(17,))
    before, _ = play.state.seal()
    waiting = play.state.invocations[caller]
    payload = encode_message(m.AttachInvocationCommand(m.InvocationIdTarget(ids.invocation_id_to_str(callee)), 1))
    attach = m.MessageType.ATTACH_INVOCATION
    journal.append_command(play.state, waiting, attach, payload, now_ms=NOW_MS, name="", completion_id=CompletionId(1))
    calls.attach(play.state, waiting, callee, CompletionId(1), NOW_MS)
    play.store.apply(before)
    play.state.committed(before.sequence)
    play.ask(commands.Kill, callee)
    assert play.journal(caller)[-1] == m.Completion(ATTACH_DONE, 1, KILLED)


def test_a_workflow_run_has_no_idempotency_key(play: Play) -> None:
    caller = play.call("greeter/route")
    play.sdk(caller, call_command("signup/w/run", 1, key="ignored"))
    (run,) = play.children(caller)
    assert (run, play.row(run).idempotency_key) == (ids.workflow_invocation_id("signup", "w"), None)


def test_a_second_workflow_run_from_a_handler_is_refused(play: Play) -> None:
    run = play.call("signup/w/run")
    caller = play.call("greeter/route")
    play.sdk(caller, call_command("signup/w/run", 1), send_command("signup/w/run", 3))
    assert play.children(caller) == [run, run]
    told = m.Completion(CALL_DONE, 2, m.Failure(409, "the workflow method was already invoked"))
    assert told in play.journal(caller)
    assert not any(play.store.listener_rows.values())


def test_a_send_may_be_delayed_and_tells_only_the_id(play: Play) -> None:
    caller = play.call("greeter/route")
    play.sdk(caller, send_command("greeter/greet", 1, at_ms=NOW_MS + 50), send_command("greeter/greet", 2, at_ms=5))
    late, soon = play.children(caller)
    assert (play.status(late), play.status(soon)) == (Status.SCHEDULED, Status.INVOKED)
    assert play.journal(caller)[0] == send_command("greeter/greet", 1, at_ms=NOW_MS + 50)
    play.skip()
    play.time(50)
    play.expect(Start(late))
    play.sdk_ends(soon)
    play.expect(Close(soon, FINISHED), Done(soon, success()))


def test_a_delayed_call_from_outside(play: Play) -> None:
    first = play.call("greeter/greet", at_ms=NOW_MS + 50)
    play.expect(Answer(ReplyStatus.ACCEPTED), Timer(NOW_MS + 50))
    row = play.row(first)
    assert (row.scheduled_at_ms, row.start_at_ms) == (NOW_MS, NOW_MS + 50)
    now = play.call("greeter/greet", at_ms=NOW_MS)
    assert play.status(now) is Status.INVOKED


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"scope": "s"}, "RT0024"),
        ({"limit_key": "l"}, "RT0024"),
        ({"idempotency_key": ""}, "RT0017"),
        ({"key": "k"}, "RT0017"),
        ({"service_name": "unknown"}, "RT0018"),
        ({"handler_name": "unknown"}, "RT0018"),
    ],
)
@pytest.mark.parametrize(
    "command", [call_command("greeter/greet", 2), send_command("greeter/greet", 2)], ids=["call", "send"]
)
def test_a_call_that_may_not_be_made_fails_the_attempt_and_leaves_nothing(
    play: Play, changed: dict[str, str], code: str, command: m.CallCommand | m.OneWayCallCommand
) -> None:
    caller = play.call("greeter/route")
    play.sdk(caller, m.RunCommand(1), msgspec.structs.replace(command, **changed))
    row = play.row(caller)
    assert row.last_error is not None
    assert row.last_error.restate_code == code
    assert play.journal(caller) == [m.RunCommand(1)]  # those before it stay
    assert len(play.store.invocations) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"service_name": "unknown"},
            "this app serves cart, greeter, signup; nothing it loads serves 'unknown': check the name",
        ),
        (
            {"handler_name": "unknown"},
            "service 'greeter' has no handler 'unknown', only greet, route: check the name",
        ),
    ],
)
def test_an_unknown_callee_is_reported_with_what_there_is(play: Play, changed: dict[str, str], message: str) -> None:
    caller = play.call("greeter/route")
    play.sdk(caller, msgspec.structs.replace(call_command("greeter/greet", 2), **changed))
    error = play.row(caller).last_error
    assert error is not None
    assert message in error.message


def test_what_nobody_serves_is_called_a_few_times_and_then_fails_the_run(play: Play) -> None:
    caller = play.call("greeter/route")
    _call_nobody(play, caller, UNKNOWN_CALLEE_ATTEMPTS_MAX - 1)
    assert play.status(caller) is Status.INVOKED
    _call_nobody(play, caller, 1)
    result = play.row(caller).result
    assert isinstance(result, m.Failure)
    assert "this app serves cart, greeter, signup; nothing it loads serves 'unknown'" in result.message


def test_a_call_waits_for_its_service_where_others_are_registered_by_url(play: Play) -> None:
    caller = play.call("greeter/route")
    play.register(msgspec.structs.replace(deployment("dp2"), kind=BY_URL))
    _call_nobody(play, caller, 2 * UNKNOWN_CALLEE_ATTEMPTS_MAX)
    assert play.status(caller) is Status.INVOKED
    error = play.row(caller).last_error
    assert error is not None
    assert "no service 'unknown' is registered, only cart, greeter, signup; the call is made once" in error.message


def _call_nobody(play: Play, caller: InvocationId, times: int) -> None:
    """So many attempts call a service that is not there; each time the next one begins, if there is one."""
    for _ in range(times):
        play.sdk(caller, msgspec.structs.replace(call_command("greeter/greet", 2), service_name="unknown"))
        play.time(3_600_000)


def test_a_handler_attaches_by_any_name(play: Play) -> None:
    by_key = play.call("greeter/greet", key="k")
    run = play.call("signup/w/run")
    caller = play.call("greeter/route")
    targets: tuple[m.AttachTarget, ...] = (
        m.InvocationIdTarget(ids.invocation_id_to_str(by_key)),
        m.IdempotentRequestTarget("greeter", None, "greet", "k"),
        m.WorkflowTarget("signup", "w"),
    )
    for number, target in enumerate(targets, 1):
        play.sdk(caller, m.AttachInvocationCommand(target, number), m.GetInvocationOutputCommand(target, 10 + number))
    assert [item for item in play.journal(caller) if isinstance(item, m.Completion)] == [
        m.Completion(OUTPUT_DONE, 11, m.VOID),
        m.Completion(OUTPUT_DONE, 12, m.VOID),
        m.Completion(OUTPUT_DONE, 13, m.VOID),
    ]
    play.skip()
    play.sdk_ends(by_key, b"greeted")
    play.sdk_ends(run, b"ran")
    play.expect(
        Close(by_key, FINISHED),
        Tell(caller, m.Completion(ATTACH_DONE, 1, success(b"greeted"))),
        Tell(caller, m.Completion(ATTACH_DONE, 2, success(b"greeted"))),
        Done(by_key, success(b"greeted")),
        Close(run, FINISHED),
        Tell(caller, m.Completion(ATTACH_DONE, 3, success(b"ran"))),
        Done(run, success(b"ran")),
    )
    play.sdk(caller, m.AttachInvocationCommand(targets[0], 20), m.GetInvocationOutputCommand(targets[2], 21))
    assert play.journal(caller)[-1] == m.Completion(OUTPUT_DONE, 21, success(b"ran"))
    assert play.journal(caller)[-3] == m.Completion(ATTACH_DONE, 20, success(b"greeted"))


def test_attaching_to_what_is_unknown_or_expired_gives_not_found(play: Play) -> None:
    known = play.call("greeter/greet", key="k")
    play.sdk_ends(known)
    caller = play.call("greeter/route")
    play.commit()
    play.now_ms += 86_400_000
    gone = m.InvocationIdTarget(ids.invocation_id_to_str(known))
    nothing = m.InvocationIdTarget(ids.invocation_id_to_str(b"n" * 24))
    play.sdk(caller, m.AttachInvocationCommand(gone, 1), m.AttachInvocationCommand(nothing, 2))
    play.sdk(caller, m.GetInvocationOutputCommand(gone, 3))
    results = [item.result for item in play.journal(caller) if isinstance(item, m.Completion)]
    assert results == [m.Failure(404, "not found")] * 3


def test_a_string_that_is_no_id_fails_the_attempt(play: Play) -> None:
    caller = play.call("greeter/route")
    play.sdk(caller, m.AttachInvocationCommand(m.InvocationIdTarget("inv_1nonsense"), 1))
    error = play.row(caller).last_error
    assert error is not None
    assert error.restate_code == "RT0017"
    assert "'inv_1nonsense'" in error.message


def test_a_target_is_resolved_by_the_latest_registration(play: Play) -> None:
    assert calls.resolve(play.state, "greeter", "greet", "ignored") == target_of("greeter/greet")
    assert calls.resolve(play.state, "cart", "add", None) == target_of("cart//add")
    assert calls.resolve(play.state, "cart", "nothing", "k") is None
    assert calls.resolve(play.state, "nothing", "add", "k") is None
