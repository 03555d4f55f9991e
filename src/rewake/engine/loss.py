"""Loss: why the engine threw its memory away, and which invocations must not bring the same trouble again.

The commit of a batch was refused by the disk, or we met a bug of ours: a transition raised, or a row contradicted its
status when the batch was closed. An EngineBug names the invocation whose state it is. Used by runtime.py.
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
"""So much of a command that met a bug is logged and kept."""


class Loss(msgspec.Struct, frozen=True):
    """cause: for those who asked.   command: the one that raised, if any.   named: the invocation a bug is about."""

    cause: RewakeError
    command: commands.Command | None = None
    named: InvocationId | None = None
    evidence: str = ""

    @property
    def is_of_batch(self) -> bool:
        """Whether some command of the batch is at fault, and nobody knows which."""
        return isinstance(self.cause, BatchRefused) or (self.named is not None and self.command is None)

    @property
    def is_of_disk(self) -> bool:
        return self.cause.code is not ErrorCode.ENGINE_BUG and not isinstance(self.cause, BatchRefused)

    @property
    def error(self) -> AttemptError:
        """What a paused invocation shows as its last failure: the cause, and the command behind it."""
        return AttemptError(500, self.cause.message[:MESSAGE_CHARS_MAX], "RT0006", self.evidence)

    @property
    def refused_rows(self) -> dict[InvocationId, AttemptError]:
        """What invocations show whose rows the store refused."""
        faulty = self.cause.faulty if isinstance(self.cause, BatchRefused) else {}
        text = "A value of this invocation cannot be stored: {}."
        return {each: AttemptError(500, text.format(reason), "RT0006") for each, reason in faulty.items()}

    def suspects(self, invocation_ids: Sequence[InvocationId]) -> list[InvocationId]:
        """Of those a command was about, the one the bug names; all of them when it names none."""
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
