"""The line of the app in a command: SDKs pass over it, readers find it, and nothing else is changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewake.protocol.codec import decode_message, encode_message
from rewake.protocol.framing import FrameDecoder, encode_frames
from rewake.protocol.line_field import LINE_BYTES_MAX, Note, field_of, line_in, line_start, with_lines
from rewake.protocol.messages import Error, Message, MessageType, OutputCommand, RunCommand, SleepCommand, Success

RUN, SLEEP, OUTPUT, ERROR = MessageType.RUN, MessageType.SLEEP, MessageType.OUTPUT, MessageType.ERROR
COMMANDS: dict[MessageType, Message] = {
    RUN: RunCommand(completion_id=1, name="pick"),
    SLEEP: SleepCommand(wake_up_at_ms=5, completion_id=2),
    OUTPUT: OutputCommand(result=Success(b"1")),
    ERROR: Error(code=500, message="no"),
}


def chunk(*types: MessageType) -> bytes:
    return encode_frames([(each, encode_message(COMMANDS[each], 6)) for each in types])


def note(type_id: MessageType, line: str) -> Note:
    return frozenset({type_id}), field_of(line)


def read(sent: bytes) -> list[tuple[int, str | None]]:
    """Type and line of each message, which is otherwise as it was."""
    frames = FrameDecoder().feed(sent)
    for type_id, _, payload in frames:
        assert decode_message(type_id, payload, 6) == COMMANDS[MessageType(type_id)]
    return [(type_id, line_in(payload)) for type_id, _, payload in frames]


def test_each_command_gets_its_own() -> None:
    assert read(with_lines(chunk(RUN), [note(RUN, "a.py:1")])) == [(RUN, "a.py:1")]
    sent = with_lines(chunk(RUN, SLEEP, ERROR), [note(RUN, "a.py:1"), note(SLEEP, "a.py:2\nf\nctx.sleep(x)")])
    assert read(sent) == [(RUN, "a.py:1"), (SLEEP, "a.py:2\nf\nctx.sleep(x)"), (ERROR, None)]


def test_calls_of_a_replay_made_none_and_an_unknown_one_ends_it() -> None:
    notes = [note(SLEEP, "replayed"), note(RUN, "a.py:1")]
    assert read(with_lines(chunk(RUN), notes)) == [(RUN, "a.py:1")]
    assert read(with_lines(chunk(RUN, SLEEP, RUN), [note(RUN, "x"), note(RUN, "y")])) == [
        (RUN, None),
        (SLEEP, None),
        (RUN, "y"),
    ]


def test_chunks_that_are_not_whole_stay_as_they_are() -> None:
    whole = chunk(RUN)
    for sent in (whole[:-1], whole + b"x", b"", b"junk"):
        assert with_lines(sent, [note(RUN, "a.py:1")]) == sent
    end = chunk(OUTPUT)
    assert with_lines(end, [(frozenset({OUTPUT}), b"")]) is end


def test_a_line_that_is_too_long_is_left_out() -> None:
    assert field_of("x" * (LINE_BYTES_MAX + 1)) == b""
    long = field_of("x" * LINE_BYTES_MAX)
    assert line_in(long) == "x" * LINE_BYTES_MAX
    assert line_in(long.replace(b"\xac\x02", b"\xad\x02") + b"x") is None


@given(st.binary(max_size=40))
def test_hostile_payloads_have_none_or_one(payload: bytes) -> None:
    assert line_in(payload) is None or isinstance(line_in(payload), str)


@pytest.mark.parametrize("line", ["a.py:1", "ä.py:3\nfür\nwörter()"])
def test_a_field_is_found_behind_others(line: str) -> None:
    assert line_in(encode_message(COMMANDS[RUN], 6) + field_of(line)) == line


@pytest.mark.parametrize("size", [0, 1, 127, 128, LINE_BYTES_MAX])
def test_the_start_of_a_field_at_the_end_is_found(size: int) -> None:
    command = encode_message(COMMANDS[RUN], 6)
    field = field_of("x" * size)
    assert line_start(command + field) == len(command)
    assert line_start(command + field + field) == len(command + field)
    assert line_start(command) is None
    for cut in (
        command + field + b"x",
        (command + field)[:-1],
        command + b"\xfa\x7f",
        command + b"\xfa\x7f" + b"\xff" * 11,
    ):
        assert line_start(cut) is None


def test_a_longer_text_is_no_line() -> None:
    assert line_start(field_of("x" * LINE_BYTES_MAX).replace(b"\xac\x02", b"\xad\x02") + b"x") is None
