"""Messages as values."""

from __future__ import annotations

import msgspec

from rewake.protocol.codec import decode_message, encode_message
from rewake.protocol.messages import VOID, Failure, Message, MessageType, OutputCommand, SendSignalCommand


def test_a_named_signal_has_its_entry_name_under_both_names() -> None:
    command = SendSignalCommand("inv", "go", VOID, "my entry")
    assert command.name == command.entry_name == "my entry"
    assert decode_message(MessageType.SEND_SIGNAL, encode_message(command), 6) == command


def test_messages_survive_msgpack_as_a_union() -> None:
    """The tag lets the store keep results and messages as they are."""
    packed = msgspec.msgpack.encode(OutputCommand(Failure(409, "killed"), "out"))
    assert msgspec.msgpack.decode(packed, type=Message) == OutputCommand(Failure(409, "killed"), "out")
