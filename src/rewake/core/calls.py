"""Calls: from outside (Invoke, Attach) and from handlers (Call, OneWayCall, Attach, GetOutput).

This file defines ids. A workflow run's id follows from its key, and that of a call with an idempotency key from that
key, so a repeated call finds the first one. Every other call gets a new id from the caller's random bytes. A call with
a known id joins that invocation. Called by apply.py and sdk_commands.py. Read next: lifecycle.py.
"""

from __future__ import annotations

from rewake.core import ids, journal, lifecycle, retention
from rewake.core.commands import Attach, Invoke
from rewake.core.effects import Reply, ReplyStatus
from rewake.core.errors import CommandRejected
from rewake.core.ids import CompletionId, InvocationId
from rewake.core.model import Invocation, InvokedBy, Listener, Target
from rewake.core.state import State
from rewake.names import some_of
from rewake.protocol.messages import (
    AttachTarget,
    CallCommand,
    Completion,
    Failure,
    IdempotentRequestTarget,
    InvocationIdResult,
    InvocationIdTarget,
    MessageType,
    OneWayCallCommand,
    Result,
)

ALREADY_INVOKED = Failure(409, "the workflow method was already invoked")
NOT_FOUND = Failure(404, "not found")


def identify(target: Target, idempotency_key: str | None, random: bytes, now_ms: int) -> InvocationId:
    """The invocation's id: derived from its key or idempotency key, else a ULID made of `random` (10 bytes)."""
    if target.is_workflow_run:
        return ids.workflow_invocation_id(target.service, target.key or "")
    if idempotency_key is not None:
        return ids.idempotent_invocation_id(target.service, target.key, target.handler, idempotency_key)
    return ids.new_invocation_id(target.key, target.service, ids.ulid_bytes(now_ms, random))


def resolve(state: State, service_name: str, handler_name: str, key: str | None) -> Target | None:
    """The target, from the latest registration; None if unknown. `key` is ignored for plain services."""
    service = state.services.get(service_name)
    handler = service.handlers.get(handler_name) if service else None
    if service is None or handler is None:
        return None
    return Target(service_name, handler_name, (key or "") if service.is_keyed else None, service.type, handler.kind)


# From outside


def on_invoke(state: State, command: Invoke) -> None:
    target, now_ms = command.target, command.now_ms
    key = None if target.is_workflow_run else command.idempotency_key
    invocation_id = identify(target, key, command.random, now_ms)
    is_named = target.is_workflow_run or key is not None
    known = retention.find_live(state, invocation_id, now_ms) if is_named else None
    if known is not None:
        state.emit(_join(known, command))
        return
    # Answer the caller first: an invocation that cannot start may complete within this command.
    state.emit(Reply(command.token, ReplyStatus.ACCEPTED, invocation_id, wait=command.wait))
    lifecycle.create(
        state,
        invocation_id=invocation_id,
        target=target,
        input=command.input,
        headers=command.headers,
        now_ms=now_ms,
        random_seed=ids.random_seed_of(invocation_id),
        idempotency_key=key,
        execute_at_ms=command.execute_at_ms,
        traceparent=command.traceparent,
    )


def _join(known: Invocation, command: Invoke) -> Reply:
    """Answer a repeated call: a second workflow run is refused; any other call gets the first one's result."""
    if not command.wait:
        return Reply(command.token, ReplyStatus.PREVIOUSLY_ACCEPTED, known.id)
    if command.target.is_workflow_run:
        return Reply(command.token, ReplyStatus.COMPLETED, known.id, ALREADY_INVOKED)
    return _result_or_wait(known, command.token, wait=True)


def _result_or_wait(known: Invocation, token: int, *, wait: bool) -> Reply:
    if known.result is not None:
        return Reply(token, ReplyStatus.COMPLETED, known.id, known.result, known.purge_at_ms)
    return Reply(token, ReplyStatus.PENDING, known.id, wait=wait)


def on_attach(state: State, command: Attach) -> None:
    known = retention.find_live(state, command.invocation_id, command.now_ms)
    if known is None:
        state.emit(Reply(command.token, ReplyStatus.NOT_FOUND, command.invocation_id))
    else:
        state.emit(_result_or_wait(known, command.token, wait=command.wait))


# From handlers


def call(
    state: State, caller: Invocation, message: CallCommand | OneWayCallCommand, now_ms: int, random: bytes
) -> None:
    """Create or join the callee; for a Call, add the caller as its listener.

    The Call itself must already be in the caller's journal; its invocation-id notification is appended here.
    """
    target = _target_of(state, message)
    key = None if target.is_workflow_run else message.idempotency_key
    callee_id = identify(target, key, random, now_ms)
    is_named = target.is_workflow_run or key is not None
    known = retention.find_live(state, callee_id, now_ms) if is_named else None
    completion_id = message.invocation_id_completion_id
    id_result = InvocationIdResult(ids.invocation_id_to_str(callee_id))
    completion = Completion(MessageType.CALL_INVOCATION_ID_COMPLETION, completion_id, id_result)
    journal.append_completion(state, caller, completion, now_ms=now_ms, child=callee_id)
    if known is None:
        execute_at_ms = message.invoke_at_ms if isinstance(message, OneWayCallCommand) else None
        known = lifecycle.create(
            state,
            invocation_id=callee_id,
            target=target,
            input=message.parameter,
            headers=message.headers,
            now_ms=now_ms,
            random_seed=ids.random_seed_of(callee_id),
            idempotency_key=key,
            execute_at_ms=execute_at_ms,
            invoked_by=InvokedBy.SERVICE,
            caller=caller,
        )
    elif target.is_workflow_run and isinstance(message, CallCommand):
        completion_id = CompletionId(message.result_completion_id)
        _tell(state, caller, completion_id, MessageType.CALL_COMPLETION, ALREADY_INVOKED, now_ms)
        return
    if isinstance(message, CallCommand):
        _listen(state, caller, CompletionId(message.result_completion_id), MessageType.CALL_COMPLETION, known, now_ms)


def check_call(state: State, message: CallCommand | OneWayCallCommand) -> None:
    """Raise CommandRejected if the call is not allowed. Changes nothing."""
    if message.scope is not None or message.limit_key is not None:
        raise CommandRejected("RT0024", "scopes and limit keys are not supported")
    if message.idempotency_key == "":
        raise CommandRejected("RT0017", "the idempotency key of a call must not be empty")
    target = _target_of(state, message)
    if target.key is None and message.key:
        raise CommandRejected("RT0017", f"'{message.service_name}' is a plain service and takes no key")


def _target_of(state: State, message: CallCommand | OneWayCallCommand) -> Target:
    target = resolve(state, message.service_name, message.handler_name, message.key)
    if target is None:
        raise CommandRejected("RT0018", _unknown_callee(state, message.service_name, message.handler_name))
    return target


def _unknown_callee(state: State, service_name: str, handler_name: str) -> str:
    service = state.services.get(service_name)
    if service is not None:
        there_are = f"service '{service_name}' has no handler '{handler_name}', only {some_of(service.handlers)}"
    elif state.is_self_contained:
        there_are = f"this app serves {some_of(state.services)}; nothing it loads serves '{service_name}'"
    else:
        there_are = f"no service '{service_name}' is registered, only {some_of(state.services)}"
    if state.is_self_contained:
        return f"{there_are}: check the name, import what defines it into the app, or register where it is served"
    return f"{there_are}; the call is made once it is served: check the name, or start or register what serves it"


def attach_target_id(target: AttachTarget) -> InvocationId:
    """The invocation id of an attach. Raises CommandRejected if it is not an invocation id."""
    match target:
        case InvocationIdTarget(invocation_id):
            try:
                return ids.invocation_id_from_str(invocation_id)
            except ids.InvalidId as error:
                raise CommandRejected("RT0017", f"bad invocation id '{invocation_id}': {error}") from error
        case IdempotentRequestTarget(service, key, handler, idempotency_key):
            return ids.idempotent_invocation_id(service, key, handler, idempotency_key)
        case _:
            return ids.workflow_invocation_id(target.workflow_name, target.workflow_key)


def attach(
    state: State, caller: Invocation, invocation_id: InvocationId, completion_id: CompletionId, now_ms: int
) -> None:
    known = retention.find_live(state, invocation_id, now_ms)
    if known is None:
        _tell(state, caller, completion_id, MessageType.ATTACH_INVOCATION_COMPLETION, NOT_FOUND, now_ms)
    else:
        _listen(state, caller, completion_id, MessageType.ATTACH_INVOCATION_COMPLETION, known, now_ms)


def output(state: State, invocation_id: InvocationId, now_ms: int) -> Result | None:
    """The result of an invocation for a handler that does not wait: failure 404 if unknown, None if not ready."""
    known = retention.find_live(state, invocation_id, now_ms)
    return NOT_FOUND if known is None else known.result


def _listen(
    state: State, caller: Invocation, completion_id: CompletionId, type: MessageType, known: Invocation, now_ms: int
) -> None:
    if known.result is not None:
        _tell(state, caller, completion_id, type, known.result, now_ms)
        return
    state.listen(known, Listener(caller.id, completion_id, type))


def _tell(
    state: State, caller: Invocation, completion_id: CompletionId, type: MessageType, result: Result, now_ms: int
) -> None:
    journal.append_completion(state, caller, Completion(type, completion_id, result), now_ms=now_ms)
