r"""The steps of a turn from the events of its run's stream, as they happen: docs/reference/streams.md has the events.

The words of a step are a draft until the step is stored; then the journal's envelope takes its place. Drafts of a
failed try are forgotten. Beside text, adapters send:

    {"type": "path", "path": ["Desk", "Bank"], "calls": ["call_1"]}    first, if the name of the step does not show it
    {"type": "reasoning", "text": "..."}
    {"type": "tool_input", "call": "call_1", "tool": "refund", "text": "{\"amo"}
"""

from __future__ import annotations

import copy
from typing import Any

from rewake.ext.chat.transcript import Step, Transcript

Event = dict[str, Any]


class LiveTurn:
    """Applies events to a transcript, of the turn so far. offset: of the last event.   has_ended: nothing follows."""

    def __init__(self, before: list[Step] | None = None) -> None:
        """before: the steps of earlier invocations of the turn."""
        self._before = before or []
        self.transcript = self._begun()
        self.has_ended = False
        self.offset = 0
        self._drafts: dict[int, _Draft] = {}

    @property
    def is_at_work(self) -> bool:
        """Whether a step is speaking."""
        return any(draft.step["parts"] for draft in self._drafts.values())

    def apply(self, event: Event) -> None:
        """Apply one event of the stream; unknown ones are skipped."""
        self.offset = max(self.offset, event.get("offset", 0))
        match event.get("type"):
            case "step_started":
                draft = self._drafts.setdefault(event["step"], _Draft(event.get("agent")))
                draft.step["agent"] = event.get("agent") or draft.step["agent"]
            case "delta":
                self._say(event)
            case "void" if event.get("from_offset") == 0:
                self.transcript, self._drafts = self._begun(), {}
            case "void":
                for step in event.get("steps") or ():
                    if (voided := self._drafts.get(step)) is not None:
                        self.transcript.forget(voided.step)
            case "step_committed":
                self._commit(event)
            case "ended":
                self.has_ended = True

    def _begun(self) -> Transcript:
        return Transcript(copy.deepcopy(self._before))

    def _say(self, event: Event) -> None:
        draft = self._drafts.setdefault(event["step"], _Draft(None))
        data = event.get("data")
        if isinstance(data, dict) and data.get("type") == "path":
            draft.path, draft.calls = list(data.get("path") or ()), list(data.get("calls") or ())
            draft.step["agent"] = draft.path[-1] if draft.path else draft.step["agent"]
            return
        self.transcript.say(draft.path, draft.calls, data, draft.step)

    def _commit(self, event: Event) -> None:
        draft, value = self._drafts.pop(event["step"], None), event.get("value")
        if isinstance(value, dict) and "rewake" in value and "kind" in value:
            self.transcript.settle(None if draft is None else draft.step, value)
        elif draft is not None:
            draft.step["is_done"] = True


class _Draft:
    """The words of a step that is not stored yet."""

    def __init__(self, agent: str | None) -> None:
        self.step: Step = {"agent": agent, "parts": []}
        self.path: list[str] = []
        self.calls: list[str] = []
