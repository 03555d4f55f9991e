"""A journal as people read it: one line for each command with its name, its result and how long it took.

Draws only: what the entries say is read in rewake.runs. A command and the completion that answers it are one line;
signals that came from outside have their own. Failed attempts are listed below.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from rewake.cli.durations import spoken_duration
from rewake.cli.tables import shortened, table_lines
from rewake.core.ids import invocation_id_to_str
from rewake.core.model import Invocation
from rewake.core.writes import EntryRow
from rewake.protocol.journal_json import entry_type_name
from rewake.protocol.messages import MessageType
from rewake.runs.displays import RESULT_TYPES, line_for
from rewake.runs.facts import EventFact
from rewake.runs.mismatch import mismatch_of
from rewake.runs.reading import Reading
from rewake.runs.records import Record
from rewake.runs.steps import Step, name_step, steps_of

VALUE_CHARS_MAX: Final = 72
VALUE_BYTES_MAX: Final = 1 << 20
JOURNAL_BYTES_MAX: Final = 32 << 20
"""Values beyond these bounds are not fetched; their lines show no value."""


def fetch_journal(reading: Reading, invocation: Invocation) -> tuple[list[EntryRow], Record]:
    """The entries of an invocation, and its steps with their values and failures."""
    entries = reading.entries(invocation.id)
    payloads, _ = reading.payloads_within(
        invocation.id, [entry.index for entry in entries], each_max=VALUE_BYTES_MAX, all_max=JOURNAL_BYTES_MAX
    )
    return entries, Record(invocation, steps_of(entries), payloads, reading.events(invocation.id))


def journal_lines(entries: Sequence[EntryRow], record: Record) -> list[str]:
    """The journal and the failed attempts of an invocation, as lines."""
    if not entries and not record.events:
        return ["The journal is empty or past its retention."]
    start_ms = min([entry.appended_at_ms for entry in entries] + [event.at_ms for event in record.events])
    rows = sorted([*_step_rows(record, start_ms), *_unknown_rows(entries, start_ms)], key=lambda row: row[0])
    lines = table_lines(("#", "at", "took", "entry", "name", "value"), rows)
    if record.events:
        failures = [_event_row(event, start_ms) for event in record.events]
        lines += ["", *table_lines(("after #", "at", "event", "about"), failures)]
    return lines


def mismatch_facts(record: Record) -> list[tuple[str, str | None]]:
    """The mismatch report of the last failed attempt; empty when it failed for another reason, or none did."""
    failures = [event.data.get("last_failure") or event.data for event in record.events]
    report = mismatch_of(failures[-1], record.steps) if failures else None
    return [] if report is None else report.facts()


def _step_rows(record: Record, start_ms: int) -> Iterator[tuple[Any, ...]]:
    for step in record.steps:
        name_step(step, record.command(step))
        took = "" if step.end_ms is None or not _has_result(step) else spoken_duration(step.end_ms - step.start_ms)
        kind = entry_type_name(step.type).partition(": ")[2]
        value = shortened(_value(record, step), VALUE_CHARS_MAX)
        yield step.index, _offset(step.start_ms, start_ms), took, kind, step.name or step.subject, value


def _has_result(step: Step) -> bool:
    return step.type in RESULT_TYPES and step.kind != "send"


def _value(record: Record, step: Step) -> str:
    """The result; of an entry without a completion its value, of a send the invocation it made."""
    if step.kind == "send":
        return "" if step.child is None else invocation_id_to_str(step.child)
    if _has_result(step) and not step.is_done:
        return "not finished"
    return line_for(step.display, record.result(step), VALUE_CHARS_MAX)


def _unknown_rows(entries: Iterable[EntryRow], start_ms: int) -> Iterator[tuple[Any, ...]]:
    """Entries of a server that is newer than this release."""
    known = frozenset(MessageType)
    for entry in entries:
        if entry.type_id not in known:
            yield entry.index, _offset(entry.appended_at_ms, start_ms), "", "unknown", entry.name or "", ""


def _event_row(event: EventFact, start_ms: int) -> tuple[Any, ...]:
    failure = event.data.get("last_failure") or event.data
    message = shortened(str(failure.get("error_message", "")), VALUE_CHARS_MAX)
    code, step = failure.get("restate_doc_error_code", ""), failure.get("related_command_name")
    about = " ".join(part for part in (code, message, f"(in {step})" if step else "") if part)
    return event.after_index, _offset(event.at_ms, start_ms), event.kind, about


def _offset(at_ms: int, start_ms: int) -> str:
    return f"+{(at_ms - start_ms) / 1_000:.3f} s"
