"""Handler bodies: what each kind of Op does, in terms of the SDK's few verbs.

Everything a body decides depends only on what its journal says, as handlers must. Steps (`run`) may do anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from tests.simulation.sdk_model import Attempt, Cancelled, Failed, Retryable, Steps
from tests.simulation.world import KEYS, PROMISE_NAMES, SIGNAL_NAME, STATE_NAMES, Op

from rewake.core import ids
from rewake.core.model import Target
from rewake.protocol import messages as m
from rewake.protocol.codec import decode_message

COMBINATORS = (
    m.Combinator.FIRST_COMPLETED,
    m.Combinator.ALL_COMPLETED,
    m.Combinator.FIRST_SUCCEEDED_OR_ALL_FAILED,
    m.Combinator.ALL_SUCCEEDED_OR_FIRST_FAILED,
)


def body(attempt: Attempt) -> Steps:
    """The whole handler: its ops, its compensation when cancelled, its output."""
    target = attempt.start.target
    program = attempt.outside.world.programs[target.service, target.handler]
    result: m.Outcome
    try:
        try:
            yield from _run_ops(attempt, program.ops)
        except Cancelled:
            yield from _cancel_calls(attempt)
            if program.compensation is None:
                raise Failed(409, "cancelled") from None
            yield from _run_ops(attempt, program.compensation)
        result = m.Success(hashlib.blake2b(b"|".join(attempt.seen), digest_size=6).digest())
    except Cancelled:
        result = m.Failure(409, "cancelled")
    except Failed as error:
        result = error.failure
    attempt.command(m.OutputCommand(result))


def _run_ops(attempt: Attempt, ops: Iterable[Op]) -> Steps:
    for op in ops:
        yield from _OPS[op.kind](attempt, op)


def _cancel_calls(attempt: Attempt) -> Steps:
    """As SDKs do: learn the ids of all calls made, then signal each."""
    yield from attempt.wait(m.Future(tuple(attempt.calls), combinator=m.Combinator.ALL_COMPLETED), is_cancellable=False)
    for completion_id in attempt.calls:
        known = attempt.results[False, completion_id]
        assert isinstance(known, m.InvocationIdResult)
        attempt.command(m.SendSignalCommand(known.invocation_id, m.CANCEL_SIGNAL, m.VOID))
    attempt.calls = []


# Steps


def _start_step(attempt: Attempt, name: str) -> int:
    completion_id = attempt.completion_id()
    attempt.command(m.RunCommand(completion_id, name))
    return completion_id


def _execute(attempt: Attempt, completion_id: int, number: int) -> None:
    """Execute a step unless its result is known; it may fail a few times, or for good."""
    if completion_id in attempt.completed_in_replay:
        return
    attempt.outside.on_step(attempt, completion_id)
    failures = number % 8 - 4
    if attempt.retry_count < failures:
        if number & 64 and attempt.retry_count + 1 >= 2:
            attempt.propose(completion_id, m.Failure(500, "used up", (("tries", "2"),)))
            return
        behavior = m.ErrorBehavior.PAUSE if attempt.version >= 7 and number & 128 else m.ErrorBehavior.RETRY
        raise Retryable(20 if number & 32 else None, behavior)
    attempt.outside.step_count += 1
    attempt.propose(completion_id, m.Success(b"%d" % attempt.outside.step_count))


def _run(attempt: Attempt, op: Op) -> Steps:
    completion_id = _start_step(attempt, f"step {op.number}")
    _execute(attempt, completion_id, op.number)
    attempt.see((yield from attempt.result(completion_id)))


def _runs(attempt: Attempt, op: Op) -> Steps:
    """Several steps at once, awaited together; some may be left behind."""
    completion_ids = [_start_step(attempt, f"step {op.number}.{part}") for part in range(2 + op.number % 2)]
    for completion_id in attempt.outside.rng.sample(completion_ids, len(completion_ids)):
        _execute(attempt, completion_id, 0)
    combinator = COMBINATORS[op.number % 4]
    yield from attempt.wait(m.Future(tuple(completion_ids), combinator=combinator))
    _see_all(attempt, completion_ids)


def _see_all(attempt: Attempt, completion_ids: Iterable[int]) -> None:
    for completion_id in completion_ids:
        attempt.see(attempt.results.get((False, completion_id), m.VOID))


def _fail(attempt: Attempt, op: Op) -> Steps:
    if op.number % 4 == 0:
        raise Failed(500, "failed for good")
    if op.number % 4 == 1 and attempt.replayed is None and attempt.retry_count < 2:
        raise Retryable(10 if op.number & 8 else None)
    yield from ()


# Time and signals


def _start_sleep(attempt: Attempt, op: Op) -> int:
    completion_id = attempt.completion_id()
    attempt.command(m.SleepCommand(attempt.outside.now_ms + op.number % 400 - 20, completion_id))
    return completion_id


def _sleep(attempt: Attempt, op: Op) -> Steps:
    attempt.see((yield from attempt.result(_start_sleep(attempt, op))))


def _publish(attempt: Attempt) -> int:
    """A new awakeable, its id told to the world outside in a step of its own."""
    index = attempt.signal_index()
    completion_id = _start_step(attempt, "publish")
    if completion_id not in attempt.completed_in_replay:
        attempt.outside.awakeables.append((attempt.id, index))
        attempt.outside.on_step(attempt, completion_id)
        attempt.propose(completion_id, m.Success(ids.awakeable_id_format(attempt.id, index).encode()))
    return index


def _awakeable(attempt: Attempt, op: Op) -> Steps:
    index = _publish(attempt)
    sleep_id = _start_sleep(attempt, op) if op.number % 3 == 0 else None
    future = m.Future((sleep_id,) if sleep_id else (), (index,), combinator=COMBINATORS[op.number % 4])
    yield from attempt.wait(future)
    attempt.see(attempt.results.get((True, index), m.VOID))


def _signal(attempt: Attempt, op: Op) -> Steps:
    """Wait for a named signal, but not for ever."""
    future = m.Future(
        (_start_sleep(attempt, op),), named_signals=(SIGNAL_NAME,), combinator=m.Combinator.FIRST_COMPLETED
    )
    yield from attempt.wait(future)
    attempt.see(attempt.results.get((True, SIGNAL_NAME), m.VOID))


def _resolve_other(attempt: Attempt, op: Op) -> Steps:
    """Complete some awakeable of anybody, which one decided in a step."""
    completion_id = _start_step(attempt, "find")
    if completion_id not in attempt.completed_in_replay:
        attempt.outside.on_step(attempt, completion_id)
        found = attempt.outside.awakeables
        text = ids.awakeable_id_format(*attempt.outside.rng.choice(found)) if found else ""
        attempt.propose(completion_id, m.Success(text.encode()))
    awakeable_id = attempt.see((yield from attempt.result(completion_id)))
    if awakeable_id:
        result = m.Failure(400, "no", (("a", "b"),)) if op.number % 3 == 0 else m.Success(b"%d" % op.number)
        attempt.command(m.CompleteAwakeableCommand(awakeable_id.decode(), result))


# Calls


def _start_call(attempt: Attempt, op: Op, target: Target) -> int:
    id_completion, result_completion = attempt.completion_id(), attempt.completion_id()
    attempt.command(
        m.CallCommand(
            target.service,
            target.handler,
            b"%d" % op.number,
            (),
            target.key or "",
            op.idempotency_key,
            None,
            None,
            id_completion,
            result_completion,
        )
    )
    attempt.calls.append(id_completion)
    return result_completion


def _call(attempt: Attempt, op: Op) -> Steps:
    assert op.target is not None
    attempt.see((yield from attempt.result(_start_call(attempt, op, op.target))))


def _race(attempt: Attempt, op: Op) -> Steps:
    """A step against a sleep."""
    sleep_id = _start_sleep(attempt, op)
    completion_id = _start_step(attempt, "race")
    _execute(attempt, completion_id, op.number)
    yield from attempt.wait(m.Future((sleep_id, completion_id), combinator=m.Combinator.FIRST_COMPLETED))
    _see_all(attempt, (sleep_id, completion_id))


def _gather(attempt: Attempt, op: Op) -> Steps:
    """The same call to each key, awaited together."""
    assert op.target is not None
    keys = KEYS if op.target.key is not None else (None, None)
    targets = [
        Target(op.target.service, op.target.handler, key, op.target.service_type, op.target.kind) for key in keys
    ]
    completion_ids = [_start_call(attempt, op, target) for target in targets]
    yield from attempt.wait(m.Future(tuple(completion_ids), combinator=COMBINATORS[op.number % 4]))
    _see_all(attempt, completion_ids)


def _send(attempt: Attempt, op: Op) -> Steps:
    yield from _start_send(attempt, op)


def _start_send(attempt: Attempt, op: Op) -> Steps:
    assert op.target is not None
    completion_id = attempt.completion_id()
    # The time must not change on replay: take it from the journaled command, as SDKs that journal it do.
    at_ms = attempt.outside.now_ms + op.number % 300 if op.number & 1 else 0
    if attempt.replayed is not None and attempt.replayed[0] == m.MessageType.ONE_WAY_CALL:
        journaled = decode_message(*attempt.replayed, attempt.version)
        assert isinstance(journaled, m.OneWayCallCommand)
        at_ms = journaled.invoke_at_ms
    attempt.command(
        m.OneWayCallCommand(
            op.target.service,
            op.target.handler,
            b"%d" % op.number,
            (("trace", "t"),),
            op.target.key or "",
            op.idempotency_key,
            None,
            None,
            at_ms,
            completion_id,
        )
    )
    known = yield from attempt.result(completion_id)
    assert isinstance(known, m.InvocationIdResult)
    attempt.children.append(known.invocation_id)


def _tell_child(attempt: Attempt, op: Op) -> Steps:
    """Send something off and signal it: by name, or to cancel it."""
    yield from _start_send(attempt, op)
    signal: int | str = m.CANCEL_SIGNAL if op.number % 4 == 0 else SIGNAL_NAME
    result: m.SignalResult = m.VOID if signal == m.CANCEL_SIGNAL else m.Success(b"told")
    attempt.command(m.SendSignalCommand(attempt.children[-1], signal, result))


def _attach_to(attempt: Attempt, op: Op, target: m.AttachTarget) -> Steps:
    completion_id = attempt.completion_id()
    if op.number % 3 == 0:
        attempt.command(m.GetInvocationOutputCommand(target, completion_id))
    else:
        attempt.command(m.AttachInvocationCommand(target, completion_id))
    attempt.see((yield from attempt.result(completion_id)))


def _attach(attempt: Attempt, op: Op) -> Steps:
    yield from _start_send(attempt, op)
    yield from _attach_to(attempt, op, m.InvocationIdTarget(attempt.children[-1]))


def _attach_flow(attempt: Attempt, op: Op) -> Steps:
    if attempt.start.target.service in ("Front", "Object"):
        yield from _attach_to(attempt, op, m.WorkflowTarget("Flow", KEYS[op.number % 2]))


def _attach_key(attempt: Attempt, op: Op) -> Steps:
    assert op.target is not None
    target = op.target
    key = op.idempotency_key or "k1"
    yield from _attach_to(attempt, op, m.IdempotentRequestTarget(target.service, target.key, target.handler, key))


# State


def _get(attempt: Attempt, op: Op) -> Steps:
    name = STATE_NAMES[op.number % 3]
    completion_id = attempt.completion_id()
    if attempt.replayed is not None and attempt.replayed[0] == m.MessageType.GET_EAGER_STATE:
        journaled = decode_message(*attempt.replayed, attempt.version)
        assert isinstance(journaled, m.GetEagerStateCommand)
        attempt.command(m.GetEagerStateCommand(name, journaled.result))
        attempt.see(journaled.result)
    elif attempt.replayed is None and (name in attempt.values or not attempt.is_partial):
        value = attempt.values.get(name)
        result = m.VOID if value is None else m.Success(value)
        attempt.command(m.GetEagerStateCommand(name, result))
        attempt.see(result)
    else:
        attempt.command(m.GetLazyStateCommand(name, completion_id))
        attempt.see((yield from attempt.result(completion_id)))


def _keys(attempt: Attempt, op: Op) -> Steps:
    completion_id = attempt.completion_id()
    if attempt.replayed is not None and attempt.replayed[0] == m.MessageType.GET_EAGER_STATE_KEYS:
        journaled = decode_message(*attempt.replayed, attempt.version)
        assert isinstance(journaled, m.GetEagerStateKeysCommand)
        attempt.command(journaled)
        attempt.see(m.StateKeys(journaled.keys))
    elif attempt.replayed is None and not attempt.is_partial:
        names = tuple(sorted(attempt.values))
        attempt.command(m.GetEagerStateKeysCommand(names))
        attempt.see(m.StateKeys(names))
    else:
        attempt.command(m.GetLazyStateKeysCommand(completion_id))
        attempt.see((yield from attempt.result(completion_id)))


def _set(attempt: Attempt, op: Op) -> Steps:
    name, value = (
        STATE_NAMES[op.number % 3],
        b"%d.%d" % (op.number, attempt.start.random_seed % 1000) + b"".join(attempt.seen[-1:]),
    )
    attempt.command(m.SetStateCommand(name, value))
    attempt.values[name] = value
    yield from ()


def _clear(attempt: Attempt, op: Op) -> Steps:
    name = STATE_NAMES[op.number % 3]
    attempt.command(m.ClearStateCommand(name))
    # In a partial map an absent name would be asked for lazily, which gives the same answer.
    attempt.values.pop(name, None)
    yield from ()


def _clear_all(attempt: Attempt, op: Op) -> Steps:
    attempt.command(m.ClearAllStateCommand())
    attempt.values.clear()
    yield from ()


# Promises


def _promise_get(attempt: Attempt, op: Op) -> Steps:
    completion_id = attempt.completion_id()
    attempt.command(m.GetPromiseCommand(PROMISE_NAMES[op.number % 2], completion_id))
    attempt.see((yield from attempt.result(completion_id)))


def _promise_peek(attempt: Attempt, op: Op) -> Steps:
    completion_id = attempt.completion_id()
    attempt.command(m.PeekPromiseCommand(PROMISE_NAMES[op.number % 2], completion_id))
    attempt.see((yield from attempt.result(completion_id)))


def _promise_complete(attempt: Attempt, op: Op) -> Steps:
    yield from _complete(attempt, PROMISE_NAMES[op.number % 2], b"%d" % op.number)


def _complete(attempt: Attempt, name: str, value: bytes) -> Steps:
    completion_id = attempt.completion_id()
    result = m.Failure(418, "broken") if value.endswith(b"7") else m.Success(value)
    attempt.command(m.CompletePromiseCommand(name, result, completion_id))
    attempt.see((yield from attempt.result(completion_id)))


def _finish_promises(attempt: Attempt, op: Op) -> Steps:
    for name in PROMISE_NAMES:
        yield from _complete(attempt, name, b"finished")


_OPS: dict[str, Callable[[Attempt, Op], Steps]] = {
    "run": _run,
    "runs": _runs,
    "fail": _fail,
    "sleep": _sleep,
    "awakeable": _awakeable,
    "signal": _signal,
    "resolve_other": _resolve_other,
    "call": _call,
    "race": _race,
    "gather": _gather,
    "send": _send,
    "tell_child": _tell_child,
    "attach": _attach,
    "attach_flow": _attach_flow,
    "attach_key": _attach_key,
    "get": _get,
    "keys": _keys,
    "set": _set,
    "clear": _clear,
    "clear_all": _clear_all,
    "promise_get": _promise_get,
    "promise_peek": _promise_peek,
    "promise_complete": _promise_complete,
    "finish_promises": _finish_promises,
}
