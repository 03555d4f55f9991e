"""The page of a run, shaped from data: no database, no reading."""

from __future__ import annotations

from typing import Any

from tests.unit.runs.written import CHILD, ID, Journal, invocation, reply

from rewake.core.ids import invocation_id_to_str
from rewake.core.model import Status
from rewake.protocol import messages as m
from rewake.protocol.messages import Failure, Success
from rewake.runs.facts import EventFact, RunSummary
from rewake.runs.steps import steps_of
from rewake.runs.timeline import Scale
from rewake.ui.run import ERRORS_MAX, LOST_MAX, RunView, rows_alone, run_view
from rewake.ui.run_data import ROWS_MAX, Family, RowsData, RunData
from rewake.ui.step import StepData, step_detail

SUMMARY = RunSummary(
    id=invocation_id_to_str(ID), service="Desk", handler="route", key=None, status="succeeded", created_at_ms=100,
    running_at_ms=130, completed_at_ms=900, start_at_ms=None, retry_count=0, next_retry_at_ms=None,
    invoked_by="ingress", parent=None, restarted_from=None, problem=None, modified_at_ms=900,
)  # fmt: skip


def payloads(journal: Journal) -> dict[int, bytes]:
    return {row.index: row.payload for row in journal.rows}


def rows_data(journal: Journal, **more: Any) -> RowsData:
    return RowsData(invocation=invocation(), steps=steps_of(journal.rows), payloads=payloads(journal), **more)


def view(journal: Journal, scale: str = "time", first_row: int = 0, **more: Any) -> RunView:
    window = rows_data(journal)
    steps, window.steps = window.steps, window.steps[first_row : first_row + ROWS_MAX]
    known: dict[str, Any] = {"invocation": window.invocation, "events": [], "window": window} | more
    data = RunData(
        now_ms=1_000, summary=SUMMARY, entry_count=len(journal.rows), steps=steps, first_row=first_row, waiting=[],
        family=Family(), step=None, **known,
    )  # fmt: skip
    return run_view(data, scale)


def test_rows_with_a_reply_a_failure_and_a_wait() -> None:
    journal = Journal()
    journal.run("ask", reply(("transfer_to_car", {"why": "tow"})))
    journal.run("pay", Failure(402, "no money"))
    journal.add(m.SleepCommand(5_000, 9, "wait"), completion_id=9, name="wait")
    shown = view(journal)
    assert [(row.title, row.kind, row.is_done, row.is_failure, row.model) for row in shown.rows] == [
        ("ask", "model", True, False, "m"),
        ("pay", "step", True, True, None),
        ("wait", "sleep", False, False, None),
    ]
    assert shown.rows[0].preview == 'transfer_to_car({"why": "tow"})'
    assert [row.bar.style for row in shown.rows] == ["model", "step failed", "sleep open"]
    assert [row.took_ms for row in shown.rows] == [10, 10, 860]
    assert (shown.start_ms, shown.end_ms, shown.overview, shown.window) == (100, 900, [], None)


def test_a_model_call_cut_off_by_a_crash_has_a_bar_for_each_attempt() -> None:
    """Lost when the worker died, at 103; answered in the attempt that began at 106."""
    journal = Journal()
    journal.run("ask", reply())
    died = EventFact(1, 103, "TransientError", {"error_message": "the worker died"})
    window = rows_data(journal, events=[died])
    window.invocation = invocation(last_start_at_ms=106)
    (row,) = view(journal, window=window, invocation=window.invocation).rows
    scale = Scale(100, 900)
    assert row.lost == [scale.bar(100, 103, "lost")]
    assert row.bar == scale.bar(106, 110, "model")
    assert row.failure_count == 0, "no step is to blame"


def test_of_many_lost_attempts_the_last_ones_are_drawn() -> None:
    journal = Journal()
    journal.run("ask", reply())
    died = EventFact(1, 103, "TransientError", {"error_message": "the worker died"})
    (row,) = view(journal, window=rows_data(journal, events=[died] * (LOST_MAX + 5))).rows
    assert len(row.lost) == LOST_MAX


def test_a_run_that_goes_on_ends_now() -> None:
    open_run = invocation(status=Status.INVOKED, completed_at_ms=None, result=None)
    assert (view(Journal(), invocation=open_run).end_ms, view(Journal()).end_ms) == (1_000, 900)
    queued = invocation(status=Status.INBOXED, completed_at_ms=None, running_at_ms=None, created_at_ms=5_000)
    assert view(Journal(), invocation=queued).end_ms == 5_001  # created after this reading began


def test_the_rows_of_a_called_run_are_below_its_call() -> None:
    journal, inner = Journal(), Journal()
    journal.call(CHILD)
    inner.run("charge", 7)
    called = RowsData(invocation=invocation(), steps=steps_of(inner.rows), status="failed", payloads=payloads(inner))
    shown = rows_alone(rows_data(journal, called={CHILD: called}), 1_000)
    child = invocation_id_to_str(CHILD)
    assert [(row.title, row.depth, row.run_id, row.child, row.child_status) for row in shown] == [
        ("Billing/pay", 0, SUMMARY.id, child, "failed"),
        ("charge", 1, SUMMARY.id, None, None),
    ]


def test_a_long_run_has_a_window_in_the_picture_of_all() -> None:
    journal = Journal()
    for place in range(ROWS_MAX + 1):
        journal.run(f"s{place}", place)
    shown = view(journal, first_row=ROWS_MAX)
    assert [row.title for row in shown.rows] == [f"s{ROWS_MAX}"]
    assert (shown.row_count, shown.first_row) == (ROWS_MAX + 1, ROWS_MAX)
    assert shown.overview
    assert shown.window is not None and shown.window.style == "window"


def test_a_failed_attempt_is_marked_at_its_step() -> None:
    journal = Journal()
    journal.run("ask", 1)
    failure = EventFact(0, 105, "TransientError", {"error_message": "no", "related_command_index": 0})
    data = rows_data(journal, events=[failure])
    (row,) = view(journal, window=data, events=[failure]).rows
    assert (row.failure_count, len(row.failures)) == (1, 1)
    (error,) = step_detail(step_data(data)).errors
    assert error is failure


def step_data(data: RowsData, index: int = 0, **changes: Any) -> StepData:
    run = invocation(**changes)
    return StepData(invocation=run, step=data.steps[index], events=data.events, payloads=data.payloads)


def test_one_step_in_full() -> None:
    journal = Journal()
    journal.run("ask", {"a": 1})
    journal.run("pay", Failure(402, "no money"))
    data = rows_data(journal)
    asked, paid = step_detail(step_data(data)), step_detail(step_data(data, 1))
    assert asked.output is not None and asked.result_text == '{"a": 1}'
    assert (asked.is_failure, paid.is_failure, paid.failure) == (False, True, "[402] no money")
    assert (asked.can_fork, paid.can_fork) == (True, True)
    assert not step_detail(step_data(data, status=Status.INVOKED)).can_fork  # the first step of an open run


def test_a_step_that_holds_the_run() -> None:
    journal = Journal()
    journal.add(m.SleepCommand(5_000, 9, ""), completion_id=9)
    data = rows_data(journal)
    awaits = m.Future(completions=(9,))
    assert step_detail(step_data(data, status=Status.SUSPENDED, awaiting=awaits)).holds_run
    assert not step_detail(step_data(data, status=Status.SUSPENDED, awaiting=m.Future(completions=(8,)))).holds_run


def test_a_result_is_shown_as_the_page_has_it() -> None:
    shown = view(Journal(), invocation=invocation(result=Success(b"42")))
    assert shown.result is not None and shown.result.text == "42"
    assert view(Journal(), invocation=invocation(result=Failure(500, "x"))).result is None


def test_the_last_errors_are_shown() -> None:
    journal = Journal()
    journal.run("ask", 1)
    errors = [EventFact(0, 100 + number, "TransientError", {"error_message": "no"}) for number in range(ERRORS_MAX + 1)]
    shown = view(journal, events=errors).errors
    assert [event.at_ms for event in shown] == [event.at_ms for event in errors[1:]]


def test_a_mismatch_is_shown_with_both_sides() -> None:
    journal = Journal()
    journal.run("ask", reply())
    failed = {"error_code": 570, "error_message": "x", "related_command_index": 0, "related_command_type": "Sleep"}
    events = [EventFact(1, 103, "TransientError", {"error_message": "y"}), EventFact(1, 104, "TransientError", failed)]
    other, report = view(journal, events=events).mismatches
    assert other is None
    assert report is not None and (report.recorded, report.asked) == ("Run ask", "Sleep")
