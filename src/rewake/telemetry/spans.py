"""The spans of a completed invocation, made from its record in rewake.runs: its steps and its agents.

The invocation has one span, and so has each step that takes time (runs, calls, sends, sleeps, promises, attaching) and
each stretch of work of an agent that took over or was consulted. Failed attempts are events of the invocation's span.
The same record gives the same spans and ids. OpenTelemetry comes in only in exporting.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rewake import formats
from rewake.core.ids import invocation_id_to_str
from rewake.core.model import Invocation, InvokedBy
from rewake.disclosure import shown_text
from rewake.protocol import messages as m
from rewake.protocol.messages import Failure
from rewake.runs.agents import trace_of
from rewake.runs.directory import Directory
from rewake.runs.displays import carried
from rewake.runs.facts import EventFact
from rewake.runs.records import Record
from rewake.runs.steps import Step
from rewake.runs.turns import AgentTrace, Turn
from rewake.telemetry import agents, trace_ids
from rewake.telemetry.agents import Attributes

STEPS_MAX: Final = 10_000
"""Steps of one invocation that become spans; the invocation's span has the count of the others."""

TEXT_CHARS_MAX: Final = 1_000

TURNS_MAX: Final = 2 * STEPS_MAX

_KINDS: Final = {"call": "client", "send": "producer"}


@dataclass(slots=True)
class SpanEvent:
    """An event at one moment of a span."""

    name: str
    at_ms: int
    attributes: Attributes


@dataclass(slots=True)
class Span:
    """One span, ids in hexadecimal. kind: server, client, producer or internal.   error: None if it succeeded."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str
    start_ms: int
    end_ms: int
    attributes: Attributes
    error: str | None = None
    events: list[SpanEvent] = field(default_factory=list)


def spans_of(record: Record, directory: Directory) -> list[Span]:
    """All spans, the invocation's own first. record: of this run alone; without entries if its journal is deleted."""
    own = _own_span(record.invocation, record.events)
    steps = _Steps(record, own, trace_of(record, directory, turns_max=TURNS_MAX))
    return [own, *steps.agent_spans, *steps.spans]


def _own_span(invocation: Invocation, events: Sequence[EventFact]) -> Span:
    target, result = invocation.target, invocation.result
    context = trace_ids.context_of(invocation.id, invocation.traceparent)
    facts: dict[str, Any] = {
        "rpc.system": "restate",
        "rpc.service": target.service,
        "rpc.method": target.handler,
        "restate.invocation.id": invocation_id_to_str(invocation.id),
        "restate.invocation.target": str(target),
        "restate.object.key": target.key,
        "restate.invoked_by": str(invocation.invoked_by),
        "restate.idempotency_key": invocation.idempotency_key,
        "restate.deployment.id": invocation.pinned_deployment_id or invocation.last_deployment_id,
        "restate.restarted_from": invocation_id_to_str(invocation.restarted_from)
        if invocation.restarted_from
        else None,
        "rewake.failed_attempts": sum(event.kind == "TransientError" for event in events),
        "rewake.queued_ms": None if invocation.running_at_ms is None else _waited_ms(invocation),
        "error.type": str(result.code) if isinstance(result, Failure) else None,
    }
    return Span(
        trace_id=context.trace_id,
        span_id=trace_ids.invocation_span_id(invocation.id),
        parent_id=_parent_id(invocation, context.parent_id),
        name=f"{target.service}/{target.handler}",
        kind="server",
        start_ms=invocation.created_at_ms,
        end_ms=invocation.completed_at_ms or invocation.modified_at_ms,
        attributes={name: value for name, value in facts.items() if value is not None},
        error=_cut(result.message) if isinstance(result, Failure) else None,
        events=[_failure_event(event) for event in events],
    )


def _waited_ms(invocation: Invocation) -> int:
    """Time until a delayed call was due, and time in the queue of the key."""
    return max((invocation.running_at_ms or 0) - invocation.created_at_ms, 0)


def _parent_id(invocation: Invocation, from_outside: str | None) -> str | None:
    if invocation.invoked_by is InvokedBy.SERVICE and invocation.invoked_by_id is not None:
        return trace_ids.call_span_id(invocation.invoked_by_id, invocation.id)
    return from_outside


def _failure_event(event: EventFact) -> SpanEvent:
    told = event.data
    facts = {
        "exception.type": told.get("restate_doc_error_code"),
        "exception.message": _cut(str(told.get("error_message") or "")),
        "exception.stacktrace": _cut(str(told.get("error_stacktrace") or "")) or None,
        "restate.step": told.get("related_command_name") or None,
    }
    name = "exception" if event.kind == "TransientError" else event.kind.lower()
    return SpanEvent(name, event.at_ms, {key: str(value) for key, value in facts.items() if value})


class _Steps:
    """The spans of a record's steps, each a child of its agent's span."""

    def __init__(self, record: Record, own: Span, trace: AgentTrace) -> None:
        self.spans: list[Span] = []
        self.agent_spans: list[Span] = []
        self._record = record
        self._own = own
        self._id = record.invocation.id
        self._called: set[bytes] = set()
        self._handoffs = {item.index: item for item in trace.handoffs if item.kind != "consult"}
        self._turns = {turn.index: turn for turn in reversed(trace.turns) if turn.kind != "handoff"}
        self._working = {turn.stint for turn in trace.turns if turn.reply is not None}
        if self._working:
            own.attributes |= agents.agent_attributes(trace.stints[0].agent)
        self._stint_spans = self._spans_of_stints(trace)
        timed = [step for step in record.steps if step.display.is_timed]
        stint = 0
        for step in timed[:STEPS_MAX]:
            stint = self._turns[step.index].stint if step.index in self._turns else stint
            self._add(step, self._stint_spans[stint])
            handoff = self._handoffs.get(step.index)
            stint = stint if handoff is None or handoff.stint is None else handoff.stint
        if len(timed) > STEPS_MAX:
            own.attributes["rewake.steps_left_out"] = len(timed) - STEPS_MAX

    def _spans_of_stints(self, trace: AgentTrace) -> list[Span]:
        """A span for each stretch of an agent's work; the first is the invocation's own.

        An agent without a model's reply here gets no span: the step that chose it called it in another run.
        """
        found = [self._own]
        consults = {item.number: item for item in trace.handoffs if item.kind == "consult"}
        for place, stint in enumerate(trace.stints[1:], 1):
            if place not in self._working and stint.number not in consults:
                found.append(found[stint.parent or 0])
                continue
            span = Span(
                trace_id=self._own.trace_id,
                span_id=trace_ids.agent_span_id(self._id, place),
                parent_id=found[stint.parent or 0].span_id,
                name=f"invoke_agent {_cut(stint.agent)}",
                kind="internal",
                start_ms=stint.start_ms,
                end_ms=max(self._own.end_ms if stint.end_ms is None else stint.end_ms, stint.start_ms),
                attributes=agents.agent_attributes(stint.agent),
            )
            if stint.number in consults:
                span.attributes |= agents.handoff_attributes(consults[stint.number])
            self.agent_spans.append(span)
            found.append(span)
        return found

    def _add(self, step: Step, parent: Span) -> None:
        command = self._record.command(step)
        span = Span(
            trace_id=self._own.trace_id,
            span_id=self._span_id(step),
            parent_id=parent.span_id,
            name=_name_of(step, command),
            kind=_KINDS.get(step.kind, "internal"),
            start_ms=step.start_ms,
            end_ms=max(self._own.end_ms if step.end_ms is None else step.end_ms, step.start_ms),
            attributes={"restate.entry.index": step.index},
            error=self._error_of(step),
        )
        if step.child is not None:
            span.attributes["restate.callee.id"] = invocation_id_to_str(step.child)
        if (turn := self._turns.get(step.index)) is not None:
            _describe(span, turn)
        if (handoff := self._handoffs.get(step.index)) is not None:
            span.attributes |= agents.handoff_attributes(handoff)
        self.spans.append(span)

    def _span_id(self, step: Step) -> str:
        """The step's span id. The first call of a callee gets the id that the callee computes for its parent."""
        if step.child is not None and step.child not in self._called:
            self._called.add(step.child)
            return trace_ids.call_span_id(self._id, step.child)
        return trace_ids.step_span_id(self._id, step.index)

    def _error_of(self, step: Step) -> str | None:
        result = carried(self._record.result(step)) if step.is_failure else None
        return _cut(result.message) if isinstance(result, Failure) else None


def _describe(span: Span, turn: Turn) -> None:
    """Name a span after the agent's action in it."""
    if turn.reply is not None:
        span.name = f"chat {turn.model}" if turn.model else f"chat ({span.name})"
        span.kind = "client"
        span.attributes |= agents.model_attributes(turn, turn.reply)
    elif turn.tool:
        span.name = f"execute_tool {_cut(turn.tool)}"
        span.attributes |= agents.tool_attributes(turn)
    elif turn.kind == "decision":
        span.attributes |= agents.decision_attributes(turn)


def _name_of(step: Step, command: Any) -> str:
    """The entry's own name, else its target. A call's name leaves out the key, to keep the set of names small."""
    if isinstance(command, m.CallCommand | m.OneWayCallCommand):
        return f"{step.display.word} {command.service_name}/{command.handler_name}"
    about = "" if command is None else step.display.about(command)
    return _cut(step.name or f"{step.display.word} {about}".strip()) or "run"


def _cut(text: str) -> str:
    return formats.shortened(shown_text(text), TEXT_CHARS_MAX)
