"""AG-UI 1.0: the format of `@ag-ui/client` and the front ends on it.

One run of AG-UI is one response of ours. It ends when the turn waits for people, with an interrupt for each question;
the next run continues. The protocol cannot take back a message, so after a void attempt all messages are sent again. An
agent that is called as a tool is a subagent: its words are shown as activity, and its calls that ask people are its
own. Source: the models of `ag-ui-protocol` 1.0.0, with which the tests read our events.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rewake.ext.chat.events import (
    ApprovalAnswered,
    ApprovalAsked,
    ChatEvent,
    HandedOver,
    Steered,
    StepReset,
    StepStarted,
    TextDelta,
    TextEnded,
    TextStarted,
    ToolCalled,
    ToolInputDelta,
    ToolProgress,
    ToolReturned,
    ToolStarted,
    TurnEnded,
    TurnStarted,
    TurnWaiting,
)

Message = dict[str, Any]
Event = dict[str, Any]

PROTOCOL_VERSION: Final = "1.0"
_RESPONSE: Final = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string"}},
    "required": ["approved"],
}


class AgUiRun:
    """Events of one run.

    before: messages of earlier turns, for snapshots.   is_new: the turn begins with this run; otherwise a client may
    have a part of it, and gets all messages again.   known: steps of the turn before this run.
    """

    def __init__(
        self,
        thread_id: str,
        run_id: str,
        before: Sequence[Message] = (),
        *,
        is_new: bool = True,
        known: Sequence[Any] = (),
    ) -> None:
        self._ids = {"threadId": thread_id, "runId": run_id}
        self._before, self._is_new, self._known = list(before), is_new, list(known)
        self._turn: dict[str, Any] = {}
        self._step: Event | None = None
        self._open: str | None = None
        self._writing: dict[str, bool] = {}
        """Calls whose arguments are open, and whether some were sent."""
        self._subagents = Subagents()
        self._within: dict[str, str | None] = {}
        """Calls of this run, and the call that asked their agent where that is a subagent."""

    def events(self, event: ChatEvent, turn: dict[str, Any]) -> Iterator[Event]:
        """The events of one event. turn: its record, for snapshots."""
        self._turn = turn
        match event:
            case TurnStarted(is_rest=is_rest):
                yield {"type": "RUN_STARTED", **self._ids, "protocolVersion": PROTOCOL_VERSION}
                if not is_rest and not self._is_new:
                    yield self._snapshot(self._known)
                yield {"type": "STATE_SNAPSHOT", "snapshot": {"agent": None, "status": "running"}}
            case StepStarted(agent=agent, within=within):
                yield from self._close()
                yield from self._subagents.start(within, agent) if within else self._subagents.finish_all()
                self._step = {"stepName": agent or "agent"} | self._subagents.mark(within)
                yield {"type": "STEP_STARTED", **self._step}
                yield {"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/agent", "value": agent}]}
            case Steered(id=id, text=text):
                yield from self._close()
                yield {"type": "TEXT_MESSAGE_START", "messageId": id, "role": "user"}
                yield {"type": "TEXT_MESSAGE_CONTENT", "messageId": id, "delta": text}
                yield {"type": "TEXT_MESSAGE_END", "messageId": id}
            case StepReset(steps=steps):
                yield from self._close()
                yield self._snapshot(steps)
            case TurnWaiting() | TurnEnded():
                yield from self._close()
                yield from self._end(event)
            case TextStarted() | TextDelta() | TextEnded():
                yield from self._text(event)
            case _:
                yield from self._tool(event)

    def _snapshot(self, steps: list[Any]) -> Event:
        own = messages_of({**self._turn, "steps": steps})
        known = {message["id"] for message in own}  # the turn is one of those before where it took the message later
        before = [message for message in self._before if message["id"] not in known]
        return {"type": "MESSAGES_SNAPSHOT", "messages": [*before, *own]}

    def _text(self, event: TextStarted | TextDelta | TextEnded) -> Iterator[Event]:
        name = _text_id(self._turn["id"], event.step, event.part)
        thinks = event.kind == "reasoning"
        kind = "REASONING_MESSAGE" if thinks else "TEXT_MESSAGE"
        match event:
            case TextStarted():
                self._open = name
                if thinks:
                    yield {"type": "REASONING_START", "messageId": name}
                yield {"type": f"{kind}_START", "messageId": name, "role": "reasoning" if thinks else "assistant"}
            case TextDelta(text=text):
                yield {"type": f"{kind}_CONTENT", "messageId": name, "delta": text}
            case TextEnded():
                self._open = None
                yield {"type": f"{kind}_END", "messageId": name}
                if thinks:
                    yield {"type": "REASONING_END", "messageId": name}

    def _tool(self, event: ChatEvent) -> Iterator[Event]:
        match event:
            case ToolStarted(call=call, tool=tool, step=step, within=within):
                self._writing[call] = False
                self._within[call] = within
                parent = {"parentMessageId": _calls_id(self._turn["id"], step)}
                opener = {"type": "TOOL_CALL_START", "toolCallId": call, "toolCallName": tool}
                yield opener | parent | self._subagents.mark(within)
            case ToolInputDelta(call=call, text=text):
                self._writing[call] = True
                yield {"type": "TOOL_CALL_ARGS", "toolCallId": call, "delta": text} | self._mark(call)
            case ToolCalled(call=call, input=given):
                if not self._writing.pop(call, True):
                    yield {"type": "TOOL_CALL_ARGS", "toolCallId": call, "delta": _text_of(given)} | self._mark(call)
                yield {"type": "TOOL_CALL_END", "toolCallId": call} | self._mark(call)
            case ToolProgress(call=call, output=output):
                yield from self._subagents.start(call, output.get("agent"))
                activity = {"messageId": f"progress-{call}", "activityType": "agent", "content": output}
                yield {"type": "ACTIVITY_SNAPSHOT", "replace": True} | activity | self._subagents.mark(call)
            case ToolReturned(call=call, output=output):
                if self._step is not None and self._step.get("subagentRunId") == _subagent_id(call):
                    yield from self._close()
                yield from self._subagents.finish(call)
                yield self._result(call, _text_of(output))
            case HandedOver(agent=agent):
                yield {"type": "CUSTOM", "name": "handoff", "value": {"agent": agent}}
            case ApprovalAnswered(id=id, call=call, outcome=outcome, reason=reason, agent=agent, within=within):
                self._within[call] = within
                yield from self._subagents.start(within, agent)
                value = {"interruptId": id, "toolCallId": call, "outcome": outcome, "reason": reason}
                yield {"type": "CUSTOM", "name": "approval", "value": value}
                if outcome != "approved":
                    content = reason or f"The call was {'denied' if outcome == 'denied' else 'not answered in time'}."
                    yield self._result(call, content)

    def _result(self, call: str, content: str) -> Event:
        found = {"messageId": f"result-{call}", "toolCallId": call, "content": content, "role": "tool"}
        return {"type": "TOOL_CALL_RESULT"} | found | self._mark(call)

    def _mark(self, call: str) -> Event:
        return self._subagents.mark(self._within.get(call))

    def _end(self, event: TurnWaiting | TurnEnded) -> Iterator[Event]:
        yield from self._end_subagents(event)
        if isinstance(event, TurnEnded) and event.outcome == "failed":
            yield {"type": "RUN_ERROR", "message": event.error or "The turn failed."}
            return
        status = "waiting" if isinstance(event, TurnWaiting) else event.outcome
        yield {"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/status", "value": status}]}
        outcome: Event
        if isinstance(event, TurnWaiting):
            outcome = {"type": "interrupt", "interrupts": [interrupt(asked) for asked in event.approvals]}
        else:
            outcome = {"type": "success" if event.outcome == "ended" else "cancelled"}
        yield {"type": "RUN_FINISHED", **self._ids, "outcome": outcome}

    def _end_subagents(self, event: TurnWaiting | TurnEnded) -> Iterator[Event]:
        match event:
            case TurnWaiting(approvals=approvals):
                yield from self._subagents.suspend(approvals)
            case TurnEnded(outcome="ended"):
                yield from self._subagents.finish_all()
            case _:
                yield from self._subagents.fail(event.error or f"The turn has {event.outcome}.")

    def _close(self) -> Iterator[Event]:
        """End all that the client still waits for."""
        if self._open is not None:
            name, self._open = self._open, None
            yield {"type": "TEXT_MESSAGE_END", "messageId": name}
        for call in list(self._writing):
            del self._writing[call]
            yield {"type": "TOOL_CALL_END", "toolCallId": call} | self._mark(call)
        if self._step is not None:
            step, self._step = self._step, None
            yield {"type": "STEP_FINISHED", **step}


class Subagents:
    """Agents that were called as tools in one run, each by the call that asked it."""

    def __init__(self) -> None:
        self._active: set[str] = set()
        self._over: set[str] = set()

    def start(self, call: str | None, agent: str | None) -> Iterator[Event]:
        """The agent of a call has started. A run may announce each agent once."""
        if call is not None and call not in self._active | self._over:
            self._active.add(call)
            yield {"type": "SUBAGENT_STARTED", "name": agent or "agent", "parentToolCallId": call} | self.mark(call)

    def mark(self, call: str | None) -> Event:
        """What an event has that is the work of the agent behind a call."""
        return {"subagentRunId": _subagent_id(call)} if call in self._active and call is not None else {}

    def finish(self, call: str) -> Iterator[Event]:
        """The call has its result."""
        if call in self._active:
            yield self._ended(call, {"type": "SUBAGENT_FINISHED", "outcome": {"type": "success"}})

    def finish_all(self) -> Iterator[Event]:
        """The agent that asked them speaks again, so all have answered."""
        for call in sorted(self._active):
            yield from self.finish(call)

    def suspend(self, asked: Sequence[ApprovalAsked]) -> Iterator[Event]:
        """The run ends with questions to people; the next one continues."""
        for call in sorted(self._active):
            outcome = {"type": "suspended", "interruptIds": [each.id for each in asked if each.within == call]}
            yield self._ended(call, {"type": "SUBAGENT_FINISHED", "outcome": outcome})

    def fail(self, message: str) -> Iterator[Event]:
        """The turn is over without them."""
        for call in sorted(self._active):
            yield self._ended(call, {"type": "SUBAGENT_ERROR", "message": message})

    def _ended(self, call: str, event: Event) -> Event:
        event |= self.mark(call)
        self._active.discard(call)
        self._over.add(call)
        return event


def interrupt(asked: ApprovalAsked) -> Event:
    """An open approval, as the next run's `resume` answers it."""
    found = {
        "id": asked.id,
        "reason": "tool_approval",
        "message": f"{asked.agent or 'An agent'} asks to call {asked.tool}.",
        "toolCallId": asked.call,
        "responseSchema": _RESPONSE,
        "metadata": {"tool": asked.tool, "input": asked.input, "agent": asked.agent},
    }
    if asked.within is not None:
        found["subagentRunId"] = _subagent_id(asked.within)
    if asked.expires_at_ms is not None:
        found["expiresAt"] = datetime.fromtimestamp(asked.expires_at_ms / 1000, tz=UTC).isoformat()
    return found


def answers_of(resume: Any) -> dict[str, tuple[bool, str | None]]:
    """Answers to interrupts: by id, whether approved, and why. One that was cancelled is a denial."""
    found = {}
    for entry in resume if isinstance(resume, list) else []:
        if not isinstance(entry, dict):
            continue
        payload = entry.get("payload")
        is_approved = payload.get("approved") is True if isinstance(payload, dict) else payload is True
        reason = payload.get("reason") if isinstance(payload, dict) else None
        found[str(entry.get("interruptId"))] = (is_approved and entry.get("status") == "resolved", reason)
    return found


def messages_of(turn: dict[str, Any]) -> list[Message]:
    """The messages of a turn's record, the user's first."""
    messages: list[Message] = [{"id": turn["id"], "role": "user", "content": turn["text"]}]
    for number, step in enumerate(turn["steps"]):
        messages += _of_step(turn["id"], number, step)
    return messages


def _of_step(turn: str, number: int, step: dict[str, Any]) -> Iterator[Message]:
    calls = [part for part in step["parts"] if part["type"] == "tool"]
    for place, part in enumerate(step["parts"]):
        if part["type"] == "steering":
            yield {"id": part["id"], "role": "user", "content": part["text"]}
        elif part["type"] in ("text", "reasoning"):
            role = "assistant" if part["type"] == "text" else "reasoning"
            yield {"id": _text_id(turn, number, place), "role": role, "content": part.get("text", "")}
    within = next((part["within"] for part in calls if "within" in part), None)
    mark = {} if within is None else {"subagentRunId": _subagent_id(within)}
    if calls:
        made = [_tool_call(part) for part in calls]
        yield {"id": _calls_id(turn, number), "role": "assistant", "toolCalls": made} | mark
    for part in calls:
        if "output" in part:
            content = _text_of(part["output"])
            yield {
                "id": f"result-{part['call']}",
                "role": "tool",
                "toolCallId": part["call"],
                "content": content,
            } | mark


def _tool_call(part: dict[str, Any]) -> Event:
    function = {"name": part["tool"], "arguments": _text_of(part.get("input"))}
    return {"id": part["call"], "type": "function", "function": function}


def _subagent_id(call: str) -> str:
    return f"agent-{call}"


def _text_id(turn: str, step: int, part: int) -> str:
    return f"answer-{turn}.{step}.{part}"


def _calls_id(turn: str, step: int) -> str:
    return f"answer-{turn}.{step}.calls"


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
