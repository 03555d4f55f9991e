"""Workflow promises: named results of one workflow key, completed once, awaited by any of its handlers."""

from __future__ import annotations

from rewake.core import ids, journal, retention
from rewake.core.commands import CompletePromise
from rewake.core.effects import Reply, ReplyStatus
from rewake.core.model import Listener
from rewake.core.state import State
from rewake.protocol.messages import VOID, Completion, Failure, MessageType, Result, Success, Void

ALREADY_COMPLETED = Failure(409, "promise was already completed")


def get(state: State, service: str, key: str, name: str, listener: Listener) -> Success | Failure | None:
    """The promise's result; None if it is open: then `listener` is registered and gets it later."""
    promise = state.promise(service, key, name)
    if promise.result is None:
        promise.listeners.append(listener)
        state.batch.promise_listeners.append(((service, key, name), listener))
        state.batch.promises.setdefault((service, key, name), None)
    return promise.result


def peek(state: State, service: str, key: str, name: str) -> Success | Failure | Void:
    return state.promise(service, key, name).result or VOID


def complete(state: State, service: str, key: str, name: str, result: Success | Failure, now_ms: int) -> Result:
    """Set the result once and notify all listeners. Returns the answer for the completer: void, or failure 409."""
    promise = state.promise(service, key, name)
    if promise.result is not None:
        return ALREADY_COMPLETED
    promise.result = result
    state.batch.promises[(service, key, name)] = result
    listeners, promise.listeners = promise.listeners, []
    if listeners:
        batch, promise_key = state.batch, (service, key, name)
        batch.promise_listeners = [row for row in batch.promise_listeners if row[0] != promise_key]
        batch.promise_listener_deletes.append(promise_key)
    for listener in listeners:
        waiting = state.invocation(listener.caller_id)
        if waiting is not None:
            completion = Completion(MessageType.GET_PROMISE_COMPLETION, listener.completion_id, result)
            journal.append_completion(state, waiting, completion, now_ms=now_ms)
    return VOID


def on_complete(state: State, command: CompletePromise) -> None:
    """Complete a promise from outside. Refused for a key without run and listeners: the promise would stay for ever."""
    service, key, name = command.service, command.key, command.name
    promise = state.promise(service, key, name)
    run_id = ids.workflow_invocation_id(service, key)
    if promise.result is not None:
        status = ReplyStatus.ALREADY_COMPLETED
    elif not promise.listeners and retention.find_live(state, run_id, command.now_ms) is None:
        status = ReplyStatus.NOT_FOUND
    else:
        complete(state, service, key, name, command.result, command.now_ms)
        status = ReplyStatus.ACCEPTED
    state.emit(Reply(command.token, status, run_id))
