"""The mismatch report, from the SDK's texts as it sent them."""

from __future__ import annotations

from typing import Any

import pytest

from rewake.core.ids import EntryIndex, InvocationId
from rewake.core.writes import EntryRow
from rewake.protocol.messages import MessageType
from rewake.runs.mismatch import MADE_AT, SIDE_BY_SIDE, differences_in, mismatch_of
from rewake.runs.steps import Step, steps_of

HEAD = (
    "Found a mismatch between the code paths taken during the previous execution and the paths taken during this "
    "execution.\nThis typically happens when some parts of the code are non-deterministic.\n"
)
NAMES = HEAD + "- The mismatch happened while executing 'run' (index '1')\n- Difference:\n   name: one != two"
KINDS = (
    HEAD + " - The previous execution ran and recorded the following: 'run' (index '1')\n"
    " - The current execution attempts to perform the following: 'sleep'"
)
SENT = (
    HEAD + "- The mismatch happened while executing 'one way call/send' (index '1')\n- Difference:\n"
    "   parameter: '\"x\"' != '\"y\"'\n   handler_name: a != b\nThe journal has more to say."
)
AWAIT = (
    "Found a mismatch between the code paths taken during the previous execution and the paths taken during this "
    "execution.\n'await' could not be replayed. This usually means the code was mutated adding an 'await' without "
    "registering a new service revision.\nNotifications awaited on this await point:\n - run [one]\n - Cancellation"
)
TRACE = 'Traceback (most recent call last):\n  File "/app/desk.py", line 7, in give\n    await ctx.run_typed(name, f)\n'
STEPS: list[Step] = steps_of(
    [
        EntryRow(InvocationId(b""), EntryIndex(0), MessageType.INPUT, b"", 0),
        EntryRow(InvocationId(b""), EntryIndex(1), MessageType.RUN, b"", 0, name="one"),
    ]
)


def failure(message: str, kind: str, name: str | None = None, index: int = 1, trace: str = "") -> dict[str, Any]:
    return {
        "error_code": 570,
        "error_message": message,
        "error_stacktrace": trace,
        "related_command_index": index,
        "related_command_type": kind,
        "related_command_name": name,
    }


@pytest.mark.parametrize(
    ("told", "sentence", "first_cause"),
    [
        (
            failure(NAMES, "Run", "two", trace=TRACE),
            "The journal has Run one as command 1; the code asked for Run two (name: one != two) at app/desk.py:7 in "
            "give: await ctx.run_typed(name, f).",
            "The code was changed",
        ),
        (failure(KINDS, "Sleep"), "The journal has Run one as command 1; the code asked for Sleep.", "The code was"),
        (
            failure(KINDS, "Output"),
            "The journal has Run one as command 1; the code asked for the end of the handler.",
            "The code was changed",
        ),
        (
            failure(SENT, "OneWayCall", index=9),
            "The journal has no such entry as command 9; the code asked for Send (parameter: '\"x\"' != '\"y\"'; "
            "handler_name: a != b).",
            "A value that is sent was changed",
        ),
        (
            failure(AWAIT, "Run", "one"),
            "The journal has Run one as command 1, without a result; the code asked for the result of Run one.",
            "An await was added",
        ),
        (failure(f"{AWAIT} {SIDE_BY_SIDE}", "Run", "one"), None, "Tasks use the context side by side"),
    ],
)
def test_both_sides(told: dict[str, Any], sentence: str | None, first_cause: str) -> None:
    report = mismatch_of(told, STEPS)
    assert report is not None
    assert sentence is None or report.sentence() == sentence
    assert report.causes[0].startswith(first_cause)
    assert dict(report.facts())["the code asked for"] == report.asked


def test_the_line_that_made_the_entry_is_shown_where_it_is_known() -> None:
    made = f'{MADE_AT}  File "/app/desk.py", line 3, in give\n    await ctx.run_typed("one", f)\n'
    report = mismatch_of(failure(NAMES, "Run", "two", trace=made + TRACE), STEPS)
    assert report is not None and report.made is not None and report.source is not None
    assert (report.made.line, report.source.line) == (3, 7)
    assert 'Run one as command 1, made at app/desk.py:3 in give: await ctx.run_typed("one", f); ' in report.sentence()
    assert [name for name, value in report.facts() if value][:4] == [
        "the journal has",
        "made at",
        "the code asked for",
        "at",
    ]


def test_other_failures_have_no_report() -> None:
    assert mismatch_of({"error_code": 500, "error_message": "x"}, STEPS) is None
    assert mismatch_of({}, STEPS) is None
    assert differences_in("- Difference:") == ()
