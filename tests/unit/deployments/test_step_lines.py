"""The lines that make entries: the app's innermost, or where it started its framework; and bounded."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from restate import vm as sdk

from rewake.deployments import step_lines
from rewake.deployments.step_lines import FRAMES_MAX, PLACES_MAX, keep_lines
from rewake.ext.kernel import lines
from rewake.protocol.codec import encode_message
from rewake.protocol.framing import FrameDecoder, encode_frames
from rewake.protocol.line_field import line_in
from rewake.protocol.messages import MessageType, OutputCommand, RunCommand, Success


class Vm:
    """A state machine as the SDK's wrapper has it, with some of its methods. known: entries that are replayed."""

    def __init__(self, known: int = 0) -> None:
        self.known = known
        self.output: list[tuple[int, bytes]] = []

    def is_replaying(self) -> bool:
        return self.known >= 0

    def _made(self, type_id: MessageType, message: Any) -> None:
        self.known -= 1
        if self.known < 0:
            self.output.append((type_id, encode_message(message, 6)))

    def sys_run(self, name: str) -> None:
        self._made(MessageType.RUN, RunCommand(completion_id=1, name=name))

    def sys_write_output_success(self, output: bytes) -> None:
        self._made(MessageType.OUTPUT, OutputCommand(result=Success(output)))

    def sys_write_output_failure(self, output: bytes) -> None: ...

    def take_output(self) -> bytes:
        given, self.output = self.output, []
        return encode_frames(given)


@pytest.fixture
def vm() -> Iterator[Any]:
    """The kind, whose entries take their lines along."""
    kind = type("Kind", (Vm,), dict(vars(Vm)))
    with (
        mock.patch.object(sdk, "VMWrapper", kind),
        mock.patch.dict(step_lines._known, clear=True),
        mock.patch.dict(step_lines._is_own, clear=True),
    ):
        keep_lines()
        keep_lines()
        yield kind


def taken(made: Any) -> list[str | None]:
    return [line_in(payload) for _, _, payload in FrameDecoder().feed(made.take_output())]


def here(offset: int = 0) -> int:
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return frame.f_back.f_lineno + offset


def deep(made: Any, frames: int) -> None:
    """Makes an entry with so many frames of others between it and the app."""
    if frames:
        deep(made, frames - 1)
    else:
        made.sys_run("x")


def test_a_new_entry_takes_its_line_along_and_a_replayed_one_does_not(vm: Any) -> None:
    made = vm(known=1)
    made.sys_run("replayed")
    made.sys_run("a")
    line = here(-1)
    made.sys_run("b")
    made.sys_write_output_success(b"1")
    place = f"deployments/test_step_lines.py:{line}"
    name = "test_a_new_entry_takes_its_line_along_and_a_replayed_one_does_not"
    first, second, end = taken(made)
    assert first == f'{place}\n{name}\nmade.sys_run("a")'
    assert second is not None and second.endswith('made.sys_run("b")')
    assert end is None
    assert taken(made) == []


def test_a_framework_with_tasks_of_its_own_has_the_line_that_started_it(vm: Any) -> None:
    def start() -> None:
        lines.note_start()

    made = vm()
    token = lines.started_at.set(())
    try:
        start()
        line = here(-1)
        with mock.patch.object(step_lines, "is_of_app", lambda file: file == __file__):
            exec(compile("made.sys_run('x')", "/framework/tasks.py", "exec"), {"made": made})
            assert taken(made)[0] is not None  # the frames below are the test's
            with mock.patch.object(step_lines, "FRAMES_MAX", 1):
                exec(compile("made.sys_run('x')", "/framework/tasks.py", "exec"), {"made": made})
            (found,) = taken(made)
            assert found is not None and found.splitlines()[1:] == ["start", "lines.note_start()"]
            assert abs(int(found.splitlines()[0].rpartition(":")[2]) - line) < 10
    finally:
        lines.started_at.reset(token)


def test_frames_and_places_are_bounded(vm: Any) -> None:
    made = vm()
    with mock.patch.object(step_lines, "is_of_app", lambda file: file != __file__):
        deep(made, FRAMES_MAX + 1)
    assert taken(made) == [None]
    step_lines._is_own.clear()
    step_lines._known.clear()
    step_lines._known.update({-number: (here.__code__, None) for number in range(PLACES_MAX)})
    made.sys_run("a")
    assert taken(made) != [None]
    assert len(step_lines._known) == 1
    for _ in range(3):
        with mock.patch.object(lines, "FRAMES_MAX", 2):
            lines.note_start()
            assert len(lines.started_at.get()) == 2


def test_every_command_has_a_method_of_the_sdk_that_makes_it() -> None:
    """But input and output, which no line makes, and one that the SDK for Python cannot send."""
    made = {type_id for types in step_lines._MAKING.values() for type_id in types}
    commands = {type_id for type_id in MessageType if type_id >> 8 == 4}
    assert commands - made == {MessageType.INPUT, MessageType.OUTPUT, MessageType.GET_INVOCATION_OUTPUT}
