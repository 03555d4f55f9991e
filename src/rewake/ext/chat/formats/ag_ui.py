"""AG-UI 1.0: what `@ag-ui/client` and the front ends on it read.

One run of AG-UI is one response of ours: it ends where the turn waits for people, with an interrupt for each, and the
next run goes on. The protocol has no way to take back a message, so a void attempt sends all messages anew. Source: the
models of `ag-ui-protocol` 1.0.0, which the tests read our events with.
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

    before: messages of the turns before, for snapshots.   is_new: the turn begins with this run; else a client may have
    some of it, and gets all messages anew.
    """

    def __init__(self, thread_id: str, run_id: str, before: Sequence[Message] = (), *, is_new: bool = True) -> None:
        self._ids = {"threadId": thread_id, "runId": run_id}
        self._before, self._is_new = list(before), is_new
        self._turn: dict[str, Any] = {}
        self._step: str | None = None
        self._open: str | None = None
        self._writing: dict[str, bool] = {}
        """Calls whose arguments are open, and whether some were sent."""

    def events(self, event: ChatEvent, turn: dict[str, Any]) -> Iterator[Event]:
        """The events of one event. turn: its record, for snapshots."""
        self._turn = turn
        match event:
            case TurnStarted(is_rest=is_rest):
                yield {"type": "RUN_STARTED", **self._ids, "protocolVersion": PROTOCOL_VERSION}
                if not is_rest and not self._is_new:
                    yield self._snapshot([])
                yield {"type": "STATE_SNAPSHOT", "snapshot": {"agent": None, "status": "running"}}
            case StepStarted(agent=agent):
                yield from self._close()
                self._step = agent or "agent"
                yield {"type": "STEP_STARTED", "stepName": self._step}
                yield {"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/agent", "value": agent}]}
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
        messages = [*self._before, *messages_of({**self._turn, "steps": steps})]
        return {"type": "MESSAGES_SNAPSHOT", "messages": messages}

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
            case ToolStarted(call=call, tool=tool, step=step):
                self._writing[call] = False
                yield {"type": "TOOL_CALL_START", "toolCallId": call, "toolCallName": tool} | {
                    "parentMessageId": _calls_id(self._turn["id"], step)
                }
            case ToolInputDelta(call=call, text=text):
                self._writing[call] = True
                yield {"type": "TOOL_CALL_ARGS", "toolCallId": call, "delta": text}
            case ToolCalled(call=call, input=given):
                if not self._writing.pop(call, True):
                    yield {"type": "TOOL_CALL_ARGS", "toolCallId": call, "delta": _text_of(given)}
                yield {"type": "TOOL_CALL_END", "toolCallId": call}
            case ToolProgress(call=call, output=output):
                yield {"type": "ACTIVITY_SNAPSHOT", "messageId": f"progress-{call}", "activityType": "agent"} | {
                    "content": output,
                    "replace": True,
                }
            case ToolReturned(call=call, output=output):
                yield {"type": "TOOL_CALL_RESULT", "messageId": f"result-{call}", "toolCallId": call} | {
                    "content": _text_of(output),
                    "role": "tool",
                }
            case HandedOver(agent=agent):
                yield {"type": "CUSTOM", "name": "handoff", "value": {"agent": agent}}
            case ApprovalAnswered(id=id, call=call, outcome=outcome, reason=reason):
                value = {"interruptId": id, "toolCallId": call, "outcome": outcome, "reason": reason}
                yield {"type": "CUSTOM", "name": "approval", "value": value}
                if outcome != "approved":
                    content = reason or f"The call was {'denied' if outcome == 'denied' else 'not answered in time'}."
                    yield {"type": "TOOL_CALL_RESULT", "messageId": f"result-{call}", "toolCallId": call} | {
                        "content": content,
                        "role": "tool",
                    }

    def _end(self, event: TurnWaiting | TurnEnded) -> Iterator[Event]:
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

    def _close(self) -> Iterator[Event]:
        """End what a client would wait for."""
        if self._open is not None:
            name, self._open = self._open, None
            yield {"type": "TEXT_MESSAGE_END", "messageId": name}
        for call in list(self._writing):
            del self._writing[call]
            yield {"type": "TOOL_CALL_END", "toolCallId": call}
        if self._step is not None:
            name, self._step = self._step, None
            yield {"type": "STEP_FINISHED", "stepName": name}


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
    if asked.expires_at_ms is not None:
        found["expiresAt"] = datetime.fromtimestamp(asked.expires_at_ms / 1000, tz=UTC).isoformat()
    return found


def answers_of(resume: Any) -> dict[str, tuple[bool, str | None]]:
    """Answers to interrupts: by id, whether approved, and why. One that was cancelled is a denial."""
    found = {}
    for entry in resume if isinstance(resume, list) else []:
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
        if part["type"] in ("text", "reasoning"):
            role = "assistant" if part["type"] == "text" else "reasoning"
            yield {"id": _text_id(turn, number, place), "role": role, "content": part.get("text", "")}
    if calls:
        yield {"id": _calls_id(turn, number), "role": "assistant", "toolCalls": [_tool_call(part) for part in calls]}
    for part in calls:
        if "output" in part:
            content = _text_of(part["output"])
            yield {"id": f"result-{part['call']}", "role": "tool", "toolCallId": part["call"], "content": content}


def _tool_call(part: dict[str, Any]) -> Event:
    function = {"name": part["tool"], "arguments": _text_of(part.get("input"))}
    return {"id": part["call"], "type": "function", "function": function}


def _text_id(turn: str, step: int, part: int) -> str:
    return f"answer-{turn}.{step}.{part}"


def _calls_id(turn: str, step: int) -> str:
    return f"answer-{turn}.{step}.calls"


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
