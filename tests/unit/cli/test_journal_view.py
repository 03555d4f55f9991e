"""A journal on the terminal: a command and its completion on one line, signals and failures in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.agents.recorded import load
from tests.unit.runs.written import CHILD, Journal, invocation

from rewake.cli import journal_view
from rewake.cli.journal_view import VALUE_CHARS_MAX, fetch_journal, journal_lines
from rewake.core.ids import invocation_id_to_str
from rewake.protocol import messages as m
from rewake.protocol.messages import Failure, MessageType, Success
from rewake.runs.facts import EventFact
from rewake.runs.local.database import local_reading
from rewake.runs.local.figures import completed_since
from rewake.runs.records import record_from


def lines_of(journal: Journal, *events: EventFact) -> list[str]:
    return journal_lines(journal.rows, record_from(invocation(), journal.rows, events))


def test_steps_with_their_results() -> None:
    journal = Journal()
    journal.add(m.InputCommand((), b'"claim"'))
    journal.run("Pick specialist", {"agent": "medical"})
    journal.add(m.SleepCommand(1, 77), completion_id=77)
    journal.add(m.SetStateCommand(b"last", b"[1]"))
    journal.add(m.OutputCommand(Failure(409, "cancelled")))
    assert lines_of(journal) == [
        "#  at        took   entry     name             value",
        "0  +0.000 s         Input                      claim",
        '1  +0.010 s  10 ms  Run       Pick specialist  {"agent": "medical"}',
        "3  +0.030 s         Sleep                      not finished",
        "4  +0.040 s         SetState  last             [1]",
        "5  +0.050 s         Output                     [409] cancelled",
    ]


def test_calls_name_their_target_and_signals_what_they_are() -> None:
    journal = Journal()
    journal.call(CHILD)
    journal.add(m.Signal(1, m.VOID), signal=1)
    journal.add(m.Signal(17, Success(b"2")), signal=17)
    journal.add(m.OneWayCallCommand("Audit", "note", b"7", (), "", None, None, None, 0, 9))
    told = m.Completion(MessageType.CALL_INVOCATION_ID_COMPLETION, 9, m.InvocationIdResult("inv_1"))
    journal.add(told, completion_id=9, child=CHILD)
    call, cancel, answer, send = (line.split() for line in lines_of(journal)[1:])
    assert call == ["0", "+0.000", "s", "20", "ms", "Call", "Billing/pay"]
    assert cancel[3:] == ["Signal", "cancel"]
    assert answer[3:] == ["Signal", "awakeable", "17", "2"]
    assert send[3:] == ["OneWayCall", "Audit/note", invocation_id_to_str(CHILD)]


def test_a_sleep_that_is_over_has_no_value() -> None:
    journal = Journal()
    journal.add(m.SleepCommand(1, 77), completion_id=77)
    journal.add(m.Completion(MessageType.SLEEP_COMPLETION, 77, m.VOID), completion_id=77)
    assert lines_of(journal)[1].split() == ["0", "+0.000", "s", "10", "ms", "Sleep"]


def test_failures_of_attempts_are_listed_below() -> None:
    journal = Journal()
    journal.add(m.InputCommand((), b""))
    event = {"error_message": "not today", "restate_doc_error_code": "RT0007", "related_command_name": "first"}
    assert lines_of(journal, EventFact(1, 107, "TransientError", event))[-1] == (
        "1        +0.007 s  TransientError  RT0007 not today (in first)"
    )


def test_an_entry_of_a_newer_server_is_still_listed() -> None:
    journal = Journal()
    journal.add(m.InputCommand((), b""), name="x")
    journal.rows[0].type_id = -1
    assert lines_of(journal)[1].split() == ["0", "+0.000", "s", "unknown", "x"]


def test_a_journal_that_is_gone() -> None:
    assert lines_of(Journal()) == ["The journal is empty or past its retention."]


def test_values_beyond_the_bounds_are_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_view, "VALUE_BYTES_MAX", 60)
    monkeypatch.setattr(journal_view, "JOURNAL_BYTES_MAX", 200)
    with local_reading(load("support_router", tmp_path), 1 << 42) as found:
        run = completed_since(found, 0, 1)[0]
        entries, record = fetch_journal(found, run)
    assert record.payloads
    assert sum(map(len, record.payloads.values())) <= 200
    assert len(journal_lines(entries, record)) == len(record.steps) + 1


def test_a_value_has_so_many_characters() -> None:
    for more in (0, 1):
        journal = Journal()
        journal.run("look", "x" * (VALUE_CHARS_MAX + more))
        value = lines_of(journal)[-1].split()[-1]
        assert len(value) == VALUE_CHARS_MAX and value.endswith("…") == bool(more)
