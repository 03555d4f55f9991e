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
        cid = len(self.rows)
        result = value if isinstance(value, Failure) else Success(json.dumps(value).encode())
        self.add(m.RunCommand(cid, name), completion_id=cid, name=name)
        completion = Completion(MessageType.RUN_COMPLETION, cid, result)
        self.add(completion, completion_id=cid, is_failure=isinstance(value, Failure))

    def call(self, child: bytes) -> None:
        cid = len(self.rows)
        self.add(m.CallCommand("Billing", "pay", b"", (), "", None, None, None, cid, cid + 1), completion_id=cid + 1)
        told = Completion(
            MessageType.CALL_INVOCATION_ID_COMPLETION, cid, m.InvocationIdResult(invocation_id_to_str(child))
        )
        self.add(told, completion_id=cid, child=child)
        self.add(Completion(MessageType.CALL_COMPLETION, cid + 1, Success(b"")), completion_id=cid + 1)


def reply(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    tools = [
        {"id": f"c{place}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for place, (name, arguments) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": "", "tool_calls": tools}
    return {"model": "m", "choices": [{"message": message}], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
