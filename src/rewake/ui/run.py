"""One run as a page: facts, the rows of its timeline with those of runs it called, what it waits for, one step in full.

A page shows a window of rows; the picture above it shows all. Payloads are read only for the rows of the window, and
only when they are short. Nothing is changed here; actions.py does that.
"""

from __future__ import annotations

from typing import Final

import msgspec

from rewake import formats
from rewake.agents.decoding import decode_reply
from rewake.core import ids
from rewake.core.model import Invocation
from rewake.protocol import messages as m
from rewake.runs.displays import carried, line_for
from rewake.runs.facts import EventFact, RunSummary
from rewake.runs.reading import Reading
from rewake.runs.stacktrace import SourceLine, source_line
from rewake.runs.steps import Step, decoded, failures_by_step, name_step, steps_of, version_of
from rewake.runs.timeline import (
    AttemptSpan,
    Bar,
    Scale,
    Standstill,
    Tick,
    attempts_of,
    overview,
    standstills_of,
    waiting_stretches,
)
from rewake.runs.waits import Waiting, waiting_for
from rewake.ui.step import StepDetail, step_detail

ROWS_MAX: Final = 200
NESTED_ROWS_MAX: Final = 60
DEPTH_MAX: Final = 3
ERRORS_MAX: Final = 20
PREVIEW_BYTES_MAX: Final = 4_096


class Row(msgspec.Struct, kw_only=True):
    """A row of the timeline. is_waiting: a wait the journal has no entry for.   failures: places of failed attempts."""

    run_id: str
    depth: int
    index: int
    kind: str
    title: str
    preview: str
    start_ms: int
    took_ms: int | None
    is_done: bool
    is_failure: bool
    bar: Bar
    failures: list[int] = []
    failure_count: int = 0
    child: str | None = None
    child_status: str | None = None
    model: str | None = None


class RunView(msgspec.Struct, kw_only=True):
    """The page of a run. sources: where each of the errors came from.   waiters: runs that wait for its result."""

    run: RunSummary
    facts: list[tuple[str, str]]
    rows: list[Row]
    first_row: int
    row_count: int
    entry_count: int
    overview: list[Bar]
    window: Bar | None
    ticks: list[Tick]
    gaps: list[Bar]
    attempts: list[AttemptSpan]
    waiting: list[Waiting]
    errors: list[EventFact]
    sources: list[SourceLine | None]
    standstills: list[Standstill]
    waiters: list[RunSummary]
    parent: RunSummary | None
    origin: RunSummary | None
    restarts: list[RunSummary]
    scale: str
    start_ms: int
    end_ms: int
    result: formats.Shown | None
    step: StepDetail | None
    can_shrink: bool


def run_view(
    reading: Reading, invocation: Invocation, *, first_row: int, scale_name: str, step_index: int | None
) -> RunView:
    """Everything about a run, with a window of rows from `first_row` on."""
    summary = reading.summary(invocation.id)
    assert summary is not None
    entry_count = reading.entry_count(invocation.id)
    steps = steps_of(reading.entries(invocation.id))
    events = reading.events(invocation.id)
    errors = [event for event in events if event.kind == "TransientError"][-ERRORS_MAX:]
    start_ms = invocation.running_at_ms or invocation.created_at_ms
    if steps:
        start_ms = min(start_ms, steps[0].start_ms)
    end_ms = reading.now_ms if invocation.completed_at_ms is None else invocation.completed_at_ms
    if invocation.running_at_ms is None and not invocation.completed_at_ms:
        end_ms = max(reading.now_ms, start_ms)
    gaps = waiting_stretches(steps, start_ms, end_ms)
    chosen_gaps = gaps if scale_name == "work" else []
    scale = Scale(start_ms, end_ms, chosen_gaps)
    first_row = max(0, min(first_row, max(len(steps) - 1, 0)) // ROWS_MAX * ROWS_MAX)
    window = steps[first_row : first_row + ROWS_MAX]
    attempts = attempts_of(
        events,
        steps,
        scale,
        running_at_ms=invocation.running_at_ms,
        last_start_at_ms=invocation.last_start_at_ms,
        ended_at_ms=invocation.completed_at_ms,
    )
    builder = _Rows(reading, scale, reading.now_ms)
    rows = builder.rows(invocation, window, events, depth=0)
    is_long = len(steps) > ROWS_MAX
    caller = invocation.invoked_by_id
    return RunView(
        run=summary,
        facts=_facts(invocation),
        rows=rows,
        first_row=first_row,
        row_count=len(steps),
        entry_count=entry_count,
        overview=overview(steps, scale) if is_long else [],
        window=scale.bar(window[0].start_ms, window[-1].end_ms, "window") if is_long and window else None,
        ticks=scale.ticks(),
        gaps=scale.gap_bars(),
        attempts=attempts,
        waiting=waiting_for(reading, invocation, steps),
        errors=errors,
        sources=[source_line(str(event.data.get("error_stacktrace") or "")) for event in errors],
        standstills=standstills_of(invocation, events, steps, attempts, scale),
        waiters=reading.waiting_runs(invocation.id) if invocation.is_open else [],
        parent=None if caller is None else reading.summary(caller),
        origin=None if invocation.restarted_from is None else reading.summary(invocation.restarted_from),
        restarts=reading.restarts_of(invocation.id),
        scale=scale_name,
        start_ms=scale.start_ms,
        end_ms=scale.end_ms,
        result=_result(invocation),
        step=None if step_index is None else step_detail(reading, invocation, step_index, steps, events),
        can_shrink=bool(gaps),
    )


def _facts(invocation: Invocation) -> list[tuple[str, str]]:
    """What is known beside the picture, as label and text; what is absent is left out."""
    pairs = (
        ("Created", formats.moment(invocation.created_at_ms)),
        ("Started", formats.moment(invocation.running_at_ms)),
        ("Due", formats.moment(invocation.start_at_ms)),
        ("Ended", formats.moment(invocation.completed_at_ms)),
        ("Deployment", invocation.pinned_deployment_id or ""),
        ("Protocol", "" if invocation.pinned_version is None else f"V{invocation.pinned_version}"),
        ("Idempotency key", invocation.idempotency_key or ""),
        ("Trace", (invocation.traceparent or "")[3:35]),
        ("Kept until", formats.moment(invocation.purge_at_ms)),
    )
    return [(label, formats.safe(text)) for label, text in pairs if text]


def _result(invocation: Invocation) -> formats.Shown | None:
    match invocation.result:
        case m.Success(content):
            return formats.shown(content)
        case _:
            return None


def rows_of(reading: Reading, invocation: Invocation, limit: int) -> list[Row]:
    """The first rows of a run alone, without those of runs it called."""
    steps = steps_of(reading.entries(invocation.id))[:limit]
    start_ms = steps[0].start_ms if steps else invocation.created_at_ms
    scale = Scale(start_ms, invocation.completed_at_ms or reading.now_ms)
    return _Rows(reading, scale, reading.now_ms).rows(invocation, steps, [], depth=DEPTH_MAX)


class _Rows:
    """Builds rows, those of called runs under the call."""

    def __init__(self, reading: Reading, scale: Scale, now_ms: int) -> None:
        self.reading = reading
        self.scale = scale
        self.now_ms = now_ms

    def rows(self, invocation: Invocation, steps: list[Step], events: list[EventFact], depth: int) -> list[Row]:
        version = version_of(invocation)
        run_id = ids.invocation_id_to_str(invocation.id)
        wanted = [index for step in steps for index in (step.index, step.done_index) if index is not None]
        payloads = self._payloads(invocation.id, wanted)
        failures = failures_by_step(events)
        rows: list[Row] = []
        for step in steps:
            if step.index in payloads:
                name_step(step, decoded(step.type, payloads[step.index], version))
            failed = failures.get(step.ordinal if step.ordinal is not None else -1, [])
            row = self._row(run_id, step, payloads, version, depth, failed)
            rows.append(row)
            if step.child is not None:
                rows += self._nested(row, step, depth)
        return rows

    def _row(
        self, run_id: str, step: Step, payloads: dict[int, bytes], version: int, depth: int, failed: list[EventFact]
    ) -> Row:
        preview, model = _preview(step, payloads, version)
        style = step.kind if step.is_done else f"{step.kind} open"
        if step.is_failure:
            style = f"{step.kind} failed"
        return Row(
            run_id=run_id,
            depth=depth,
            index=step.index,
            kind="model" if model is not None else step.kind,
            title=formats.safe(formats.shortened(step.title, 200)),
            preview=preview,
            start_ms=step.start_ms,
            took_ms=(step.end_ms if step.end_ms is not None else self.now_ms) - step.start_ms,
            is_done=step.is_done,
            is_failure=step.is_failure,
            bar=self.scale.bar(step.start_ms, step.end_ms, style if model is None else style.replace("step", "model")),
            failures=[self.scale.x(event.at_ms) for event in failed[-20:]],
            failure_count=len(failed),
            child=None if step.child is None else ids.invocation_id_to_str(step.child),
            model=model,
        )

    def _nested(self, row: Row, step: Step, depth: int) -> list[Row]:
        assert step.child is not None
        child = self.reading.invocation(step.child)
        if child is None:
            return []
        summary = self.reading.summary(step.child)
        row.child_status = summary.status if summary else None
        if depth + 1 > DEPTH_MAX:
            return []
        steps = steps_of(self.reading.entries(child.id, high=NESTED_ROWS_MAX))
        inner = [item for item in steps if item.kind not in ("input", "output")]
        return self.rows(child, inner, self.reading.events(child.id, 100), depth + 1)

    def _payloads(self, invocation_id: bytes, indexes: list[int]) -> dict[int, bytes]:
        if not indexes:
            return {}
        return self.reading.short_payloads(invocation_id, min(indexes), max(indexes), PREVIEW_BYTES_MAX)


def _preview(step: Step, payloads: dict[int, bytes], version: int) -> tuple[str, str | None]:
    """A step's result on one line, and the model's name if it was a model call."""
    payload = payloads.get(step.result_index)
    message = None if payload is None else decoded(step.result_type, payload, version)
    if message is None or (step.result_index == step.index and step.kind in ("call", "send", "signal")):
        return "", None  # what it sends is not what came out
    result = carried(message)
    if step.kind == "step" and isinstance(result, m.Success):
        reply = decode_reply(result.content)
        if reply is not None:
            calls = ", ".join(f"{call.name}({formats.line(call.arguments, 60)})" for call in reply.calls)
            said = " → ".join(filter(None, (formats.line(reply.text, 120), calls)))
            return said, reply.model or reply.framework
    return line_for(step.display, message), None
