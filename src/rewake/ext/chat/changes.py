"""The events that lead from the steps that a reader has to the newest steps.

All changes of a live answer are made here: more text, a call's result, a void attempt, and deltas that were lost and
come with the journal's value. A reader who applies the events has the newest steps.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Final, Literal

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
)

Part = dict[str, Any]
Step = dict[str, Any]

_TEXTS: Final = ("text", "reasoning")
_ANSWERS: Final[dict[str, Literal["approved", "denied", "expired"]]] = {
    "approved": "approved",
    "returned": "approved",
    "denied": "denied",
    "expired": "expired",
}


class Received:
    """The steps that a reader has received. steps: the reader's at the beginning."""

    def __init__(self, steps: list[Step] | None = None) -> None:
        self.steps: list[Step] = []
        for _ in self.go_on_to(copy.deepcopy(steps or [])):
            pass

    def go_on_to(self, target: list[Step]) -> Iterator[ChatEvent]:
        """The events that lead to these steps."""
        if len(self.steps) > len(target) or not all(map(_goes_on, self.steps, target)):
            yield from self._reset(target)
        for number, step in enumerate(target):
            if number == len(self.steps):
                yield self._begin(number, step)
            yield from self._step(number, step)

    def _begin(self, number: int, step: Step) -> ChatEvent:
        self.steps.append({"agent": step.get("agent"), "parts": []})
        first: Part = next(iter(step["parts"]), {})
        if first.get("type") == "steering":
            self.steps[-1]["parts"].append(dict(first))
            return Steered(number, first["id"], first["text"])
        return StepStarted(number, step.get("agent"), first.get("within"))

    def _reset(self, target: list[Step]) -> Iterator[ChatEvent]:
        """Take back the first step that does not continue, and all after it."""
        pairs = zip(self.steps, target, strict=False)
        kept = next((number for number, pair in enumerate(pairs) if not _goes_on(*pair)), len(target))
        is_last = kept >= len(self.steps) - 1
        self.steps[kept:] = []
        yield StepReset(kept, is_last, copy.deepcopy(self.steps))

    def _step(self, number: int, step: Step) -> Iterator[ChatEvent]:
        said: list[Part] = self.steps[number]["parts"]
        parts: list[Part] = step["parts"]
        for place, part in enumerate(parts):
            is_over = bool(step.get("is_done")) or place < len(parts) - 1
            is_new = place == len(said)
            if is_new:
                said.append({"type": part["type"]})
            if part["type"] in _TEXTS:
                yield from _text(number, place, said[place], part, is_over=is_over)
            elif part["type"] == "tool":
                yield from _tool(number, said[place], part)
            elif is_new:
                said[place] = dict(part)
                yield HandedOver(number, place, part["agent"])


def _text(step: int, place: int, said: Part, part: Part, *, is_over: bool) -> Iterator[ChatEvent]:
    kind = part["type"]
    if "text" not in said:
        said["text"] = ""
        yield TextStarted(step, place, kind)
    if len(part["text"]) > len(said["text"]):
        yield TextDelta(step, place, part["text"][len(said["text"]) :], kind)
        said["text"] = part["text"]
    if is_over and not said.get("is_done"):
        said["is_done"] = True
        yield TextEnded(step, place, kind)


def _tool(step: int, said: Part, part: Part) -> Iterator[ChatEvent]:
    call, tool, state = part["call"], part["tool"], part["state"]
    if "call" not in said:
        said |= {"call": call, "tool": tool, "state": "writing", "written": ""}
        yield ToolStarted(step, call, tool, part.get("agent"), part.get("within"))
    if said["state"] == "writing" and len(written := part.get("written", "")) > len(said["written"]):
        yield ToolInputDelta(call, written[len(said["written"]) :])
        said["written"] = written
    if said["state"] == "writing" and state != "writing":
        said |= {"state": "called", "input": part.get("input"), "agent": part.get("agent")}
        yield ToolCalled(step, call, tool, part.get("input"))
    progress = part.get("progress")
    if progress is not None and said.get("progress") != progress and "output" not in said and state != "returned":
        said["progress"] = dict(progress)
        yield ToolProgress(call, said["progress"])
    yield from _approval(step, said, part)
    if "output" in part and "output" not in said:
        said["output"] = part["output"]
        yield ToolReturned(call, part["output"])
    said["state"] = state


def _approval(step: int, said: Part, part: Part) -> Iterator[ChatEvent]:
    approval = part.get("approval")
    if approval is None:
        return
    if "approval" not in said:
        said["approval"] = approval["id"]
        yield asked(step, part)
    outcome = _ANSWERS.get(part["state"])
    if outcome is not None and "outcome" not in said:
        said["outcome"] = outcome
        within, agent = part.get("within"), part.get("agent")
        yield ApprovalAnswered(approval["id"], part["call"], outcome, approval.get("reason"), agent, within)


def asked(step: int, part: Part) -> ApprovalAsked:
    """The question that a call's part has."""
    approval = part["approval"]
    return ApprovalAsked(
        approval["id"],
        step,
        part["call"],
        part["tool"],
        part.get("input"),
        part.get("agent"),
        approval.get("expires_at_ms"),
        part.get("within"),
    )


def _goes_on(said: Step, target: Step) -> bool:
    """Whether the new step only continues the old one, so that nothing is taken back."""
    parts: list[Part] = target["parts"]
    if len(said["parts"]) > len(parts) or said.get("agent") != target.get("agent"):
        return False
    return all(map(_part_goes_on, said["parts"], parts))


def _part_goes_on(said: Part, part: Part) -> bool:
    if said["type"] != part["type"]:
        return False
    if said["type"] in _TEXTS:
        has_ended = said.get("is_done", False)
        text, before = part["text"], said.get("text", "")
        return bool(text == before if has_ended else text.startswith(before))
    if said["type"] == "tool":
        # Results of agents that were called as tools are in the record of a turn alone: a stream may not know them yet.
        is_same = "output" not in said or "output" not in part or said["output"] == part["output"]
        return bool(said["call"] == part["call"]) and is_same
    return bool(said == part)
