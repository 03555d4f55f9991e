"""The parts of a run that is read as agents: turns, handoffs, stints, costs.

Plain data. agents.py makes it; the agents page, graph.py, compare.py and the CLI show it; telemetry sends it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rewake import formats
from rewake.agents.replies import ModelReply
from rewake.runs.spending import Total, Usage


class Turn(msgspec.Struct, kw_only=True):
    """One event of the conversation.

    kind: `user`, `asked`, `model`, `decision`, `handoff`, `step`, `call`, `problem`, `retry` or `answer`.
    index: of the journal entry.   stint: place of its stint in the trace's stints.
    tool, call_id: of the model's call that a step answers.
    candidates: agents that could be chosen, from the app; chosen: those that were.
    choices: if the app names no candidates, the choices of earlier runs here, by frequency.
    is_kept: taken over from the run that this one is a fork of, and paid for there.
    model: of the reply, else (is_declared) the app's for this agent, else (is_default) the framework's default.
    """

    kind: str
    run_id: str
    index: int
    at_ms: int
    depth: int = 0
    agent: str = ""
    title: str = ""
    text: str = ""
    took_ms: int | None = None
    reply: ModelReply | None = None
    results: dict[str, Any] = {}
    cost: float | None = None
    choice: str | None = None
    reason: str = ""
    candidates: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    choices: dict[str, int] = {}
    model: str | None = None
    is_declared: bool = False
    is_default: bool = False
    is_kept: bool = False
    value: formats.Shown | None = None
    to_run: str | None = None
    is_failure: bool = False
    is_done: bool = True
    stint: int = 0
    tool: str = ""
    call_id: str = ""


class Handoff(msgspec.Struct, kw_only=True):
    """Work that went from one agent to another. kind: `handoff`, `consult` (comes back), `call`, `send` (another run).

    run_id, index: of the entry that shows it.   stint: the work that began with it; None for another run.
    """

    source: str
    target: str
    number: int
    kind: str
    reason: str = ""
    at_ms: int = 0
    run_id: str = ""
    index: int = 0
    stint: int | None = None


class Stint(msgspec.Struct, kw_only=True):
    """A stretch of one agent's work in one run, from taking over to handing over or returning.

    parent: place of the asker's stint, for a consulted agent.   end_ms: None while it lasts.
    index: of its first entry.   number: of the handoff that began it; None for the first.
    """

    agent: str
    run_id: str
    index: int
    start_ms: int
    end_ms: int | None = None
    parent: int | None = None
    number: int | None = None


class OpenCall(msgspec.Struct, kw_only=True):
    """A tool call in a model's last answer that no step answers yet, in an open run.

    index: of the model's answer.
    """

    run_id: str
    index: int
    agent: str
    tool: str
    arguments: str
    since_ms: int


class AgentTrace(msgspec.Struct):
    """All that the agents page shows of a run and the runs it called."""

    turns: list[Turn] = []
    agents: list[str] = []
    handoffs: list[Handoff] = []
    stints: list[Stint] = []
    open_calls: list[OpenCall] = []
    usage: list[Usage] = []
    total: Total = Total()
    is_cut: bool = False

    @property
    def has_agents(self) -> bool:
        """Whether it has models or routing decisions. Services that only call each other are not agents."""
        return any(turn.kind in ("decision", "model") for turn in self.turns)
