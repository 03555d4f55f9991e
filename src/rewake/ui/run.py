"""One run as a page: facts, the rows of its timeline with those of called runs, its waits, and one step in full.

A page shows a window of rows; the picture above it shows all. All functions map data to data: run_data.py has fetched
it. actions.py makes changes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from rewake import formats
from rewake.agents.decoding import decode_reply
from rewake.agents.effects import Effect
from rewake.core import ids
from rewake.core.model import Invocation
from rewake.protocol import messages as m
from rewake.protocol.messages import MessageType
from rewake.runs.displays import carried, line_for
from rewake.runs.facts import EventFact, RunSummary
from rewake.runs.mismatch import Mismatch, mismatch_of
from rewake.runs.stacktrace import SourceLine, source_line
from rewake.runs.steps import Step, decoded, failures_by_step, name_step, version_of
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
from rewake.runs.waits import Wait
from rewake.ui.run_data import ROWS_MAX, Family, RowsData, RunData
from rewake.ui.step import StepDetail, step_detail

ERRORS_MAX: Final = 20
LOST_MAX: Final = 20


class Row(msgspec.Struct, kw_only=True):
    """A row of the timeline. bar: of the attempt that has, or may still get, the result.

    lost: of the attempts that ended while the step was under way, so that it runs again.   failures: places of failed
    attempts.
    """

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
    lost: list[Bar] = []
    failures: list[int] = []
    failure_count: int = 0
    child: str | None = None
    child_status: str | None = None
    model: str | None = None


class RunView(msgspec.Struct, kw_only=True):
    """The page of a run. sources, mismatches: where each error came from, and its report if it is a mismatch.

    left: see RunData.
    """

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
    waiting: list[Wait]
    left: list[Wait]
    effects: list[Effect]
    errors: list[EventFact]
    sources: list[SourceLine | None]
    mismatches: list[Mismatch | None]
    standstills: list[Standstill]
    family: Family
    scale: str
    start_ms: int
    end_ms: int
    result: formats.Shown | None
    step: StepDetail | None
    can_shrink: bool


def run_view(data: RunData, scale_name: str) -> RunView:
    """Everything about a run. scale_name: `time`, or `work` to shrink stretches in which only waiting happens."""
    invocation, steps, events = data.invocation, data.steps, data.events
    start_ms, end_ms = _span(data)
    gaps = waiting_stretches(steps, start_ms, end_ms)
    scale = Scale(start_ms, end_ms, gaps if scale_name == "work" else [])
    attempts = attempts_of(
        events,
        steps,
        scale,
        running_at_ms=invocation.running_at_ms,
        last_start_at_ms=invocation.last_start_at_ms,
        ended_at_ms=invocation.completed_at_ms,
    )
    errors = [event for event in events if event.kind == "TransientError"][-ERRORS_MAX:]
    window = data.window.steps
    is_long = len(steps) > ROWS_MAX
    return RunView(
        run=data.summary,
        facts=_facts(invocation),
        rows=_rows(data.window, scale, data.now_ms),
        first_row=data.first_row,
        row_count=len(steps),
        entry_count=data.entry_count,
        overview=overview(steps, scale) if is_long else [],
        window=scale.bar(window[0].start_ms, window[-1].end_ms, "window") if is_long and window else None,
        ticks=scale.ticks(),
        gaps=scale.gap_bars(),
        attempts=attempts,
        waiting=data.waiting,
        left=data.left,
        effects=data.effects,
        errors=errors,
        sources=[source_line(str(event.data.get("error_stacktrace") or "")) for event in errors],
        mismatches=[mismatch_of(event.data, steps) for event in errors],
        standstills=standstills_of(invocation, events, steps, attempts, scale),
        family=data.family,
        scale=scale_name,
        start_ms=scale.start_ms,
        end_ms=scale.end_ms,
        result=_result(invocation),
        step=None if data.step is None else step_detail(data.step),
        can_shrink=bool(gaps),
    )


def rows_alone(data: RowsData, now_ms: int) -> list[Row]:
    """The rows of a run on a scale of their own."""
    start_ms = data.steps[0].start_ms if data.steps else data.invocation.created_at_ms
    return _rows(data, Scale(start_ms, data.invocation.completed_at_ms or now_ms), now_ms)


def _span(data: RunData) -> tuple[int, int]:
    """When the picture starts and ends."""
    invocation = data.invocation
    start_ms = invocation.running_at_ms or invocation.created_at_ms
    if data.steps:
        start_ms = min(start_ms, data.steps[0].start_ms)
    if invocation.completed_at_ms is not None:
        return start_ms, invocation.completed_at_ms
    return start_ms, data.now_ms if invocation.running_at_ms is not None else max(data.now_ms, start_ms)


def _facts(invocation: Invocation) -> list[tuple[str, str]]:
    """The facts beside the picture, as label and text; absent ones are left out."""
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


def _rows(data: RowsData, scale: Scale, now_ms: int, depth: int = 0) -> list[Row]:
    """A row for each step, those of a called run under the call."""
    version = version_of(data.invocation)
    failures = failures_by_step(data.events)
    rows: list[Row] = []
    for step in data.steps:
        if step.index in data.payloads:
            name_step(step, decoded(step.type, data.payloads[step.index], version))
        failed = failures.get(step.ordinal if step.ordinal is not None else -1, [])
        row = _row(data, step, scale, now_ms, depth, failed)
        rows.append(row)
        called = None if step.child is None else data.called.get(step.child)
        if called is not None:
            row.child_status = called.status
            rows += _rows(called, scale, now_ms, depth + 1)
    return rows


def _row(data: RowsData, step: Step, scale: Scale, now_ms: int, depth: int, failed: list[EventFact]) -> Row:
    preview, model = _preview(step, data.payloads, version_of(data.invocation))
    style = step.kind if step.is_done else f"{step.kind} open"
    if step.is_failure:
        style = f"{step.kind} failed"
    lost, again_ms = _lost(data, step, scale, now_ms)
    return Row(
        run_id=ids.invocation_id_to_str(data.invocation.id),
        depth=depth,
        index=step.index,
        kind="model" if model is not None else step.kind,
        title=formats.shortened(formats.safe(step.title), 200),
        preview=preview,
        start_ms=step.start_ms,
        took_ms=(step.end_ms if step.end_ms is not None else now_ms) - step.start_ms,
        is_done=step.is_done,
        is_failure=step.is_failure,
        bar=scale.bar(again_ms, step.end_ms, style if model is None else style.replace("step", "model")),
        lost=lost,
        failures=[scale.x(event.at_ms) for event in failed[-20:]],
        failure_count=len(failed),
        child=None if step.child is None else ids.invocation_id_to_str(step.child),
        model=model,
    )


def _lost(data: RowsData, step: Step, scale: Scale, now_ms: int) -> tuple[list[Bar], int]:
    """The outcome of a step's earlier attempts, and the start of the last of them."""
    if step.type is not MessageType.RUN:
        return [], step.start_ms
    end_ms = now_ms if step.end_ms is None else step.end_ms
    ends = [each.at_ms for each in data.events if each.kind == "TransientError" and step.start_ms < each.at_ms < end_ms]
    if not ends:
        return [], step.start_ms
    bars = [scale.bar(start, end, "lost") for start, end in zip([step.start_ms, *ends[:-1]], ends, strict=True)]
    last_start_ms = data.invocation.last_start_at_ms or 0
    return bars[-LOST_MAX:], last_start_ms if ends[-1] <= last_start_ms <= end_ms else ends[-1]


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
