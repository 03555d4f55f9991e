"""Failures: what is kept of an error, and how it is shown."""

from __future__ import annotations

import pytest

from rewake.core import failures
from rewake.core.model import ALIKE_MIN, AttemptError
from rewake.core.settings import MESSAGE_CHARS_MAX, STACKTRACE_CHARS_MAX
from rewake.protocol import messages as m


@pytest.mark.parametrize(
    ("code", "kept", "restate_code"),
    [
        (500, 500, "RT0007"),
        (570, 570, "RT0016"),
        (571, 571, "RT0012"),
        (65_535, 65_535, "RT0007"),
        (65_536, 500, "RT0007"),
    ],
)
def test_what_is_kept_of_an_error(code: int, kept: int, restate_code: str) -> None:
    error = failures.error_of(
        m.Error(code, "x" * 9000, "y" * 40_000, related_command_index=3, related_command_name="n",
                related_command_type=0x0411)
    )  # fmt: skip
    assert (error.code, error.restate_code) == (kept, restate_code)
    assert (len(error.message), len(error.stacktrace)) == (MESSAGE_CHARS_MAX, STACKTRACE_CHARS_MAX)
    assert (error.related_command_index, error.related_command_name, error.related_command_type) == (3, "n", "Run")


def test_a_command_is_named_by_its_kind() -> None:
    error = m.Error(500, "x", related_command_type=m.MessageType.GET_LAZY_STATE)
    assert failures.error_of(error).related_command_type == "GetLazyState"


def test_an_error_is_shown_with_the_facts_that_it_has() -> None:
    """Operators read them in `sys_journal_events`."""
    facts: dict[str, object] = {"error_code": 500, "error_message": "no", "restate_doc_error_code": "RT0007"}
    assert failures.facts_of(AttemptError(500, "no", "RT0007", alike=ALIKE_MIN - 1)) == facts
    assert failures.facts_of(AttemptError(500, "no", "RT0007", "trace", 3, "pick", "Run", ALIKE_MIN)) == facts | {
        "error_stacktrace": "trace",
        "related_command_index": 3,
        "related_command_name": "pick",
        "related_command_type": "Run",
        "attempts_alike": ALIKE_MIN,
    }


def test_an_unknown_related_type_is_left_out() -> None:
    error = failures.error_of(m.Error(500, "x", related_command_type=0x7777))
    assert "related_command_type" not in failures.facts_of(error)
    assert failures.error_of(m.Error(500, "x")).related_command_type is None
