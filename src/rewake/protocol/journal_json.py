"""Journal entries in the form of the introspection tables: type, name, JSON, and JSON without payloads.

The forms are those of the public `sys_journal` table, which the web UI and the command line read; byte strings are
arrays of numbers. A call's entry also shows its target, which is not completely in its bytes: a Callee adds it. Used by
rewake.sql; nothing here is stored.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, assert_never

import msgspec

from rewake.protocol import messages as m
from rewake.protocol.codec import decode_message
from rewake.protocol.discovery import HandlerKind, ServiceType
from rewake.protocol.messages import MessageType

_Json = dict[str, Any]

_COMPLETION_SUFFIX: Final = "_COMPLETION"
_SPAN_CONTEXT: Final[_Json] = {
    "span_context": {
        "trace_id": [0] * 16,
        "span_id": [0] * 8,
        "trace_flags": 0,
        "is_remote": False,
        "trace_state": "",
    },
    "cause": None,
}
_TARGET_TITLES: Final = {
    ServiceType.SERVICE: "Service",
    ServiceType.VIRTUAL_OBJECT: "VirtualObject",
    ServiceType.WORKFLOW: "Workflow",
}


class Callee(NamedTuple):
    """Facts of a call's target that the command does not have."""

    invocation_id: str
    service_type: ServiceType
    handler_kind: HandlerKind
    completion_retention_ms: int = 0
    journal_retention_ms: int = 0


def entry_type_name(type_id: int) -> str:
    """The type's name, such as `Command: Run` or `Notification: Run`."""
    kind = "Command" if type_id < MessageType.GET_LAZY_STATE_COMPLETION else "Notification"
    return f"{kind}: {_title(type_id)}"


def entry_name(type_id: int, payload: bytes, version: int) -> str | None:
    """A command's name, empty if unnamed; None for notifications."""
    return getattr(decode_message(type_id, payload, version), "name", None)


def entry_json(type_id: int, payload: bytes, version: int, callee: Callee | None = None) -> str:
    """The whole entry. Without a `callee`, a call's target is guessed from its key."""
    message = decode_message(type_id, payload, version)
    body: _Json
    match message:
        case m.Completion():
            body = {"Notification": {"Completion": {_title(type_id): _completion(message)}}}
        case m.Signal():
            body = {"Notification": {"Signal": {"id": _signal_id(message.signal), "result": _result(message.result)}}}
        case _:
            body = {"Command": {_title(type_id): _command(message, callee)}}
    return _dump(body)


def entry_lite_json(type_id: int, payload: bytes, version: int, callee: Callee | None = None) -> str:
    """The entry without users' content: no payloads, no headers, no empty names."""
    message = decode_message(type_id, payload, version)
    match message:
        case m.Completion():
            notification = {
                "ty": {"Completion": _title(type_id)},
                "id": {"CompletionId": message.completion_id},
                "result": _result_title(message.result),
            }
            return _dump({"Notification": notification})
        case m.Signal():
            key = "SignalIndex" if isinstance(message.signal, int) else "SignalName"
            signal = {"ty": "Signal", "id": {key: message.signal}, "result": _result_title(message.result)}
            return _dump({"Notification": signal})
        case _:
            return _dump({"Command": {_title(type_id): _without_payloads(_command(message, callee))}})


def _command(message: m.Message, callee: Callee | None) -> _Json:
    """The fields of a command, in the order the table shows them."""
    match message:
        case m.InputCommand():
            return {"headers": _headers(message.headers), "payload": list(message.value), "name": message.name}
        case m.CallCommand():
            return {
                "request": _request(message, callee),
                "invocation_id_completion_id": message.invocation_id_completion_id,
                "result_completion_id": message.result_completion_id,
                "name": message.name,
            }
        case m.OneWayCallCommand():
            return {
                "request": _request(message, callee),
                "invoke_time": message.invoke_at_ms,
                "invocation_id_completion_id": message.invocation_id_completion_id,
                "name": message.name,
            }
        case _:
            fields = {attribute: getattr(message, attribute) for attribute in message.__struct_fields__}
            renamed = _RENAMED.get(type(message), {})
            return {renamed.get(attribute, attribute): _value(value, attribute) for attribute, value in fields.items()}


_RENAMED: Final[dict[type, dict[str, str]]] = {
    m.GetEagerStateKeysCommand: {"keys": "state_keys"},
    m.CompletePromiseCommand: {"result": "value"},
    m.SleepCommand: {"wake_up_at_ms": "wake_up_time"},
    m.SendSignalCommand: {"signal": "signal_id", "entry_name": "name"},
    m.CompleteAwakeableCommand: {"awakeable_id": "id"},
}
"""Fields with another name in the table than in the message."""


def _value(value: Any, attribute: str) -> Any:
    if attribute == "key" and isinstance(value, bytes):
        return value.decode(errors="replace")
    if attribute == "signal":
        return _signal_id(value)
    if attribute == "target":
        return _attach_target(value)
    if attribute == "keys":
        return _state_keys(value)
    if attribute == "result":
        return _result(value)
    return list(value) if isinstance(value, bytes) else value


def _request(call: m.CallCommand | m.OneWayCallCommand, callee: Callee | None) -> _Json:
    if callee is None:
        keyed = (ServiceType.VIRTUAL_OBJECT, HandlerKind.EXCLUSIVE)
        callee = Callee("", *(keyed if call.key else (ServiceType.SERVICE, HandlerKind.PLAIN)))
    return {
        "invocation_id": callee.invocation_id,
        "invocation_target": _invocation_target(call, callee),
        "span_context": _SPAN_CONTEXT,
        "parameter": list(call.parameter),
        "headers": _headers(call.headers),
        "idempotency_key": call.idempotency_key,
        "completion_retention_duration": _duration(callee.completion_retention_ms),
        "journal_retention_duration": _duration(callee.journal_retention_ms),
    }


def _invocation_target(call: m.CallCommand | m.OneWayCallCommand, callee: Callee) -> _Json:
    target: _Json = {"name": call.service_name}
    if callee.service_type is not ServiceType.SERVICE:
        target["key"] = call.key
    target["handler"] = call.handler_name
    if callee.service_type is not ServiceType.SERVICE:
        target["handler_ty"] = callee.handler_kind.capitalize()
    target["scope"] = call.scope
    return {_TARGET_TITLES[callee.service_type]: target}


def _without_payloads(command: _Json) -> _Json:
    """A command without users' content: no arrays, only the kind of a result, and no promise value."""
    request = command.get("request")
    if request is not None:
        command = {key: request[key] for key in ("invocation_id", "invocation_target")} | command
    if "result" in command:
        command["result"] = _kind_of(command["result"])
    dropped = {"request", "value"} if command["name"] else {"request", "value", "name"}
    return {key: value for key, value in command.items() if key not in dropped and not isinstance(value, list)}


def _kind_of(result: str | _Json) -> str:
    return result if isinstance(result, str) else next(iter(result))


def _completion(completion: m.Completion) -> _Json:
    body: _Json = {"completion_id": completion.completion_id}
    match completion.result:
        case m.InvocationIdResult(invocation_id):
            return body | {"invocation_id": invocation_id}
        case m.StateKeys(keys):
            return body | {"state_keys": _state_keys(keys)}
        case m.Void() if completion.type is MessageType.SLEEP_COMPLETION:
            return body
        case m.Void() | m.Success() | m.Failure():
            return body | {"result": _result(completion.result)}
        case _:
            assert_never(completion.result)


def _result(result: m.SignalResult) -> str | _Json:
    match result:
        case m.Void():
            return "Void"
        case m.Success(content):
            return {"Success": list(content)}
        case m.Failure(code, message, metadata):
            failure: _Json = {"code": code, "message": message}
            return {"Failure": failure | ({"metadata": dict(metadata)} if metadata else {})}
        case _:
            assert_never(result)


def _result_title(result: m.Result) -> str:
    return "InvocationId" if isinstance(result, m.InvocationIdResult) else type(result).__name__


def _signal_id(signal: int | str) -> _Json:
    return {"Index": signal} if isinstance(signal, int) else {"Name": signal}


def _attach_target(target: m.AttachTarget) -> _Json:
    match target:
        case m.InvocationIdTarget(invocation_id):
            return {"InvocationId": invocation_id}
        case m.IdempotentRequestTarget():
            return {"IdempotentRequest": msgspec.structs.asdict(target)}
        case m.WorkflowTarget():
            return {"Workflow": msgspec.structs.asdict(target)}
        case _:
            assert_never(target)


def _headers(headers: tuple[m.Header, ...]) -> list[_Json]:
    return [{"name": name, "value": value} for name, value in headers]


def _state_keys(keys: tuple[bytes, ...]) -> list[str]:
    return [key.decode(errors="replace") for key in keys]


def _duration(duration_ms: int) -> dict[str, int]:
    return {"secs": duration_ms // 1000, "nanos": duration_ms % 1000 * 1_000_000}


def _title(type_id: int) -> str:
    """The type's name in the table: GetLazyState for the command and for its completion."""
    name = MessageType(type_id).name.removesuffix(_COMPLETION_SUFFIX)
    return "".join(word.capitalize() for word in name.split("_"))


def _dump(body: _Json) -> str:
    return msgspec.json.encode(body).decode()
