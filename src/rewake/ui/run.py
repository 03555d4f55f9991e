"""One run as a page: facts, the rows of its timeline with those of runs it called, what it waits for, one step in full.

A page shows a window of rows; the picture above it shows all. Payloads are read only for the rows of the window, and
only when they are short. Nothing is changed here; actions.py does that.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from rewake.agents.decoding import ModelReply, decode_reply
from rewake.core import ids
from rewake.core.model import Invocation, Status
from rewake.protocol import messages as m
from rewake.protocol.messages import FIRST_USER_SIGNAL, Future, MessageType
from rewake.ui import formats
from rewake.ui.reading import EventFact, Reading, RunSummary
from rewake.ui.steps import Step, decoded, name_step, steps_of
from rewake.ui.timeline import AttemptSpan, Bar, Scale, Tick, attempts_of, overview, waiting_stretches

ROWS_MAX: Final = 200
NESTED_ROWS_MAX: Final = 60
DEPTH_MAX: Final = 3
PREVIEW_BYTES_MAX: Final = 4_096
_SEARCHED_ENTRIES: Final = 400
_SEARCHED_BYTES_MAX: Final = 200_000


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


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Something a run waits for. awakeable: id to answer it by, when a person can.   promise: service, key and name."""

    kind: str
    title: str
    since_ms: int | None
    awakeable: str | None = None
    promise: tuple[str, str, str] | None = None
    run_id: str | None = None
    due_at_ms: int | None = None
    asked: str = ""


class StepDetail(msgspec.Struct, kw_only=True):
    """One step in full."""

    run_id: str
    index: int
    kind: str
    type: str
    title: str
    start_ms: int
    end_ms: int | None
    ordinal: int | None
    is_failure: bool = False
    input: formats.Shown | None = None
    output: formats.Shown | None = None
    failure: str | None = None
    headers: list[tuple[str, str]] = []
    facts: list[tuple[str, str]] = []
    child: RunSummary | None = None
    reply: ModelReply | None = None
    errors: list[EventFact] = []
    can_fork: bool = False
    is_run_open: bool = False
    result_text: str = ""


class RunView(msgspec.Struct, kw_only=True):
    """The page of a run."""

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
        attempts=attempts_of(
            events,
            steps,
            scale,
            running_at_ms=invocation.running_at_ms,
            last_start_at_ms=invocation.last_start_at_ms,
            ended_at_ms=invocation.completed_at_ms,
        ),
        waiting=waiting_for(reading, invocation, steps),
        errors=[event for event in events if event.kind == "TransientError"][-20:],
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
        version = invocation.pinned_version or 6
        run_id = ids.invocation_id_to_str(invocation.id)
        wanted = [index for step in steps for index in (step.index, step.done_index) if index is not None]
        payloads = self._payloads(invocation.id, wanted)
        failures = _failures_by_step(events)
        rows: list[Row] = []
        for step in steps:
            if step.index in payloads:
                name_step(step, payloads[step.index], version)
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
    payload = payloads.get(step.index if step.done_index is None else step.done_index)
    type_ = step.type
    if step.done_index is not None and step.type is not MessageType.SIGNAL:
        type_ = _COMPLETION_TYPES.get(step.type, step.type)
    message = None if payload is None else decoded(type_, payload, version)
    match message:
        case m.Completion(result=m.Success(content)):
            reply = decode_reply(content) if step.kind == "step" else None
            if reply is not None:
                calls = ", ".join(f"{call.name}({formats.line(call.arguments, 60)})" for call in reply.calls)
                said = " → ".join(filter(None, (formats.line(reply.text, 120), calls)))
                return said, reply.model or reply.framework
            return formats.line(content), None
        case m.Completion(result=m.Failure(code, text)) | m.Signal(result=m.Failure(code, text)):
            return formats.line(f"[{code}] {text}"), None
        case m.Signal(result=m.Success(content)) | m.OutputCommand(result=m.Success(content)):
            return formats.line(content), None
        case m.OutputCommand(result=m.Failure(code, text)):
            return formats.line(f"[{code}] {text}"), None
        case m.InputCommand(value=value) | m.SetStateCommand(value=value):
            return formats.line(value), None
        case m.GetEagerStateCommand(result=m.Success(content)):
            return formats.line(content), None
        case m.SleepCommand(wake_up_at_ms=at_ms):
            return f"until {formats.moment(at_ms)}", None
    return "", None


_COMPLETION_TYPES: Final = {
    MessageType.GET_LAZY_STATE: MessageType.GET_LAZY_STATE_COMPLETION,
    MessageType.GET_LAZY_STATE_KEYS: MessageType.GET_LAZY_STATE_KEYS_COMPLETION,
    MessageType.GET_PROMISE: MessageType.GET_PROMISE_COMPLETION,
    MessageType.PEEK_PROMISE: MessageType.PEEK_PROMISE_COMPLETION,
    MessageType.COMPLETE_PROMISE: MessageType.COMPLETE_PROMISE_COMPLETION,
    MessageType.SLEEP: MessageType.SLEEP_COMPLETION,
    MessageType.CALL: MessageType.CALL_COMPLETION,
    MessageType.ONE_WAY_CALL: MessageType.CALL_INVOCATION_ID_COMPLETION,
    MessageType.RUN: MessageType.RUN_COMPLETION,
    MessageType.ATTACH_INVOCATION: MessageType.ATTACH_INVOCATION_COMPLETION,
    MessageType.GET_INVOCATION_OUTPUT: MessageType.GET_INVOCATION_OUTPUT_COMPLETION,
}


def _failures_by_step(events: list[EventFact]) -> dict[int, list[EventFact]]:
    """Failed attempts by the command they are about."""
    found: dict[int, list[EventFact]] = {}
    for event in events:
        about = event.data.get("related_command_index")
        if event.kind == "TransientError" and isinstance(about, int):
            found.setdefault(about, []).append(event)
    return found


def step_detail(
    reading: Reading, invocation: Invocation, index: int, steps: list[Step], events: list[EventFact]
) -> StepDetail | None:
    """One step with everything in it; None when there is no such step."""
    step = next((item for item in steps if item.index == index or item.done_index == index), None)
    if step is None:
        return None
    version = invocation.pinned_version or 6
    wanted = [item for item in (step.index, step.done_index) if item is not None]
    payloads = reading.payloads(invocation.id, wanted)
    command = decoded(step.type, payloads.get(step.index, b""), version)
    name_step(step, payloads.get(step.index, b""), version)
    detail = StepDetail(
        run_id=ids.invocation_id_to_str(invocation.id),
        index=step.index,
        kind=step.kind,
        type=step.type.name.replace("_", " ").capitalize(),
        title=formats.safe(formats.shortened(step.title, 400)),
        start_ms=step.start_ms,
        end_ms=step.end_ms,
        ordinal=step.ordinal,
        is_failure=step.is_failure,
        errors=_failures_by_step(events).get(step.ordinal if step.ordinal is not None else -1, []),
    )
    _fill_from_command(detail, command)
    if step.done_index is not None and step.type in _COMPLETION_TYPES:
        completion = decoded(_COMPLETION_TYPES[step.type], payloads.get(step.done_index, b""), version)
        if isinstance(completion, m.Completion):
            _fill_result(detail, completion.result)
    if step.child is not None:
        detail.child = reading.summary(step.child)
    detail.is_run_open = invocation.is_open
    detail.can_fork = (
        (step.index > 0 or not invocation.is_open)
        and step.type is not MessageType.OUTPUT
        and step.ordinal is not None
        and step.is_done
        and not invocation.target.is_workflow_run
    )
    return detail


def _fill_from_command(detail: StepDetail, command: Any) -> None:
    match command:
        case m.InputCommand(headers=headers, value=value):
            detail.input, detail.headers = formats.shown(value), list(headers)
        case m.CallCommand() | m.OneWayCallCommand():
            detail.input, detail.headers = formats.shown(command.parameter), list(command.headers)
            if command.idempotency_key:
                detail.facts.append(("Idempotency key", command.idempotency_key))
        case m.SetStateCommand(key=key, value=value):
            detail.facts.append(("State", key.decode(errors="replace")))
            detail.input = formats.shown(value)
        case m.GetEagerStateCommand(key=key, result=result):
            detail.facts.append(("State", key.decode(errors="replace")))
            _fill_result(detail, result)
        case m.OutputCommand(result=result) | m.Signal(result=result):
            _fill_result(detail, result)
        case m.CompletePromiseCommand(result=result) | m.CompleteAwakeableCommand(result=result):
            if isinstance(result, m.Success):
                detail.input = formats.shown(result.content)
        case m.SendSignalCommand(result=result):
            if isinstance(result, m.Success):
                detail.input = formats.shown(result.content)
        case m.SleepCommand(wake_up_at_ms=at_ms):
            detail.facts.append(("Wakes at", formats.moment(at_ms)))
    detail.facts = [(label, formats.safe(text)) for label, text in detail.facts]
    detail.headers = [(formats.safe(name), formats.safe(value)) for name, value in detail.headers]


def _fill_result(detail: StepDetail, result: Any) -> None:
    match result:
        case m.Success(content):
            detail.output = formats.shown(content)
            if len(content) <= formats.SHOWN_CHARS_MAX:
                detail.result_text = content.decode(errors="replace")
            detail.reply = decode_reply(content) if detail.kind == "step" else None
        case m.Failure(code, message, _):
            detail.is_failure = True
            detail.failure = formats.safe(f"[{code}] {message}")
        case m.StateKeys(keys):
            detail.output = formats.shown(msgspec.json.encode([key.decode(errors="replace") for key in keys]))


# What a run waits for


def waiting_for(reading: Reading, invocation: Invocation, steps: list[Step]) -> list[Waiting]:
    """Open steps that take time by themselves, awakeables that were given out, the queue of a key."""
    if invocation.status is Status.COMPLETED:
        return []
    found = [_queue_or_schedule(invocation)] if invocation.status in (Status.INBOXED, Status.SCHEDULED) else []
    for step in steps[-2_000:]:
        if step.is_done or step.kind not in ("call", "wait", "sleep"):
            continue
        payload = reading.payloads(invocation.id, [step.index]).get(step.index, b"")
        command = decoded(step.type, payload, invocation.pinned_version or 6)
        name_step(step, payload, invocation.pinned_version or 6)
        promise = None
        if isinstance(command, m.GetPromiseCommand):
            promise = (invocation.target.service, invocation.target.key or "", command.key)
        found.append(
            Waiting(
                kind="promise" if promise else step.kind,
                title=formats.safe(step.title),
                promise=promise,
                since_ms=step.start_ms,
                run_id=None if step.child is None else ids.invocation_id_to_str(step.child),
                due_at_ms=command.wake_up_at_ms if isinstance(command, m.SleepCommand) else None,
            )
        )
    found += _awakeables(reading, invocation)
    return found[:50]


def approvals(reading: Reading, run_ids: list[str]) -> list[Waiting]:
    """What a person can answer of what some runs wait for; what several wait for is there once."""
    found: dict[Any, Waiting] = {}
    for run_id in run_ids:
        invocation = reading.invocation(ids.invocation_id_from_str(run_id))
        if invocation is not None:
            steps = steps_of(reading.entries(invocation.id))
            for item in waiting_for(reading, invocation, steps):
                if item.awakeable or item.promise:
                    found.setdefault(item.awakeable or item.promise, item)
    return list(found.values())


def answerable(reading: Reading, invocation_id: bytes) -> bool:
    """Whether a person can answer what a run waits for: an awakeable or a promise."""
    invocation = reading.invocation(invocation_id)
    if invocation is None or invocation.status not in (Status.INVOKED, Status.SUSPENDED):
        return False
    if invocation.awaiting is not None and awaits_person(invocation.awaiting):
        return True
    steps = steps_of(reading.entries(invocation_id))
    if any(step.type is MessageType.GET_PROMISE and not step.is_done for step in steps):
        return True
    return invocation.status is Status.INVOKED and bool(_awakeables(reading, invocation))


def awaits_person(awaiting: Future) -> bool:
    """Whether an awakeable is among what a suspended run waits for."""
    return any(signal >= FIRST_USER_SIGNAL for signal in _signals(awaiting))


def _queue_or_schedule(invocation: Invocation) -> Waiting:
    if invocation.status is Status.SCHEDULED:
        return Waiting(
            kind="sleep",
            title="Its time to start",
            since_ms=invocation.created_at_ms,
            due_at_ms=invocation.start_at_ms,
        )
    key = formats.safe(formats.shortened(invocation.target.key or "", 80))
    return Waiting(
        kind="queue", title=f"Runs before it on {invocation.target.service}/{key}", since_ms=invocation.inboxed_at_ms
    )


def _awakeables(reading: Reading, invocation: Invocation) -> list[Waiting]:
    """Awakeables nobody has answered: those a suspended run names, and ids that the run gave out in its journal."""
    indexes: set[int] = set()
    if invocation.awaiting is not None:
        indexes |= {item for item in _signals(invocation.awaiting) if item >= FIRST_USER_SIGNAL}
    asked: dict[int, str] = {}
    prefix = ids.awakeable_id_format(invocation.id, 0)[: len("sign_1") + 32]
    after = max(reading.entry_count(invocation.id) - _SEARCHED_ENTRIES, -1)
    pattern = re.compile(re.escape(prefix.encode()) + rb"[A-Za-z0-9_-]+")
    for type_, payload in reading.mentions(invocation.id, prefix, after, _SEARCHED_BYTES_MAX):
        for text in pattern.findall(payload):
            try:
                owner, signal = ids.awakeable_id_parse(text.decode())
            except ids.InvalidId:
                continue
            if owner == invocation.id and signal >= FIRST_USER_SIGNAL:
                indexes.add(signal)
                asked.setdefault(signal, _mention(type_, payload, invocation.pinned_version or 6))
    return [
        Waiting(
            kind="awakeable",
            title="An answer from outside",
            since_ms=invocation.modified_at_ms,
            awakeable=ids.awakeable_id_format(invocation.id, index),
            asked=asked.get(index, ""),
        )
        for index in sorted(indexes - reading.signals(invocation.id))
    ]


def _mention(type_: int, payload: bytes, version: int) -> str:
    """What was told together with an awakeable's id: the question, usually."""
    match decoded(type_, payload, version):
        case m.SetStateCommand(value=value):
            return formats.shown(value, 2_000).text
        case m.Completion(result=m.Success(content)):
            return formats.shown(content, 2_000).text
        case m.CallCommand(parameter=value) | m.OneWayCallCommand(parameter=value):
            return formats.shown(value, 2_000).text
    return ""


def _signals(future: Future) -> list[int]:
    found: list[int] = []
    nodes = [future]
    while nodes:
        node = nodes.pop()
        found += node.signals
        nodes += node.nested
    return found
