"""Entries as the introspection tables show them, against forms recorded from the public server.

Only attach targets other than an invocation id were not seen there; their form is ours.
"""

from __future__ import annotations

import json

import protocol_strategies as strategies
import pytest
from hypothesis import given

from rewake.protocol import messages as m
from rewake.protocol.codec import encode_message, message_type
from rewake.protocol.discovery import HandlerKind, ServiceType
from rewake.protocol.journal_json import Callee, entry_json, entry_lite_json, entry_name, entry_type_name
from rewake.protocol.messages import MessageType


def full(message: m.Message, callee: Callee | None = None) -> str:
    return entry_json(message_type(message), encode_message(message, 7), 7, callee)


def lite(message: m.Message, callee: Callee | None = None) -> str:
    return entry_lite_json(message_type(message), encode_message(message, 7), 7, callee)


FORMS: list[tuple[m.Message, str, str]] = [
    (
        m.InputCommand((("accept", "*/*"),), b"3"),
        '{"Command":{"Input":{"headers":[{"name":"accept","value":"*/*"}],"payload":[51],"name":""}}}',
        '{"Command":{"Input":{}}}',
    ),
    (
        m.RunCommand(1, "s0"),
        '{"Command":{"Run":{"completion_id":1,"name":"s0"}}}',
        '{"Command":{"Run":{"completion_id":1,"name":"s0"}}}',
    ),
    (
        m.SleepCommand(1795353633731, 1),
        '{"Command":{"Sleep":{"wake_up_time":1795353633731,"completion_id":1,"name":""}}}',
        '{"Command":{"Sleep":{"wake_up_time":1795353633731,"completion_id":1}}}',
    ),
    (
        m.SetStateCommand(b"v", b"7"),
        '{"Command":{"SetState":{"key":"v","value":[55],"name":""}}}',
        '{"Command":{"SetState":{"key":"v"}}}',
    ),
    (
        m.GetEagerStateCommand(b"v", m.Success(b"2")),
        '{"Command":{"GetEagerState":{"key":"v","result":{"Success":[50]},"name":""}}}',
        '{"Command":{"GetEagerState":{"key":"v","result":"Success"}}}',
    ),
    (
        m.GetEagerStateCommand(b"v", m.VOID),
        '{"Command":{"GetEagerState":{"key":"v","result":"Void","name":""}}}',
        '{"Command":{"GetEagerState":{"key":"v","result":"Void"}}}',
    ),
    (
        m.GetEagerStateKeysCommand((b"a", b"\xff")),
        '{"Command":{"GetEagerStateKeys":{"state_keys":["a","\ufffd"],"name":""}}}',
        '{"Command":{"GetEagerStateKeys":{}}}',
    ),
    (m.ClearAllStateCommand(), '{"Command":{"ClearAllState":{"name":""}}}', '{"Command":{"ClearAllState":{}}}'),
    (
        m.GetPromiseCommand("go", 1),
        '{"Command":{"GetPromise":{"key":"go","completion_id":1,"name":""}}}',
        '{"Command":{"GetPromise":{"key":"go","completion_id":1}}}',
    ),
    (
        m.CompletePromiseCommand("go", m.Success(b'"'), 1),
        '{"Command":{"CompletePromise":{"key":"go","value":{"Success":[34]},"completion_id":1,"name":""}}}',
        '{"Command":{"CompletePromise":{"key":"go","completion_id":1}}}',
    ),
    (
        m.SendSignalCommand("inv_1", "go", m.Success(b"v"), "mine"),
        '{"Command":{"SendSignal":{"target_invocation_id":"inv_1","signal_id":{"Name":"go"},"result":{"Success":[118]},'
        '"name":"mine"}}}',
        '{"Command":{"SendSignal":{"target_invocation_id":"inv_1","signal_id":{"Name":"go"},"result":"Success",'
        '"name":"mine"}}}',
    ),
    (
        m.SendSignalCommand("inv_1", 1, m.VOID),
        '{"Command":{"SendSignal":{"target_invocation_id":"inv_1","signal_id":{"Index":1},"result":"Void","name":""}}}',
        '{"Command":{"SendSignal":{"target_invocation_id":"inv_1","signal_id":{"Index":1},"result":"Void"}}}',
    ),
    (
        m.OutputCommand(m.Success(b"3")),
        '{"Command":{"Output":{"result":{"Success":[51]},"name":""}}}',
        '{"Command":{"Output":{"result":"Success"}}}',
    ),
    (
        m.OutputCommand(m.Failure(409, "no", (("k", "v"),))),
        '{"Command":{"Output":{"result":{"Failure":{"code":409,"message":"no","metadata":{"k":"v"}}},"name":""}}}',
        '{"Command":{"Output":{"result":"Failure"}}}',
    ),
    (
        m.AttachInvocationCommand(m.IdempotentRequestTarget("S", None, "h", "ik"), 1),
        '{"Command":{"AttachInvocation":{"target":{"IdempotentRequest":{"service_name":"S","service_key":null,'
        '"handler_name":"h","idempotency_key":"ik","scope":null}},"completion_id":1,"name":""}}}',
        '{"Command":{"AttachInvocation":{"target":{"IdempotentRequest":{"service_name":"S","service_key":null,'
        '"handler_name":"h","idempotency_key":"ik","scope":null}},"completion_id":1}}}',
    ),
    (
        m.AttachInvocationCommand(m.InvocationIdTarget("inv_1"), 1),
        '{"Command":{"AttachInvocation":{"target":{"InvocationId":"inv_1"},"completion_id":1,"name":""}}}',
        '{"Command":{"AttachInvocation":{"target":{"InvocationId":"inv_1"},"completion_id":1}}}',
    ),
    (
        m.GetInvocationOutputCommand(m.WorkflowTarget("Wf", "w1"), 1),
        '{"Command":{"GetInvocationOutput":{"target":{"Workflow":{"workflow_name":"Wf","workflow_key":"w1",'
        '"scope":null}},"completion_id":1,"name":""}}}',
        '{"Command":{"GetInvocationOutput":{"target":{"Workflow":{"workflow_name":"Wf","workflow_key":"w1",'
        '"scope":null}},"completion_id":1}}}',
    ),
    (
        m.CompleteAwakeableCommand("sign_1", m.Failure(500, "no")),
        '{"Command":{"CompleteAwakeable":{"id":"sign_1","result":{"Failure":{"code":500,"message":"no"}},"name":""}}}',
        '{"Command":{"CompleteAwakeable":{"id":"sign_1","result":"Failure"}}}',
    ),
    (
        m.Completion(MessageType.RUN_COMPLETION, 1, m.Failure(500, "no")),
        '{"Notification":{"Completion":{"Run":{"completion_id":1,"result":{"Failure":{"code":500,"message":"no"}}}}}}',
        '{"Notification":{"ty":{"Completion":"Run"},"id":{"CompletionId":1},"result":"Failure"}}',
    ),
    (
        m.Completion(MessageType.SLEEP_COMPLETION, 1, m.VOID),
        '{"Notification":{"Completion":{"Sleep":{"completion_id":1}}}}',
        '{"Notification":{"ty":{"Completion":"Sleep"},"id":{"CompletionId":1},"result":"Void"}}',
    ),
    (
        m.Completion(MessageType.COMPLETE_PROMISE_COMPLETION, 1, m.VOID),
        '{"Notification":{"Completion":{"CompletePromise":{"completion_id":1,"result":"Void"}}}}',
        '{"Notification":{"ty":{"Completion":"CompletePromise"},"id":{"CompletionId":1},"result":"Void"}}',
    ),
    (
        m.Completion(MessageType.CALL_INVOCATION_ID_COMPLETION, 1, m.InvocationIdResult("inv_1")),
        '{"Notification":{"Completion":{"CallInvocationId":{"completion_id":1,"invocation_id":"inv_1"}}}}',
        '{"Notification":{"ty":{"Completion":"CallInvocationId"},"id":{"CompletionId":1},"result":"InvocationId"}}',
    ),
    (
        m.Completion(MessageType.GET_LAZY_STATE_KEYS_COMPLETION, 1, m.StateKeys((b"a",))),
        '{"Notification":{"Completion":{"GetLazyStateKeys":{"completion_id":1,"state_keys":["a"]}}}}',
        '{"Notification":{"ty":{"Completion":"GetLazyStateKeys"},"id":{"CompletionId":1},"result":"StateKeys"}}',
    ),
    (
        m.Signal(17, m.Success(b"1")),
        '{"Notification":{"Signal":{"id":{"Index":17},"result":{"Success":[49]}}}}',
        '{"Notification":{"ty":"Signal","id":{"SignalIndex":17},"result":"Success"}}',
    ),
    (
        m.Signal("go", m.VOID),
        '{"Notification":{"Signal":{"id":{"Name":"go"},"result":"Void"}}}',
        '{"Notification":{"ty":"Signal","id":{"SignalName":"go"},"result":"Void"}}',
    ),
]


@pytest.mark.parametrize(("message", "expected", "expected_lite"), FORMS)
def test_forms(message: m.Message, expected: str, expected_lite: str) -> None:
    assert full(message) == expected
    assert lite(message) == expected_lite


CALL = m.CallCommand("Greeter", "tree", b"0", (), "", None, None, None, 1, 2)
SPAN = {
    "span_context": {
        "trace_id": [0] * 16,
        "span_id": [0] * 8,
        "trace_flags": 0,
        "is_remote": False,
        "trace_state": "",
    },
    "cause": None,
}


def test_a_call_to_a_service() -> None:
    callee = Callee("inv_1", ServiceType.SERVICE, HandlerKind.PLAIN, 86_400_000, 1_500)
    target = {"Service": {"name": "Greeter", "handler": "tree", "scope": None}}
    request = {
        "invocation_id": "inv_1",
        "invocation_target": target,
        "span_context": SPAN,
        "parameter": [48],
        "headers": [],
        "idempotency_key": None,
        "completion_retention_duration": {"secs": 86400, "nanos": 0},
        "journal_retention_duration": {"secs": 1, "nanos": 500_000_000},
    }
    ids = {"invocation_id_completion_id": 1, "result_completion_id": 2}
    assert json.loads(full(CALL, callee)) == {"Command": {"Call": {"request": request, **ids, "name": ""}}}
    expected_lite = {"invocation_id": "inv_1", "invocation_target": target, **ids}
    assert json.loads(lite(CALL, callee)) == {"Command": {"Call": expected_lite}}


def test_a_one_way_call_to_an_object() -> None:
    send = m.OneWayCallCommand("Counter", "add", b"", (("a", "b"),), "k7", "ik", None, None, 5, 1)
    callee = Callee("inv_1", ServiceType.VIRTUAL_OBJECT, HandlerKind.EXCLUSIVE)
    body = json.loads(full(send, callee))["Command"]["OneWayCall"]
    assert body["request"]["invocation_target"] == {
        "VirtualObject": {"name": "Counter", "key": "k7", "handler": "add", "handler_ty": "Exclusive", "scope": None}
    }
    assert body["request"]["headers"] == [{"name": "a", "value": "b"}]
    assert body["request"]["idempotency_key"] == "ik"
    assert (body["invoke_time"], body["invocation_id_completion_id"], body["name"]) == (5, 1, "")


def test_a_call_to_a_workflow() -> None:
    call = m.CallCommand("Flow", "run", b"", (), "w1", None, "scope", None, 1, 2)
    body = json.loads(lite(call, Callee("inv_1", ServiceType.WORKFLOW, HandlerKind.WORKFLOW)))
    assert body["Command"]["Call"]["invocation_target"] == {
        "Workflow": {"name": "Flow", "key": "w1", "handler": "run", "handler_ty": "Workflow", "scope": "scope"}
    }


def test_an_unknown_callee_is_guessed_from_the_key() -> None:
    assert '"invocation_target":{"Service":{' in full(CALL)
    keyed = m.CallCommand("Counter", "add", b"", (), "k", None, None, None, 1, 2)
    assert '"invocation_target":{"VirtualObject":{' in full(keyed)


def test_type_names() -> None:
    assert entry_type_name(MessageType.RUN) == "Command: Run"
    assert entry_type_name(MessageType.ONE_WAY_CALL) == "Command: OneWayCall"
    assert entry_type_name(MessageType.RUN_COMPLETION) == "Notification: Run"
    assert entry_type_name(MessageType.CALL_INVOCATION_ID_COMPLETION) == "Notification: CallInvocationId"
    assert entry_type_name(MessageType.SIGNAL) == "Notification: Signal"


def test_names() -> None:
    def name_of(message: m.Message) -> str | None:
        return entry_name(message_type(message), encode_message(message), 6)

    assert name_of(m.RunCommand(1, "pick")) == "pick"
    assert name_of(m.SendSignalCommand("inv_1", 1, m.VOID, "mine")) == "mine"
    assert name_of(m.RunCommand(1)) == ""
    assert name_of(m.Signal(1, m.VOID)) is None


@given(strategies.commands | strategies.notifications)
def test_every_entry_has_both_forms(message: m.Message) -> None:
    for text in (full(message), lite(message)):
        (kind,) = json.loads(text)
        assert entry_type_name(message_type(message)).startswith(kind)
