"""One step of a run in full: its input and output, its failed attempts, and the runs that wait for it.

step_data() reads the data; step_detail() shapes it for the page.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rewake import formats
from rewake.agents.decoding import decode_reply
from rewake.agents.prices import cost_of
from rewake.agents.replies import ModelReply
from rewake.core import ids
from rewake.core.model import Invocation, Status
from rewake.protocol import messages as m
from rewake.protocol.messages import MessageType
from rewake.runs.agents import agent_trace
from rewake.runs.displays import carried
from rewake.runs.facts import EventFact, RunSummary
from rewake.runs.mismatch import Mismatch, mismatch_of
from rewake.runs.reading import Reading
from rewake.runs.stacktrace import SourceLine, source_line
from rewake.runs.steps import Step, decoded, failures_by_step, name_step, version_of
from rewake.runs.turns import Turn
from rewake.runs.waits import futures_in


class StepDetail(msgspec.Struct, kw_only=True):
    """One step in full. waiters: other runs that wait for the same.   holds_run: the run is suspended until it is done.

    sources, mismatches: where each error came from, and its report if it is a mismatch.
    agent, model, cost: of a model's reply, as the agents view has them.
    """

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
    agent: str = ""
    model: str | None = None
    is_declared: bool = False
    is_default: bool = False
    is_kept: bool = False
    cost: float | None = None
    errors: list[EventFact] = []
    sources: list[SourceLine | None] = []
    mismatches: list[Mismatch | None] = []
    can_fork: bool = False
    waiters: list[RunSummary] = []
    holds_run: bool = False
    is_run_open: bool = False
    result_text: str = ""


class StepData(msgspec.Struct, kw_only=True):
    """What step_detail() needs. payloads: of its entries.   waiters: other runs that wait for the same.

    turn: of the agents view, for a model's reply.
    """

    invocation: Invocation
    step: Step
    events: list[EventFact] = []
    payloads: dict[int, bytes] = {}
    turn: Turn | None = None
    child: RunSummary | None = None
    waiters: list[RunSummary] = []

    @property
    def command(self) -> Any:
        """The decoded command, or None."""
        return decoded(self.step.type, self.payloads.get(self.step.index, b""), version_of(self.invocation))

    @property
    def result(self) -> Any:
        """The result of a step whose result has an entry of its own; None for all others."""
        step = self.step
        if step.done_index in (None, step.index):
            return None
        payload = self.payloads.get(step.result_index, b"")
        return carried(decoded(step.result_type, payload, version_of(self.invocation)))


def step_data(
    reading: Reading, invocation: Invocation, index: int, steps: list[Step], events: list[EventFact]
) -> StepData | None:
    """Everything about one step; None when there is no such step."""
    step = next((item for item in steps if item.index == index or item.done_index == index), None)
    if step is None:
        return None
    wanted = [item for item in (step.index, step.done_index) if item is not None]
    payloads = reading.payloads(invocation.id, wanted)
    data = StepData(invocation=invocation, step=step, events=events, payloads=payloads)
    if _reply(step, data.result) is not None:
        data.turn = _turn(reading, invocation, step.index)
    if step.child is not None:
        data.child = reading.summary(step.child)
    if not step.is_done:
        data.waiters = _others_waiting(reading, invocation, step, data.command)
    return data


def _turn(reading: Reading, invocation: Invocation, index: int) -> Turn | None:
    """The turn of a reply; None in a long run, whose later turns are not read."""
    place = (ids.invocation_id_to_str(invocation.id), index)
    turns = agent_trace(reading, invocation).turns
    return next((turn for turn in turns if turn.reply is not None and (turn.run_id, turn.index) == place), None)


def _others_waiting(reading: Reading, invocation: Invocation, step: Step, command: Any) -> list[RunSummary]:
    """Runs beside this one that wait for the same run or promise."""
    found: list[RunSummary] = []
    if isinstance(command, m.GetPromiseCommand):
        found = reading.promise_waiters(invocation.target.service, invocation.target.key or "", command.key)
    elif step.child is not None:
        found = reading.waiting_runs(step.child)
    own_id = ids.invocation_id_to_str(invocation.id)
    return [run for run in found if run.id != own_id]


def step_detail(data: StepData) -> StepDetail:
    """One step with everything in it."""
    invocation, step, command = data.invocation, data.step, data.command
    name_step(step, command)
    detail = StepDetail(
        run_id=ids.invocation_id_to_str(invocation.id),
        index=step.index,
        kind=step.kind,
        type=step.type.name.replace("_", " ").capitalize(),
        title=formats.shortened(formats.safe(step.title), 400),
        start_ms=step.start_ms,
        end_ms=step.end_ms,
        ordinal=step.ordinal,
        is_failure=step.is_failure,
        errors=failures_by_step(data.events).get(step.ordinal if step.ordinal is not None else -1, []),
        child=data.child,
        is_run_open=invocation.is_open,
        holds_run=not step.is_done and _holds(invocation, command),
        waiters=data.waiters,
        can_fork=_can_fork(invocation, step),
    )
    detail.mismatches = [mismatch_of(event.data, [step]) for event in detail.errors]
    detail.sources = [source_line(str(event.data.get("error_stacktrace") or "")) for event in detail.errors]
    _fill_from_command(detail, step, command)
    _fill_result(detail, step, data.result)
    _fill_reply(detail, data.turn)
    return detail


def _can_fork(invocation: Invocation, step: Step) -> bool:
    return (
        (step.index > 0 or not invocation.is_open)
        and step.type is not MessageType.OUTPUT
        and step.ordinal is not None
        and step.is_done
        and not invocation.target.is_workflow_run
    )


def _fill_reply(detail: StepDetail, turn: Turn | None) -> None:
    """Add the agent, the model and the price of the reply; without a turn only the price may be known."""
    if turn is not None:
        detail.agent, detail.model, detail.cost = turn.agent, turn.model, turn.cost
        detail.is_declared, detail.is_default, detail.is_kept = turn.is_declared, turn.is_default, turn.is_kept
    elif detail.reply is not None:
        detail.model, detail.cost = detail.reply.model, cost_of(detail.reply)


def _reply(step: Step, result: Any) -> ModelReply | None:
    """The model's reply, if the step was a model call."""
    return decode_reply(result.content) if step.kind == "step" and isinstance(result, m.Success) else None


def _holds(invocation: Invocation, command: Any) -> bool:
    """Whether a suspended run goes on when this is done."""
    awaiting = invocation.awaiting
    completion_id = getattr(command, "result_completion_id", getattr(command, "completion_id", None))
    if invocation.status is not Status.SUSPENDED or awaiting is None or completion_id is None:
        return False
    return any(completion_id in node.completions for node in futures_in(awaiting))


def _fill_from_command(detail: StepDetail, step: Step, command: Any) -> None:
    if step.display.is_result:
        _fill_result(detail, step, carried(command))
    elif isinstance(given := carried(command), m.Success):
        detail.input = formats.shown(given.content)
    facts = [
        ("Idempotency key", getattr(command, "idempotency_key", None)),
        ("State", step.subject if step.kind == "state" else None),
        ("Wakes at", formats.moment(command.wake_up_at_ms) if isinstance(command, m.SleepCommand) else None),
    ]
    detail.facts = [(label, formats.safe(text)) for label, text in facts if text]
    headers = getattr(command, "headers", ())
    detail.headers = [(formats.safe(name), formats.safe(value)) for name, value in headers]


def _fill_result(detail: StepDetail, step: Step, result: Any) -> None:
    match result:
        case m.Success(content):
            detail.output = formats.shown(content)
            if len(content) <= formats.SHOWN_CHARS_MAX:
                detail.result_text = content.decode(errors="replace")
            detail.reply = _reply(step, result)
        case m.Failure(code, message, _):
            detail.is_failure = True
            detail.failure = formats.safe(f"[{code}] {message}")
        case m.StateKeys(keys):
            detail.output = formats.shown(msgspec.json.encode([key.decode(errors="replace") for key in keys]))
