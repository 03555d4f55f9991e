"""What a test may expect of a journal, and the diff it gets."""

from __future__ import annotations

import pytest

from rewake.testing.journals import Journal, Line, expect_journal

JOURNAL = Journal(
    "inv_1",
    "Clerk/file",
    "completed",
    (
        Line("Input", '"claim"'),
        Line("Run number", "17"),
        Line("Run check", 'failed [409] "too late"'),
        Line("Sleep", ""),
        Line("Call Bank/pay", '{"amount":5,"to":"Ada"}'),
        Line("Output", '"done"'),
    ),
)


@pytest.mark.parametrize(
    "expected",
    [
        'Run number -> 17\nRun check\nSleep\nCall Bank/pay -> {"amount": 5, "to": "Ada"}\nOutput -> "done"',
        'Input -> "claim"\nRun number\nRun check -> failed [409] ...\nSleep\nCall ...\nOutput',
        "...\nSleep\n...",
        "...",
        "Input\n...\nOutput",
        "Run number\n...\nOutput -> ...",
        "  Run   number\n\n   ...",
        ["Run number", "...", 'Call Bank/pay -> {...,"to":"Ada"}', "Output"],
    ],
)
def test_it_reads_as_expected(expected: str | list[str]) -> None:
    expect_journal(JOURNAL, expected)


@pytest.mark.parametrize(
    "expected",
    [
        "",
        "Run number -> 18\n...",
        "Run number\nSleep\n...",
        "...\nOutput\nSleep",
        "...\nRun numb",
        'Input -> "another"\n...',
        '...\nCall Bank/pay -> {"amount": 5}\n...',
    ],
)
def test_it_does_not(expected: str) -> None:
    with pytest.raises(AssertionError, match=r"The journal of Clerk/file \(inv_1\) does not read as expected"):
        expect_journal(JOURNAL, expected)


def test_the_diff_has_both_sides_in_place() -> None:
    with pytest.raises(AssertionError) as raised:
        expect_journal(JOURNAL, "Run number -> 18\n...\nSleep\nRun pay\nCall Bank/pay\nOutput")
    assert str(raised.value).splitlines()[1:] == [
        "  - Run number -> 18",
        "  + Run number -> 17",
        '    Run check -> failed [409] "too late"',
        "    Sleep",
        "  - Run pay",
        '    Call Bank/pay -> {"amount":5,"to":"Ada"}',
        '    Output -> "done"',
        "  (-) expected, (+) in the journal",
    ]


def test_lines_are_found_by_name() -> None:
    assert [line.value for line in JOURNAL.named("number")] == ["17"]
    assert str(JOURNAL).splitlines()[3] == "Sleep"
