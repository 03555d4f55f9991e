"""The trace in the Error of a replay that took another way; any other failure goes out as it is."""

from __future__ import annotations

from typing import cast

import pytest
from restate import vm as sdk

from rewake.deployments.mismatch_trace import CAUSES_MAX, add_trace
from rewake.protocol.codec import decode_message, encode_message
from rewake.protocol.framing import FrameDecoder, encode_frames
from rewake.protocol.messages import Error, MessageType

VMException: type[Exception] = vars(sdk)["VMException"]
MISMATCH = "(570) Found a mismatch"
ERROR = Error(code=570, message="Found a mismatch")


class Vm:
    """The SDK's state machine, with an Error to send."""

    def __init__(self, message: Error = ERROR) -> None:
        self._output = [encode_frames([(MessageType.ERROR, encode_message(message, 6))]), b"", b"later"]

    def take_output(self) -> bytes:
        return self._output.pop(0)


class Context:
    def __init__(self, vm: Vm) -> None:
        self.vm = vm


def raised(error: Exception, wrapped: int = 0) -> Exception:
    """The error as it comes out of a handler, in so many others."""
    try:
        raise error
    except Exception as found:  # noqa: BLE001
        made = found
    for _ in range(wrapped):
        try:
            raise ValueError from made
        except ValueError as outer:
            made = outer
    return made


def sent(vm: Vm) -> Error:
    ((type_id, _, payload),) = FrameDecoder().feed(vm.take_output())
    return cast(Error, decode_message(type_id, payload, 6))


@pytest.mark.parametrize("wrapped", [0, 1, CAUSES_MAX - 1])
def test_the_error_names_the_line(wrapped: int) -> None:
    vm = Vm()
    add_trace(Context(vm), raised(VMException(MISMATCH), wrapped))
    error = sent(vm)
    assert (error.code, error.message) == (570, ERROR.message)
    assert f'File "{__file__}"' in error.stacktrace
    assert ", in raised" in error.stacktrace
    assert (vm.take_output(), vm.take_output()) == (b"", b"later")


@pytest.mark.parametrize(
    "error",
    [raised(ValueError("570")), raised(VMException("(571) other")), raised(VMException(MISMATCH), CAUSES_MAX)],
)
def test_other_failures_are_left_alone(error: Exception) -> None:
    vm = Vm()
    add_trace(Context(vm), error)
    assert sent(vm).stacktrace == ""
    add_trace(None, error)


def test_a_trace_that_is_there_stays() -> None:
    vm = Vm(Error(code=570, message="x", stacktrace="theirs"))
    add_trace(Context(vm), raised(VMException(MISMATCH)))
    assert sent(vm).stacktrace == "theirs"
