"""The table that says how entries are shown has every command of the protocol, and values are found in any of them."""

from __future__ import annotations

import pytest

from rewake.core.ids import CompletionId, EntryIndex, InvocationId
from rewake.core.state import COMPLETION_OF
from rewake.core.writes import EntryRow
from rewake.protocol import messages as m
from rewake.protocol.codec import message_type
from rewake.protocol.messages import Failure, MessageType, StateKeys, Success
from rewake.runs.displays import DISPLAYS, carried, line_for, line_of
from rewake.runs.steps import name_step, steps_of

COMMANDS = [item for item in MessageType if MessageType.INPUT <= item < MessageType.GET_LAZY_STATE_COMPLETION]


@pytest.mark.parametrize("type_", COMMANDS, ids=lambda item: item.name)
def test_every_command_has_a_display_and_becomes_a_step(type_: MessageType) -> None:
    assert type_ in DISPLAYS, f"{type_.name} needs a row in rewake.runs.displays.DISPLAYS"
    (step,) = steps_of([EntryRow(InvocationId(b"i" * 24), EntryIndex(0), type_, b"", 5, completion_id=CompletionId(1))])
    assert (step.kind, step.title) == (DISPLAYS[type_].kind, DISPLAYS[type_].title or "Call")
    assert step.is_done == (type_ not in COMPLETION_OF)


@pytest.mark.parametrize(
    ("message", "subject"),
    [
        (m.CallCommand("Desk", "ask", b"", (), "k", None, None, None, 1, 2), "Desk/k/ask"),
        (m.GetEagerStateCommand(b"name", Success(b"1")), "name"),
        (m.CompletePromiseCommand("approval", Success(b""), 1), "approval"),
        (m.AttachInvocationCommand(m.InvocationIdTarget("inv_1"), 1), "inv_1"),
        (m.CompleteAwakeableCommand("sign_1", Success(b"")), "sign_1"),
        (m.SendSignalCommand("inv_1", 17, Success(b"")), "to inv_1"),
    ],
)
def test_what_a_command_is_about(message: m.Message, subject: str) -> None:
    (step,) = steps_of([EntryRow(InvocationId(b"i" * 24), EntryIndex(0), message_type(message), b"", 5)])
    name_step(step, message)
    assert step.subject == subject
    assert step.title.endswith(subject)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (m.InputCommand((), b'"hi"'), "hi"),
        (m.SetStateCommand(b"k", b'{"a": 1}'), '{"a": 1}'),
        (m.OutputCommand(Failure(409, "no")), "[409] no"),
        (m.GetEagerStateKeysCommand((b"a", b"b")), '["a", "b"]'),
        (m.Completion(MessageType.RUN_COMPLETION, 1, Success(b"5")), "5"),
        (m.Completion(MessageType.GET_LAZY_STATE_KEYS_COMPLETION, 1, StateKeys((b"a",))), '["a"]'),
        (m.Completion(MessageType.SLEEP_COMPLETION, 1, m.VOID), ""),
        (m.RunCommand(1, "step"), ""),
    ],
)
def test_what_an_entry_carries(message: m.Message, line: str) -> None:
    assert line_of(carried(message)) == line


@pytest.mark.parametrize("type_", COMMANDS, ids=lambda item: item.name)
def test_a_completion_without_a_value_has_an_empty_line(type_: MessageType) -> None:
    """Whatever the command notes: the entry that is shown is the completion."""
    if type_ in COMPLETION_OF:
        assert line_for(DISPLAYS[type_], m.Completion(COMPLETION_OF[type_], 1, m.VOID)) == ""
    assert line_for(DISPLAYS[type_], None) == ""


def test_a_sleep_that_lasts_says_until_when() -> None:
    assert line_for(DISPLAYS[MessageType.SLEEP], m.SleepCommand(0, 1)).startswith("until 1970-01-01")
