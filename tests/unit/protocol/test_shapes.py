"""The table of messages: which version knows a field, which results a message can have."""

from __future__ import annotations

import msgspec
import pytest

from rewake.protocol.codec import decode_message, encode_message
from rewake.protocol.messages import (
    VOID,
    CallCommand,
    Completion,
    Error,
    ErrorBehavior,
    Failure,
    IdempotentRequestTarget,
    Message,
    MessageType,
    OutputCommand,
    ProposeRunCompletion,
    Start,
    Success,
)
from rewake.protocol.shapes import SHAPES


def test_no_number_is_given_twice() -> None:
    for kind, shape in SHAPES.items():
        numbers = [field.number for field in shape.fields]
        assert len(set(numbers)) == len(numbers), kind
        assert {field.attribute for field in shape.fields} | set(shape.fixed) == set(shape.attributes), kind


def test_a_result_its_completion_cannot_have() -> None:
    with pytest.raises(ValueError, match=r"Completion.result cannot be Success\(content=b''\)"):
        encode_message(Completion(MessageType.SLEEP_COMPLETION, 1, Success(b"")))
    with pytest.raises(ValueError, match=r"ProposeRunCompletion\.result cannot be Void"):
        encode_message(ProposeRunCompletion(1, VOID))  # type: ignore[arg-type]


def test_failure_metadata_since_6() -> None:
    output = OutputCommand(Failure(400, "no", (("k", "v"),)))
    assert decode_message(0x401, encode_message(output, 5), 5) == OutputCommand(Failure(400, "no"))
    assert decode_message(0x401, encode_message(output, 6), 6) == output


def test_start_fields_by_version() -> None:
    start = Start(b"id", "inv", 1, ((b"k", b""),), False, "key", 0, 0, 9, "scope", "limit", "idempotency")

    def sent(version: int) -> Message:
        return decode_message(0, encode_message(start, version), version)

    assert sent(7) == start
    without = {"scope": None, "limit_key": None, "idempotency_key": None}
    assert sent(6) == msgspec.structs.replace(start, **without)
    assert sent(5) == msgspec.structs.replace(start, **without, random_seed=0)


def test_scope_and_behavior_since_7() -> None:
    target = IdempotentRequestTarget("S", None, "h", "ik", "scope")
    call = CallCommand("S", "h", b"", (), "", None, "scope", "limit", 1, 2)
    error = Error(500, "no", behavior=ErrorBehavior.PAUSE)
    assert b"scope" not in encode_message(call, 6)
    assert b"limit" not in encode_message(call, 6)
    assert decode_message(MessageType.ERROR, encode_message(error, 6), 6) == Error(500, "no")
    assert decode_message(MessageType.ERROR, encode_message(error, 7), 7) == error
    assert target.scope == "scope"
