"""The words of a turn: steps of agents with their parts, made from the envelopes of the journal.

The same code runs in the handler, which stores the transcript, and in the reader of a live stream, so both agree. A
step contains one answer of a model. Calls of nested agents are shown as progress of the call that asked them; only
those that need a person have a part of their own.

Stored data (in the state of the chat's object):

    step  {"agent": "Router", "parts": [...], "is_done": true}
    part  {"type": "text" | "reasoning", "text": "..."}
          {"type": "handoff", "agent": "Billing"}
          {"type": "steering", "id": "msg_2", "text": "..."}     a user's message, alone in a step without an agent
          {"type": "tool", "call": "call_1", "tool": "refund", "agent": "Billing", "input": {...}, "state": ...,
           "output": ..., "approval": {"id": "sign_1...", "awakeables": [...], "digest": ..., "question": ...,
           "expires_at_ms": ..., "reason": ...}, "within": "call_0"}

`within`: for a call of a nested agent, the call that asked this agent; absent for a call of the turn's own agents.
`state` of a call: writing (its arguments arrive), called, waiting, approved, denied, expired, returned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rewake.ext.chat.answers import parsed, parts_of

Part = dict[str, Any]
Step = dict[str, Any]

OPEN: Final = ("writing", "called", "approved")
_TEXTS: Final = ("text", "reasoning")


class Transcript:
    """The steps of one turn."""

    def __init__(self, steps: list[Step] | None = None) -> None:
        self.steps: list[Step] = steps if steps is not None else []

    @property
    def waiting(self) -> list[Part]:
        """Calls that wait for a person."""
        return [part for part in self.calls() if part["state"] == "waiting"]

    @property
    def text(self) -> str:
        """The agents' words, without their thoughts."""
        return "\n\n".join(
            part["text"] for step in self.steps for part in step["parts"] if part["type"] == "text" and part["text"]
        )

    def calls(self) -> list[Part]:
        """All calls, in order."""
        return [part for step in self.steps for part in step["parts"] if part["type"] == "tool"]

    # Of the journal

    def recorded(self, envelope: Mapping[str, Any]) -> None:
        """A step of an agent is stored. envelope: its JSON, see ext/kernel/envelope.py."""
        kind = envelope.get("kind")
        if kind == "model":
            self._answered_by_model(envelope)
        elif kind in ("tool", "mcp") and envelope.get("call") and not envelope.get("branch"):
            self.returned(envelope["call"], shown_value(envelope.get("value")))
        elif kind == "steering":
            value = envelope.get("value") or {}
            message = {"type": "steering", "id": value.get("id", ""), "text": value.get("text", "")}
            self.steps.append({"agent": None, "parts": [message], "is_done": True})
        elif kind == "approval":
            self._approval(envelope, envelope.get("value") or {})

    def _approval(self, envelope: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        """A question, or its outcome; see ext/kernel/envelope.py."""
        name = value.get("id") or value.get("awakeable", "")
        if "outcome" in value:
            self.answered(name, value["outcome"], value.get("why"))
            return
        self.asked(
            name,
            call=envelope.get("call") or name,
            tool=envelope.get("tool") or value.get("question") or "?",
            agent=envelope.get("agent"),
            arguments=value.get("arguments"),
            expires_at_ms=value.get("deadline_at_ms"),
            within=next(iter(envelope.get("calls") or ()), None),
        )
        if (part := self.call(envelope.get("call") or name)) is not None:
            found = {name: value[name] for name in ("awakeables", "digest", "question") if value.get(name)}
            part["approval"] |= found

    def returned(self, call: str, output: Any) -> None:
        """A call has its result."""
        if (part := self.call(call)) is not None:
            is_refusal = part["state"] in ("denied", "expired")
            part["output"] = output
            part["state"] = part["state"] if is_refusal else "returned"

    def asked(
        self,
        id: str,
        *,
        call: str,
        tool: str,
        agent: str | None = None,
        arguments: Any = None,
        expires_at_ms: int | None = None,
        within: str | None = None,
    ) -> None:
        """A call waits for a person. within: the call that asked its agent, if that is nested."""
        part = self.call(call)
        if part is None:
            part = {"type": "tool", "call": call, "tool": tool, "agent": agent, "input": parsed(arguments)}
            part |= {} if within is None else {"within": within}
            self.steps.append({"agent": agent, "parts": [part], "is_done": True})
        part["state"] = "waiting"
        part["approval"] = {"id": id} | ({} if expires_at_ms is None else {"expires_at_ms": expires_at_ms})

    def answered(self, id: str, outcome: str, reason: str | None = None) -> None:
        """A question was decided: approved, denied, or expired because nobody answered in time."""
        for part in self.calls():
            if part.get("approval", {}).get("id") == id and part["state"] == "waiting":
                part["state"] = outcome
                if reason:
                    part["approval"]["reason"] = reason

    def conclude(self, answer: str) -> None:
        """Add the turn's answer, unless an agent has said exactly that."""
        texts = [part["text"] for step in self.steps for part in step["parts"] if part["type"] == "text"]
        if answer and texts[-1:] != [answer]:
            self.steps.append({"agent": None, "parts": [{"type": "text", "text": answer}], "is_done": True})

    # Live

    def say(self, path: list[str], calls: list[str], delta: Any, drafts: Step) -> None:
        """A delta of a model's step that is not stored yet. drafts: its step, which is in `steps` once it speaks."""
        if len(path) > 1:
            if (part := self.call(calls[0])) is not None and isinstance(delta, str):
                part["progress"] = {"agent": path[-1], "text": drafts.setdefault("text", "") + delta}
                drafts["text"] = part["progress"]["text"]
            return
        if not any(step is drafts for step in self.steps):
            self.steps.append(drafts)
        _write(drafts["parts"], delta, drafts["agent"])

    def forget(self, drafts: Step) -> None:
        """The deltas of this step are void."""
        drafts["parts"], drafts["text"] = [], ""

    def settle(self, drafts: Step | None, envelope: Mapping[str, Any]) -> None:
        """A step is stored: the journal's value takes the place of its deltas."""
        if drafts is not None:
            self.steps = [step for step in self.steps if step is not drafts]
        self.recorded(envelope)

    def call(self, call: str) -> Part | None:
        """The newest part of a call's id."""
        return next((part for part in reversed(self.calls()) if part["call"] == call), None)

    def _answered_by_model(self, envelope: Mapping[str, Any]) -> None:
        path = envelope.get("path") or [envelope.get("agent")]
        parts = parts_of(envelope)
        if len(path) > 1:
            text = "".join(part["text"] for part in parts if part["type"] == "text")
            asker = self.call((envelope.get("calls") or [""])[0])
            if asker is not None and text and asker["state"] in OPEN:
                asker["progress"] = {"agent": path[-1], "text": text}
            return
        self.steps.append({"agent": path[-1], "parts": parts, "is_done": True})


def steered_in(steps: list[Step], message: str) -> int | None:
    """The number of the step in which this message of the user's came; None if in none."""
    return next(
        (
            number
            for number, step in enumerate(steps)
            for part in step["parts"]
            if part["type"] == "steering" and part["id"] == message
        ),
        None,
    )


def _write(parts: list[Part], delta: Any, agent: str | None) -> None:
    """Add a delta of the kernel's form to the parts of a step."""
    if isinstance(delta, str):
        delta = {"type": "text", "text": delta}
    if not isinstance(delta, dict):
        return
    kind, last = delta.get("type"), parts[-1] if parts else None
    if kind in _TEXTS:
        if last is None or last["type"] != kind:
            parts.append(last := {"type": kind, "text": ""})
        last["text"] += str(delta.get("text", ""))
    elif kind == "tool_input":
        part = next((part for part in parts if part.get("call") == delta.get("call")), None)
        if part is None:
            part = {"type": "tool", "call": delta.get("call"), "tool": delta.get("tool") or "?", "agent": agent}
            parts.append(part | {"state": "writing", "written": ""})
            part = parts[-1]
        part["written"] += str(delta.get("text", ""))


def shown_value(value: Any) -> Any:
    """The tool's result, without the fields that the envelope keeps beside it."""
    if isinstance(value, dict) and "$context" in value:
        return value.get("$value")
    if isinstance(value, dict) and value.get("kind") == "tool_return" and "result" in value:
        return value["result"]  # Pydantic AI says what kind of result it is
    return value
