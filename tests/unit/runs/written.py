"""Journals written by hand: rows as the engine stores them, ten milliseconds apart, and an invocation that has them."""

from __future__ import annotations

import json
from typing import Any

from rewake.core.ids import EntryIndex, InvocationId, invocation_id_to_str
from rewake.core.model import Invocation, Status, Target
from rewake.core.writes import EntryRow
from rewake.protocol import messages as m
from rewake.protocol.codec import encode_message, message_type
from rewake.protocol.discovery import HandlerKind, ServiceType
from rewake.protocol.messages import Completion, Failure, MessageType, Success

ID, CHILD = b"i" * 24, b"c" * 24


def invocation(**changes: Any) -> Invocation:
    target = Target("Desk", "route", None, ServiceType.SERVICE, HandlerKind.SHARED)
    values: dict[str, Any] = {"status": Status.COMPLETED, "created_at_ms": 100, "modified_at_ms": 900}
    values |= {"completed_at_ms": 900, "running_at_ms": 130, "result": Success(b"1")}
    return Invocation(id=InvocationId(ID), target=target, **(values | changes))


class Journal:
    """Rows in the order they are added, ten milliseconds apart."""

    def __init__(self) -> None:
        self.rows: list[EntryRow] = []

    def add(self, message: Any, **facts: Any) -> None:
        index = len(self.rows)
        self.rows.append(
            EntryRow(
                InvocationId(ID),
                EntryIndex(index),
                message_type(message),
                encode_message(message),
                100 + index * 10,
                **facts,
            )
        )

    def run(self, name: str, value: Any) -> None:
        completion_id = len(self.rows)
        result = value if isinstance(value, Failure) else Success(json.dumps(value).encode())
        self.add(m.RunCommand(completion_id, name), completion_id=completion_id, name=name)
        completion = Completion(MessageType.RUN_COMPLETION, completion_id, result)
        self.add(completion, completion_id=completion_id, is_failure=isinstance(value, Failure))

    def call(self, child: bytes) -> None:
        id_known, done = len(self.rows), len(self.rows) + 1
        self.add(m.CallCommand("Billing", "pay", b"", (), "", None, None, None, id_known, done), completion_id=done)
        told = m.InvocationIdResult(invocation_id_to_str(child))
        known = Completion(MessageType.CALL_INVOCATION_ID_COMPLETION, id_known, told)
        self.add(known, completion_id=id_known, child=child)
        self.add(Completion(MessageType.CALL_COMPLETION, done, Success(b"")), completion_id=done)


def reply(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    tools = [
        {"id": f"c{place}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for place, (name, arguments) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": "", "tool_calls": tools}
    return {"model": "m", "choices": [{"message": message}], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
