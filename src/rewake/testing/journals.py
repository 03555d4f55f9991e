"""Journals as lines, one for each entry, and their comparison with expected lines.

    Input -> "What about my desk?"
    Run Pick specialist -> "tax"
    Sleep
    Call Clerk/file -> {"number":17}
    Output -> "Deduct it."

An entry and its result are one line: type, name or target, ` -> `, value as JSON. The line of an open entry ends with
` -> (open)`, that of a failure with ` -> failed [409] cancelled`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from rewake import formats
from rewake.core.ids import invocation_id_to_str
from rewake.protocol.messages import Failure, MessageType, Result, StateKeys, Success
from rewake.runs.displays import RESULT_TYPES, carried
from rewake.runs.records import Record
from rewake.runs.steps import Step, name_step

ANYTHING: Final = "..."
"""In an expected line it matches any text; alone in a line it matches any number of entries."""

ENVELOPE: Final = "rewake"
"""The first field of an envelope of `rewake.ext`."""

_ARROW: Final = " -> "
_VALUE_CHARS_MAX: Final = 160
_KINDS: Final = {
    MessageType.ONE_WAY_CALL: "Send",
    MessageType.GET_LAZY_STATE: "GetState",
    MessageType.GET_EAGER_STATE: "GetState",
    MessageType.GET_LAZY_STATE_KEYS: "GetStateKeys",
    MessageType.GET_EAGER_STATE_KEYS: "GetStateKeys",
}


class Line(NamedTuple):
    """One entry. value: JSON without spaces, or the words for a failure; empty without a result."""

    head: str
    value: str

    def __str__(self) -> str:
        return self.head + (_ARROW + formats.shortened(self.value, _VALUE_CHARS_MAX) if self.value else "")


class Journal(NamedTuple):
    """The journal of one run. failures: of its failed attempts, in order."""

    invocation_id: str
    target: str
    status: str
    lines: tuple[Line, ...]
    failures: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self.lines))

    def named(self, name: str) -> list[Line]:
        """The lines with this name or target."""
        return [line for line in self.lines if line.head.partition(" ")[2] == name]


def journal_of(record: Record) -> Journal:
    """The journal of a record, which must have all payloads."""
    run = record.invocation
    failures = tuple(str(event.data["error_message"]) for event in record.events if "error_message" in event.data)
    lines = tuple(_line(record, step) for step in record.steps)
    return Journal(invocation_id_to_str(run.id), str(run.target), run.status.name.lower(), lines, failures)


def expect_journal(journal: Journal, expected: str | Sequence[str]) -> None:
    """Raise an AssertionError with a diff unless the journal has the expected lines.

    expected: its lines. A line without ` -> ` matches any value. `...` within a line matches any text; alone in a line
    it matches any number of entries. The line of the input may be left out.
    """
    __tracebackhide__ = True
    wanted = [_parsed(text) for text in _lines_in(expected)]
    found = journal.lines
    if found and wanted and found[0].head == "Input" and wanted[0].head not in ("Input", ANYTHING):
        found = found[1:]
    if not _all_fit(wanted, found):
        title = f"The journal of {journal.target} ({journal.invocation_id}) does not read as expected:"
        raise AssertionError("\n".join([title, *_diff(wanted, found), "  (-) expected, (+) in the journal"]))


# From entries to lines


def _line(record: Record, step: Step) -> Line:
    name_step(step, record.command(step))
    kind = _KINDS.get(step.type, "".join(part.capitalize() for part in step.type.name.split("_")))
    about = step.name or step.subject
    return Line(f"{kind} {about}".strip(), _value(record, step))


def _value(record: Record, step: Step) -> str:
    if not step.is_done:
        return "(open)"
    if step.type is MessageType.ONE_WAY_CALL:
        return ""
    message = record.result(step) if step.type in RESULT_TYPES else record.command(step)
    return _text(carried(message))


def _text(result: Result | None) -> str:
    match result:
        case Success(content):
            return _compact(content, unwraps=True)
        case Failure(code, message, _):
            return f"failed [{code}] {message}"
        case StateKeys(keys):
            return _compact(msgspec.json.encode([key.decode(errors="replace") for key in keys]))
    return ""


def _compact(content: bytes | str, *, unwraps: bool = False) -> str:
    """JSON without spaces. unwraps: of an envelope of `rewake.ext` only the value."""
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return content if isinstance(content, str) else content.decode(errors="replace")
    if unwraps and isinstance(value, dict) and ENVELOPE in value:
        value = value.get("value")
    return msgspec.json.encode(value).decode()


# Comparing


def _lines_in(expected: str | Sequence[str]) -> Iterator[str]:
    lines = expected.splitlines() if isinstance(expected, str) else expected
    yield from (line.strip() for line in lines if line.strip())


def _parsed(text: str) -> Line:
    head, arrow, value = text.partition(_ARROW)
    return Line(" ".join(head.split()), _compact(value.strip()) if arrow else "")


def _fits(wanted: Line, found: Line) -> bool:
    return _is_like(wanted.head, found.head) and (not wanted.value or _is_like(wanted.value, found.value))


def _is_like(wanted: str, found: str) -> bool:
    if ANYTHING not in wanted:
        return wanted == found
    pattern = ".*".join(map(re.escape, wanted.split(ANYTHING)))
    return re.fullmatch(pattern, found, re.DOTALL) is not None


def _all_fit(wanted: Sequence[Line], found: Sequence[Line]) -> bool:
    """Whether the lines match in order; `...` matches any number of them."""
    reached = {0}
    for line in wanted:
        if line.head == ANYTHING:
            reached = set(range(min(reached), len(found) + 1)) if reached else set()
        else:
            reached = {at + 1 for at in reached if at < len(found) and _fits(line, found[at])}
    return len(found) in reached


def _diff(wanted: Sequence[Line], found: Sequence[Line]) -> Iterator[str]:
    """A diff: common lines, and the expected and actual lines between them."""
    lengths = [[0] * (len(found) + 1) for _ in range(len(wanted) + 1)]
    for row in range(len(wanted) - 1, -1, -1):
        for column in range(len(found) - 1, -1, -1):
            down, right = lengths[row + 1][column], lengths[row][column + 1]
            fits = _fits(wanted[row], found[column])
            lengths[row][column] = max(down, right, lengths[row + 1][column + 1] + 1 if fits else 0)
    row = column = 0
    is_open = False
    missed: set[str] = set()
    while row < len(wanted) or column < len(found):
        if row < len(wanted) and wanted[row].head == ANYTHING:
            row, is_open = row + 1, True
        elif row < len(wanted) and column < len(found) and _fits(wanted[row], found[column]):
            yield f"    {found[column]}"
            row, column, is_open = row + 1, column + 1, False
            missed.clear()
        elif column == len(found) or (row < len(wanted) and lengths[row + 1][column] >= lengths[row][column + 1]):
            yield f"  - {wanted[row]}"
            missed.add(wanted[row].head)
            row += 1
        else:
            is_skipped = is_open and found[column].head not in missed
            yield f"{'    ' if is_skipped else '  + '}{found[column]}"
            column += 1
