"""What a run read as agents consists of: turns, handoffs, stints, and what they cost.

Plain data, made by agents.py; drawn by the agents page, graph.py, compare.py and the CLI, and sent by telemetry.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rewake import formats
from rewake.agents.replies import ModelReply
from rewake.runs.spending import Total, Usage


class Turn(msgspec.Struct, kw_only=True):
    """One thing that happened between agents.

    kind: `user`, `asked`, `model`, `decision`, `handoff`, `step`, `call`, `problem`, `retry` or `answer`.
    index: of the journal entry.   stint: place in the trace's stints of whose work it is.
    tool, call_id: of the model's call that a step answers.
    candidates: whom the agent could have chosen, by the app; chosen: those of them it did.
    is_kept: taken over from the run this one was forked from, and paid for there.
    choices: without that, what earlier runs chose here, by how often.   model: of the reply, else (is_declared) the one
    the app gives the agent, else (is_default) the framework's own.
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
    """Who handed over to whom. kind: `handoff`, `consult` (came back), `call` or `send` (a run of its own).

    run_id, index: the entry that shows it.   stint: the work that began with it; None for a run of its own.
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
    """A stretch of one agent's work in one run: from when it took over until it handed over or came back.

    parent: place of the asker's stint, for one that was consulted.   end_ms: None while it lasts.
    index: of the entry it began with.   number: of the handoff it began with, None for the first.
    """

    agent: str
    run_id: str
    index: int
    start_ms: int
    end_ms: int | None = None
    parent: int | None = None
    number: int | None = None


class OpenCall(msgspec.Struct, kw_only=True):
    """A call of a model's last answer that no step of the journal answers yet, in a run that is not over.

    index: of the answer's entry.
    """

    run_id: str
    index: int
    agent: str
    tool: str
    arguments: str
    since_ms: int


class AgentTrace(msgspec.Struct):
    """Everything the agents page shows of a run and those it called."""

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
        """Whether models or routing decisions were recognized; services that call each other are no agents."""
        return any(turn.kind in ("decision", "model") for turn in self.turns)
