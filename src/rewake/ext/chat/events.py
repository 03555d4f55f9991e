"""The events of a turn of a conversation, in order, for formats of front ends.

A reader that applies them one after the other has the turn's steps as transcript.py knows them. `step` counts the steps
of a turn from 0; a part is named by its step and its place there, a tool call by its id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["ended", "failed", "stopped"]
TextKind = Literal["text", "reasoning"]


@dataclass(frozen=True)
class TurnStarted:
    """A turn, or the rest of one. turn: the id of the user's message.   is_rest: what came before is known already."""

    turn: str
    is_rest: bool = False


@dataclass(frozen=True)
class StepStarted:
    """An agent's turn to speak. within: the call that asked it, if it is a nested agent."""

    step: int
    agent: str | None
    within: str | None = None


@dataclass(frozen=True)
class TextStarted:
    """A text begins."""

    step: int
    part: int
    kind: TextKind = "text"


@dataclass(frozen=True)
class TextDelta:
    """More of a text."""

    step: int
    part: int
    text: str
    kind: TextKind = "text"


@dataclass(frozen=True)
class TextEnded:
    """A text is whole."""

    step: int
    part: int
    kind: TextKind = "text"


@dataclass(frozen=True)
class ToolStarted:
    """The model begins to write a call. within: as of its step."""

    step: int
    call: str
    tool: str
    agent: str | None
    within: str | None = None


@dataclass(frozen=True)
class ToolInputDelta:
    """More of a call's arguments, as JSON text."""

    call: str
    text: str


@dataclass(frozen=True)
class ToolCalled:
    """A call is whole. input: its arguments."""

    step: int
    call: str
    tool: str
    input: Any


@dataclass(frozen=True)
class ToolProgress:
    """The text so far of an agent that was called as a tool."""

    call: str
    output: Any


@dataclass(frozen=True)
class ToolReturned:
    """A call has its result."""

    call: str
    output: Any


@dataclass(frozen=True)
class HandedOver:
    """Another agent takes over."""

    step: int
    part: int
    agent: str


@dataclass(frozen=True)
class Steered:
    """A user's message came, and the agents read it from here on. It is a step without an agent. id: the client's."""

    step: int
    id: str
    text: str


@dataclass(frozen=True)
class ApprovalAsked:
    """A call waits for a person. id: what the answer names.   expires_at_ms: None: never.   within: see StepStarted."""

    id: str
    step: int
    call: str
    tool: str
    input: Any
    agent: str | None = None
    expires_at_ms: int | None = None
    within: str | None = None


@dataclass(frozen=True)
class ApprovalAnswered:
    """A person has answered, or nobody in time (`expired`). agent, within: of the call, see StepStarted."""

    id: str
    call: str
    outcome: Literal["approved", "denied", "expired"]
    reason: str | None = None
    agent: str | None = None
    within: str | None = None


@dataclass(frozen=True)
class StepReset:
    """The step's text so far is void; it comes again. is_last: no later step has begun."""

    step: int
    is_last: bool
    steps: list[Any] = field(default_factory=list)
    """What a reader keeps: the steps before."""


@dataclass(frozen=True)
class TurnWaiting:
    """The turn waits for people. approvals: all that are open."""

    approvals: tuple[ApprovalAsked, ...]


@dataclass(frozen=True)
class TurnEnded:
    """Nothing follows in this turn."""

    outcome: Outcome
    error: str | None = None


ChatEvent = (
    TurnStarted
    | StepStarted
    | TextStarted
    | TextDelta
    | TextEnded
    | ToolStarted
    | ToolInputDelta
    | ToolCalled
    | ToolProgress
    | ToolReturned
    | HandedOver
    | Steered
    | ApprovalAsked
    | ApprovalAnswered
    | StepReset
    | TurnWaiting
    | TurnEnded
)
