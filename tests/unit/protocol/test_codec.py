"""Payloads against captured bytes, every message both ways, and what broken bytes lead to."""

from __future__ import annotations

import protocol_strategies as strategies
import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_vectors import VECTORS

from rewake.protocol.codec import VERSION_MAX, VERSION_MIN, decode_message, encode_message, message_type
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import (
    AwaitingOn,
    Combinator,
    Future,
    Message,
    MessageType,
    ProposeRunCompletionAck,
    Suspension,
)

VERSIONS = range(VERSION_MIN, VERSION_MAX + 1)


@pytest.mark.parametrize(("name", "version", "type_id", "frame", "message"), VECTORS)
def test_captured_bytes(name: str, version: int, type_id: int, frame: str, message: Message) -> None:
    payload = bytes.fromhex(frame)[8:]
    assert decode_message(type_id, payload, version) == message
    assert encode_message(message, version) == payload
    assert message_type(message) == type_id


@given(strategies.messages)
def test_every_message_survives_the_newest_version(message: Message) -> None:
    assert decode_message(message_type(message), encode_message(message, 7), 7) == message


@given(strategies.commands | strategies.notifications, st.sampled_from(VERSIONS))
def test_older_versions_lose_only_what_they_do_not_know(message: Message, version: int) -> None:
    once = encode_message(message, version)
    again = decode_message(message_type(message), once, version)
    assert message_type(again) is message_type(message)
    assert encode_message(again, version) == once


def test_nested_suspension() -> None:
    """race([all([sleep1, sleep2]), awakeable]) as the TypeScript SDK describes it."""
    race = Future(
        nested=(
            Future((1, 2), combinator=Combinator.ALL_SUCCEEDED_OR_FIRST_FAILED),
            Future(signals=(17,)),
        ),
        combinator=Combinator.FIRST_COMPLETED,
    )
    suspension = Suspension(Future(signals=(1,), nested=(race,), combinator=Combinator.FIRST_COMPLETED))
    payload = encode_message(suspension, 7)
    assert payload.hex(" ") == "22 16 12 01 01 22 0f 22 06 0a 02 01 02 28 04 22 03 12 01 11 28 01 28 01"
    assert decode_message(MessageType.SUSPENSION, payload, 7) == suspension


# What a version does not know


def test_a_tree_becomes_flat_lists_before_7() -> None:
    tree = Future((1,), (1,), ("go",), (Future((2, 1), (17,)),), Combinator.ALL_COMPLETED)
    flat = Suspension(Future((1, 2), (1, 17), ("go",)))
    assert decode_message(1, encode_message(Suspension(tree), 6), 6) == flat


@pytest.mark.parametrize("message", [AwaitingOn(Future((1,))), ProposeRunCompletionAck(1)])
def test_messages_that_came_with_7(message: Message) -> None:
    payload = encode_message(message, 7)
    with pytest.raises(ValueError, match="does not exist in protocol version 6"):
        encode_message(message, 6)
    with pytest.raises(ProtocolViolation, match="does not exist in protocol version 6"):
        decode_message(message_type(message), payload, 6)


# Broken bytes


@pytest.mark.parametrize(
    ("version", "type_id", "payload", "message"),
    [
        (6, 0x0005, "08 01", "ProposeRunCompletion without result"),
        (6, 0x0401, "", "OutputCommand without result"),
        (6, 0x0403, "0a 01 6b", "SetStateCommand without value"),
        (6, 0x8011, "08 01", "Completion without result"),
        (6, 0x8011, "2a 00", "Completion without completion_id"),
        (6, 0xFBFF, "22 00", "Signal without signal"),
        (6, 0x0412, "58 01", "AttachInvocationCommand without target"),
        (7, 0x0006, "", "AwaitingOn without awaiting_on"),
        (7, 0x0001, "", "Suspension without awaiting_on"),
        (7, 0x0001, "22 02 22 00", "Suspension waits for nothing"),
        (6, 0x0001, "", "Suspension waits for nothing"),
        (6, 0x0411, "58", "RUN ends in the middle of a field"),
        (6, 0x0411, "62 04 70", "message ends in the middle of a field"),
        (6, 0x0411, "fa 06 05 61", "message ends in the middle of a field"),
        (6, 0x0001, "0a 05 01", "SUSPENSION ends in the middle of a field"),
        (6, 0x0001, "1a 05 61", "message ends in the middle of a field"),
        (7, 0x0001, "22 05 0a 00", "message ends in the middle of a field"),
        (6, 0x0001, "0a 01 80 01", "message ends in the middle of a field"),
        (6, 0x0411, "62 01 ff", "RUN holds text that is not UTF-8"),
        (6, 0x0411, "58 80 80 80 80 80 80 80 80 80 80 01", "varint is longer than 10 bytes"),
        (6, 0x0411, "58 80 80 80 80 10", "4294967296 does not fit into 32 bits"),
        (6, 0x0411, "00", "field tag 0 is not possible"),
        (6, 0x0411, "5b", "field tag 91 is not possible"),
        (6, 0x040F, "", "message type 0x040F does not exist in protocol version 6"),
        (6, 0xFC00, "", "message type 0xFC00 does not exist in protocol version 6"),
    ],
)
def test_broken_payloads(version: int, type_id: int, payload: str, message: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        decode_message(type_id, bytes.fromhex(payload), version)
    assert (caught.value.code, caught.value.message) == ("RT0012", message)
    assert str(caught.value) == f"[RT0012] {message}"


@given(st.sampled_from(MessageType), st.binary(max_size=60), st.sampled_from(VERSIONS))
def test_garbage_is_a_message_or_a_violation(message_type_: MessageType, payload: bytes, version: int) -> None:
    try:
        decode_message(message_type_, payload, version)
    except ProtocolViolation as violation:
        assert violation.code in {"RT0012", "RT0025"}


@given(strategies.messages, st.data())
def test_damaged_messages_are_a_message_or_a_violation(message: Message, data: st.DataObject) -> None:
    payload = bytearray(encode_message(message, 7))
    for _ in range(data.draw(st.integers(1, 3))):
        if payload:
            payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(payload)))
    try:
        decode_message(message_type(message), bytes(payload[:end]), 7)
    except ProtocolViolation as violation:
        assert violation.code == "RT0012"
