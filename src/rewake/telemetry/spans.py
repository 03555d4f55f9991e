"""The spans of a completed invocation, made from its row, its journal and its failures.

One span for the invocation, one for each step that takes time (runs, calls, sends, sleeps, promises, attaching), one
for the work of each agent that took over. Failed attempts are events of the invocation's span.
The same rows give the same spans, ids included. Knows no OpenTelemetry; see exporting.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from rewake.agents.routing import handoff_target
from rewake.core.ids import invocation_id_to_str
from rewake.core.model import Invocation, InvokedBy
from rewake.core.writes import EntryRow, EventRow
from rewake.protocol import messages as m
from rewake.protocol.codec import VERSION_MAX, decode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import Completion, Failure, MessageType
from rewake.telemetry import agents, trace_ids
from rewake.telemetry.agents import Attributes

STEPS_MAX: Final = 10_000
"""Steps of one invocation that become spans; the rest is told by a count."""

TEXT_CHARS_MAX: Final = 1_000

_TIMED: Final = frozenset(
    {
        MessageType.RUN,
        MessageType.CALL,
        MessageType.ONE_WAY_CALL,
        MessageType.SLEEP,
        MessageType.GET_PROMISE,
        MessageType.ATTACH_INVOCATION,
    }
)
_FIRST_NOTIFICATION: Final = 0x8000


@dataclass(slots=True)
class SpanEvent:
    """Something that happened at one moment of a span."""

    name: str
    at_ms: int
    attributes: Attributes


@dataclass(slots=True)
class Span:
    """One span, ids in hexadecimal. kind: server, client, producer or internal. error: None when it went well."""

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


def spans_of(
    invocation: Invocation,
    journal: Sequence[EntryRow],
    events: Sequence[EventRow],
    declared_model: Callable[[str], str | None] = lambda agent: None,
) -> list[Span]:
    """The invocation's own span first. journal: may be empty when it has been forgotten already.

    declared_model: of an agent whose framework journals none.
    """
    own = _own_span(invocation, events)
    steps = _Steps(invocation, journal, own, declared_model)
    return [own, *steps.agent_spans, *steps.spans]


def _own_span(invocation: Invocation, events: Sequence[EventRow]) -> Span:
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
        "rewake.failed_attempts": sum(event.event_type == "TransientError" for event in events),
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
    """Time in the queue of the key, and until a delayed call was due."""
    return max((invocation.running_at_ms or 0) - invocation.created_at_ms, 0)


def _parent_id(invocation: Invocation, from_outside: str | None) -> str | None:
    if invocation.invoked_by is InvokedBy.SERVICE and invocation.invoked_by_id is not None:
        return trace_ids.call_span_id(invocation.invoked_by_id, invocation.id)
    return from_outside


def _failure_event(event: EventRow) -> SpanEvent:
    try:
        told = msgspec.json.decode(event.data)
    except msgspec.DecodeError:
        told = {}
    facts = {
        "exception.type": told.get("restate_doc_error_code"),
        "exception.message": _cut(str(told.get("error_message") or "")),
        "exception.stacktrace": _cut(str(told.get("error_stacktrace") or "")) or None,
        "restate.step": told.get("related_command_name") or None,
    }
    name = "exception" if event.event_type == "TransientError" else event.event_type.lower()
    return SpanEvent(name, event.appended_at_ms, {key: str(value) for key, value in facts.items() if value})


class _Steps:
    """Walks a journal once: commands with their completions, and the agents whose work they are."""

    def __init__(
        self,
        invocation: Invocation,
        journal: Sequence[EntryRow],
        own: Span,
        declared_model: Callable[[str], str | None],
    ) -> None:
        self._declared_model = declared_model
        self.spans: list[Span] = []
        self.agent_spans: list[Span] = []
        self._invocation = invocation
        self._own = own
        self._completed = {row.completion_id: row for row in journal if _is_completion(row)}
        self._agent = invocation.target.service
        self._parent = own
        self._tools: list[Any] = []
        self._called: set[bytes] = set()
        timed = [row for row in journal if row.type_id in _TIMED]
        for row in timed[:STEPS_MAX]:
            self._add(row)
        if len(timed) > STEPS_MAX:
            own.attributes["rewake.steps_left_out"] = len(timed) - STEPS_MAX

    def _add(self, row: EntryRow) -> None:
        command = _decoded(row)
        if command is None:
            return
        completion = self._completed.get(getattr(command, "result_completion_id", row.completion_id))
        if isinstance(command, m.OneWayCallCommand):
            completion = None
        span = self._span(row, command, completion)
        self.spans.append(span)
        if row.type_id == MessageType.RUN and completion is not None:
            self._tell_of_agents(span, row, completion)

    def _span(self, row: EntryRow, command: Any, completion: EntryRow | None) -> Span:
        end_ms = self._own.end_ms if completion is None else completion.appended_at_ms
        is_send = isinstance(command, m.OneWayCallCommand)
        attributes: Attributes = {"restate.entry.index": row.index}
        span_id = trace_ids.step_span_id(self._invocation.id, row.index)
        if isinstance(command, m.CallCommand | m.OneWayCallCommand):
            child = self._child_of(command)
            if child is not None and child not in self._called:
                self._called.add(child)
                span_id = trace_ids.call_span_id(self._invocation.id, child)
            if child is not None:
                attributes["restate.callee.id"] = invocation_id_to_str(child)
        return Span(
            trace_id=self._own.trace_id,
            span_id=span_id,
            parent_id=self._parent.span_id,
            name=_name_of(command),
            kind="producer" if is_send else "client" if isinstance(command, m.CallCommand) else "internal",
            start_ms=row.appended_at_ms,
            end_ms=row.appended_at_ms if is_send else max(end_ms, row.appended_at_ms),
            attributes=attributes,
            error=_error_of(completion),
        )

    def _child_of(self, command: m.CallCommand | m.OneWayCallCommand) -> bytes | None:
        told = self._completed.get(command.invocation_id_completion_id)
        return told.child if told is not None else None

    # Agents

    def _tell_of_agents(self, span: Span, row: EntryRow, completion: EntryRow) -> None:
        reply = agents.reply_in_completion(completion.payload)
        if reply is None:
            tool = next((call for call in self._tools if agents.is_step_of(call, span.name)), None)
            if tool is not None:
                self._tools.remove(tool)
                span.attributes |= agents.tool_attributes(tool.name, tool.call_id, self._agent)
                span.name = f"execute_tool {tool.name}"
            return
        if not self.agent_spans and self._parent is self._own:
            self._own.attributes |= agents.agent_attributes(self._agent)
        model = reply.model or self._declared_model(self._agent)
        span.name = f"chat {model}" if model else f"chat ({span.name})"
        span.kind = "client"
        span.attributes |= agents.model_attributes(reply, self._agent, model)
        self._tools = list(reply.calls)
        taker = next((agent for call in reply.calls if (agent := handoff_target(call))), None)
        if taker is not None:
            self._hand_over(taker, span, row.index, completion.appended_at_ms)

    def _hand_over(self, agent: str, span: Span, index: int, at_ms: int) -> None:
        """From here on the steps are the other agent's, until it hands over in turn."""
        span.attributes["rewake.handoff.from"] = self._agent
        span.attributes["rewake.handoff.to"] = agent
        if self._parent is not self._own:
            self._parent.end_ms = at_ms
        self._agent = agent
        self._parent = Span(
            trace_id=self._own.trace_id,
            span_id=trace_ids.agent_span_id(self._invocation.id, index),
            parent_id=self._own.span_id,
            name=f"invoke_agent {agent}",
            kind="internal",
            start_ms=at_ms,
            end_ms=max(self._own.end_ms, at_ms),
            attributes=agents.agent_attributes(agent),
        )
        self.agent_spans.append(self._parent)


def _is_completion(row: EntryRow) -> bool:
    return row.type_id >= _FIRST_NOTIFICATION and row.completion_id is not None


def _decoded(row: EntryRow) -> Any:
    try:
        return decode_message(row.type_id, row.payload, VERSION_MAX)
    except ProtocolViolation:
        return None


def _name_of(command: Any) -> str:
    """The entry's own name, else what it is about."""
    if isinstance(command, m.CallCommand):
        return f"call {command.service_name}/{command.handler_name}"
    if isinstance(command, m.OneWayCallCommand):
        return f"send {command.service_name}/{command.handler_name}"
    if isinstance(command, m.GetPromiseCommand):
        return f"promise {command.key}"
    kind = "sleep" if isinstance(command, m.SleepCommand) else "run" if isinstance(command, m.RunCommand) else "attach"
    return _cut(command.name) or kind


def _error_of(completion: EntryRow | None) -> str | None:
    if completion is None or not completion.is_failure:
        return None
    message = _decoded(completion)
    result = message.result if isinstance(message, Completion) else None
    return _cut(result.message) if isinstance(result, Failure) else None


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 1] + "\N{HORIZONTAL ELLIPSIS}"
