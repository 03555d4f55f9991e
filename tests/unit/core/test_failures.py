"""Failures: what is kept of an error, and how it is shown."""

from __future__ import annotations

import pytest

from rewake.core import failures
from rewake.core.settings import MESSAGE_CHARS_MAX, STACKTRACE_CHARS_MAX
from rewake.protocol import messages as m


@pytest.mark.parametrize(
    ("code", "kept", "restate_code"),
    [(500, 500, "RT0007"), (570, 570, "RT0016"), (571, 571, "RT0012"), (70_000, 500, "RT0007")],
)
def test_what_is_kept_of_an_error(code: int, kept: int, restate_code: str) -> None:
    error = failures.error_of(
        m.Error(code, "x" * 9000, "y" * 40_000, related_command_index=3, related_command_name="n",
                related_command_type=0x0411)
    )  # fmt: skip
    assert (error.code, error.restate_code) == (kept, restate_code)
    assert (len(error.message), len(error.stacktrace)) == (MESSAGE_CHARS_MAX, STACKTRACE_CHARS_MAX)
    assert error.related_command_type == "Run"
    facts = failures.facts_of(error)
    assert facts["related_command_index"] == 3
    assert "error_stacktrace" in facts


def test_an_unknown_related_type_is_left_out() -> None:
    error = failures.error_of(m.Error(500, "x", related_command_type=0x7777))
    assert "related_command_type" not in failures.facts_of(error)
    assert failures.error_of(m.Error(500, "x")).related_command_type is None
