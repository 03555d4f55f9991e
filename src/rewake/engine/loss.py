"""Loss: why the engine dropped its memory, and which invocations must be paused so that it does not happen again.

Either the disk refused a batch, or the engine met a bug of its own: a transition raised, or a row contradicted its
status when the batch was closed. An EngineBug names the invocation. Used by runtime.py.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Final

import msgspec

from rewake.core import commands
from rewake.core.errors import EngineBug
from rewake.core.ids import InvocationId
from rewake.core.model import AttemptError
from rewake.core.settings import MESSAGE_CHARS_MAX, STACKTRACE_CHARS_MAX
from rewake.errors import ErrorCode, RewakeError
from rewake.store.writing import BatchRefused

COMMAND_CHARS_MAX: Final = 2_000
"""Characters of a command that met a bug, in the log and in the stored error."""


class Loss(msgspec.Struct, frozen=True):
    """cause: the error for callers.   command: the one that raised, if any.   named: the invocation in an EngineBug."""

    cause: RewakeError
    command: commands.Command | None = None
    named: InvocationId | None = None
    evidence: str = ""

    @property
    def is_of_batch(self) -> bool:
        """Whether an unknown command of the batch is at fault."""
        return isinstance(self.cause, BatchRefused) or (self.named is not None and self.command is None)

    @property
    def is_of_disk(self) -> bool:
        return self.cause.code is not ErrorCode.ENGINE_BUG and not isinstance(self.cause, BatchRefused)

    @property
    def error(self) -> AttemptError:
        """The last failure for a paused invocation: the cause, and the command."""
        return AttemptError(500, self.cause.message[:MESSAGE_CHARS_MAX], "RT0006", self.evidence)

    @property
    def refused_rows(self) -> dict[InvocationId, AttemptError]:
        """The last failures for invocations whose rows the store refused."""
        faulty = self.cause.faulty if isinstance(self.cause, BatchRefused) else {}
        text = "A value of this invocation cannot be stored: {}."
        return {each: AttemptError(500, text.format(reason), "RT0006") for each, reason in faulty.items()}

    def suspects(self, invocation_ids: Sequence[InvocationId]) -> list[InvocationId]:
        """The invocation that the bug names, if it is among these; all of these if the bug names no invocation."""
        if self.named is not None and self.named in invocation_ids:
            return [self.named]
        return list(invocation_ids)


def loss_of(error: BaseException, command: commands.Command | None) -> Loss:
    if isinstance(error, RewakeError):
        return Loss(error)
    cause = RewakeError(
        ErrorCode.ENGINE_BUG,
        f"{type(command).__name__ if command else 'A commit'} failed inside the engine: {error!r}.",
        "The invocation it touched is paused; please report this with the log.",
    )
    trace = "".join(traceback.format_exception(error))
    evidence = f"{trace}\nCommand: {repr(command)[:COMMAND_CHARS_MAX]}"
    named = error.invocation_id if isinstance(error, EngineBug) else None
    return Loss(cause, command, named, evidence[-STACKTRACE_CHARS_MAX:])
