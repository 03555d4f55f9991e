"""Operating: each operation is the command of its name."""

from __future__ import annotations

from typing import Any

import pytest

from rewake.core import commands
from rewake.engine.operating import command_of
from rewake.operations import Operation

ASKED: dict[str, Any] = {"now_ms": 1, "token": 2, "invocation_id": b"i" * 24}
EXPECTED = {
    Operation.CANCEL: commands.Cancel(**ASKED),
    Operation.KILL: commands.Kill(**ASKED),
    Operation.PAUSE: commands.Pause(**ASKED),
    Operation.RESUME: commands.Resume(**ASKED, deployment="dp1"),
    Operation.PURGE: commands.Purge(**ASKED),
    Operation.PURGE_JOURNAL: commands.Purge(**ASKED, journal_only=True),
}


@pytest.mark.parametrize("operation", EXPECTED)
def test_each_operation_is_one_command(operation: Operation) -> None:
    assert command_of(operation, **ASKED, deployment="dp1") == EXPECTED[operation]


def test_restart_as_new_needs_more_and_is_asked_for_otherwise() -> None:
    with pytest.raises(ValueError, match="restart_as_new"):
        command_of(Operation.RESTART, **ASKED, deployment=None)
