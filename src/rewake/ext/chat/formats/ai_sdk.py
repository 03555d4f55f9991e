"""The AI SDK's UI message stream (version 1 of the protocol, `ai` 5 to 7), which `useChat` reads.

A void step is `reset-step`; a call that needs an approval is `tool-approval-request`, after which the response ends, as
`useChat` answers with its next request; a message that agents read in mid-turn is `steering-message`, which `ai` calls
experimental. Source: ui-message-chunks.ts of `ai` 7.0.173, which the tests read our chunks with.
"""

from __future__ import annotations

from collections.abc import Iterator
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

Chunk = dict[str, Any]

HEADERS: Final = {"x-vercel-ai-ui-message-stream": "v1"}
LAST: Final = "[DONE]"


class UiMessageStream:
    """Chunks of one response. agent: who spoke last before it."""

    def __init__(self, agent: str | None = None) -> None:
        self._agent = agent
        self._is_step_open = False
        self._is_reset = False
        self._is_over = False

    def chunks(self, event: ChatEvent) -> Iterator[Chunk]:
        """The chunks of one event."""
        if self._is_over:
            return
        match event:
            case TurnStarted(turn=turn):
                yield {"type": "start", "messageId": message_id(turn)}
            case StepStarted():
                yield from self._step(event)
            case Steered(id=id, text=text):
                yield from self._close_step()
                yield _steering(id, text)
            case StepReset():
                yield from self._reset(event)
            case TurnWaiting() | TurnEnded():
                yield from self._end(event)
            case _:
                yield from _part(event)

    def _step(self, event: StepStarted) -> Iterator[Chunk]:
        if not self._is_reset:
            yield from self._close_step()
            yield {"type": "start-step"}
        self._is_step_open, self._is_reset = True, False
        if event.agent is not None and event.agent != self._agent:
            self._agent = event.agent
            yield {"type": "data-agent", "id": f"agent-{event.step}", "data": {"agent": event.agent}}

    def _reset(self, event: StepReset) -> Iterator[Chunk]:
        if event.is_last:
            yield {"type": "reset-step"}
            self._is_reset, self._agent = True, None
            return
        # The protocol takes back the last step only: a client that reads the stream anew has the whole turn.
        self._is_over = True
        yield {"type": "data-stale", "data": {"step": event.step}, "transient": True}
        yield {"type": "finish", "finishReason": "other"}

    def _end(self, event: TurnWaiting | TurnEnded) -> Iterator[Chunk]:
        if isinstance(event, TurnEnded) and event.outcome == "failed":
            yield {"type": "error", "errorText": event.error or "The turn failed."}
            return
        yield from self._close_step()
        if isinstance(event, TurnWaiting):
            yield {"type": "finish", "finishReason": "tool-calls"}
        elif event.outcome == "stopped":
            yield {"type": "abort", "reason": event.error or "stopped"}
        else:
            yield {"type": "finish", "finishReason": "stop"}

    def _close_step(self) -> Iterator[Chunk]:
        if self._is_step_open:
            self._is_step_open = False
            yield {"type": "finish-step"}


def message_id(turn: str) -> str:
    """The id of the answer to a user's message."""
    return f"answer-{turn}"


def _part(event: ChatEvent) -> Iterator[Chunk]:
    match event:
        case TextStarted(step=step, part=part, kind=kind):
            yield {"type": f"{kind}-start", "id": f"{step}.{part}"}
        case TextDelta(step=step, part=part, text=text, kind=kind):
            yield {"type": f"{kind}-delta", "id": f"{step}.{part}", "delta": text}
        case TextEnded(step=step, part=part, kind=kind):
            yield {"type": f"{kind}-end", "id": f"{step}.{part}"}
        case ToolStarted(call=call, tool=tool):
            yield {"type": "tool-input-start", "toolCallId": call, "toolName": tool, "dynamic": True}
        case ToolInputDelta(call=call, text=text):
            yield {"type": "tool-input-delta", "toolCallId": call, "inputTextDelta": text}
        case ToolCalled(call=call, tool=tool, input=given):
            yield {"type": "tool-input-available", "toolCallId": call, "toolName": tool, "input": given} | {
                "dynamic": True
            }
        case ToolProgress(call=call, output=output):
            yield {"type": "tool-output-available", "toolCallId": call, "output": output, "preliminary": True}
        case ToolReturned(call=call, output=output):
            yield {"type": "tool-output-available", "toolCallId": call, "output": output}
        case HandedOver(step=step, part=part, agent=agent):
            yield {"type": "data-handoff", "id": f"handoff-{step}.{part}", "data": {"agent": agent}}
        case ApprovalAsked(id=id, call=call):
            yield {"type": "tool-approval-request", "approvalId": id, "toolCallId": call} | _descriptor(event)
        case ApprovalAnswered():
            yield from _answer(event)


def _steering(id: str, text: str) -> Chunk:
    """As a chunk and as a part: the form is one."""
    return {"type": "steering-message", "id": id, "parts": [{"type": "text", "text": text}]}


def _descriptor(asked: ApprovalAsked) -> Chunk:
    found = {"agent": asked.agent, "expiresAtMs": asked.expires_at_ms}
    known = {name: value for name, value in found.items() if value is not None}
    return {"approvalDescriptor": known} if known else {}


def _answer(event: ApprovalAnswered) -> Iterator[Chunk]:
    reason = {} if event.reason is None else {"reason": event.reason}
    if event.outcome == "expired":
        reason = {"reason": event.reason or "Nobody answered in time."}
    is_approved = event.outcome == "approved"
    yield {"type": "tool-approval-response", "approvalId": event.id, "approved": is_approved, **reason}
    if not is_approved:
        yield {"type": "tool-output-denied", "toolCallId": event.call}


# Requests and history


def answers_of(message: Chunk) -> dict[str, tuple[bool, str | None]]:
    """Answers to approvals that a message of the assistant holds: by id, whether approved, and why."""
    found = {}
    parts = message.get("parts")
    for part in parts if isinstance(parts, list) else []:
        approval = (
            part.get("approval") if isinstance(part, dict) and part.get("state") == "approval-responded" else None
        )
        if isinstance(approval, dict) and isinstance(approval.get("approved"), bool):
            found[str(approval.get("id"))] = (approval["approved"], approval.get("reason"))
    return found


def ui_messages(turn: dict[str, Any]) -> list[Chunk]:
    """The messages of a turn's record: the user's, and the answer, with its parts as a stream leaves them."""
    user = {"id": turn["id"], "role": "user", "parts": [{"type": "text", "text": turn["text"]}]}
    parts = [part for step in turn["steps"] for part in _step_parts(step)]
    return [user, {"id": message_id(turn["id"]), "role": "assistant", "parts": parts}] if parts else [user]


def _step_parts(step: dict[str, Any]) -> Iterator[Chunk]:
    if step["parts"] and step["parts"][0]["type"] == "steering":
        yield _steering(step["parts"][0]["id"], step["parts"][0]["text"])
        return
    yield {"type": "step-start"}
    for part in step["parts"]:
        if part["type"] in ("text", "reasoning"):
            yield {"type": part["type"], "text": part["text"], "state": "done"}
        elif part["type"] == "handoff":
            yield {"type": "data-handoff", "data": {"agent": part["agent"]}}
        else:
            yield _tool_part(part)


def _tool_part(part: dict[str, Any]) -> Chunk:
    found: Chunk = {"type": "dynamic-tool", "toolCallId": part["call"], "toolName": part["tool"]}
    found["input"] = part.get("input")
    approval: Chunk = part.get("approval") or {}
    if approval:
        found["approval"] = {"id": approval["id"]}
    match part["state"]:
        case "returned":
            found |= {"state": "output-available", "output": part.get("output")}
            if approval:
                found["approval"]["approved"] = True
        case "denied" | "expired" as outcome:
            reason = approval.get("reason") or ("Nobody answered in time." if outcome == "expired" else None)
            found |= {"state": "output-denied", "approval": {"id": approval["id"], "approved": False}}
            found["approval"] |= {} if reason is None else {"reason": reason}
        case "waiting":
            found["state"] = "approval-requested"
        case "approved":
            found |= {"state": "approval-responded", "approval": {"id": approval["id"], "approved": True}}
        case _ if "progress" in part:
            found |= {"state": "output-available", "output": part["progress"], "preliminary": True}
        case _:
            found["state"] = "input-available"
    return found
