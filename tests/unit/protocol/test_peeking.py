"""What a chunk holds, by the headers of its messages."""

from __future__ import annotations

import pytest

from rewake.protocol.framing import encode_frame
from rewake.protocol.messages import MessageType
from rewake.protocol.peeking import message_count, read_sent, split_messages

RUN = encode_frame(MessageType.RUN, b"run")
SLEEP = encode_frame(MessageType.SLEEP, b"")
RESULT = encode_frame(MessageType.PROPOSE_RUN_COMPLETION, b"result")
DONE = encode_frame(MessageType.RUN_COMPLETION, b"x" * 300)
SUSPENSION = encode_frame(MessageType.SUSPENSION, b"12")
END = encode_frame(MessageType.END, b"")


@pytest.mark.parametrize(
    ("chunk", "sent"),
    [
        (b"", (0, False, False)),
        (RUN, (1, False, False)),
        (RUN + RESULT + SLEEP, (2, True, False)),
        (DONE, (0, False, False)),
        (RUN + END, (1, False, True)),
        (SUSPENSION, (0, False, True)),
        (END[:-1], (0, False, False)),
        (SUSPENSION[:-1], (0, False, False)),
    ],
)
def test_what_was_sent(chunk: bytes, sent: tuple[int, bool, bool]) -> None:
    assert tuple(read_sent(chunk)) == sent


def test_messages_are_counted_from_where_they_begin() -> None:
    assert message_count(DONE) == 1
    assert message_count(DONE + RUN + END) == 3
    assert message_count(DONE[:20]) == 1
    assert message_count(DONE[:3]) == 1


def test_messages_are_split_up_to_a_number_of_parts() -> None:
    assert split_messages(DONE, 4) == [DONE]
    assert split_messages(DONE + RUN, 4) == [DONE, RUN]
    assert split_messages(DONE + RUN + END + RUN, 3) == [DONE, RUN, END + RUN]
    assert split_messages(DONE + RUN[:5], 4) == [DONE, RUN[:5]]
