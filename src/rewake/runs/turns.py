"""What a run read as agents consists of: turns, handoffs, and what they cost.

Plain data, filled by agents.py; drawn by the agents page, graph.py and compare.py.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rewake import formats
from rewake.agents.decoding import ModelReply
from rewake.runs.spending import Total, Usage


class Turn(msgspec.Struct, kw_only=True):
    """One thing that happened between agents.

    kind: `user`, `model`, `decision`, `handoff`, `step`, `call`, `problem` or `answer`.   index: of the journal entry.
    candidates: whom the agent could have chosen, as the app tells; chosen: those of them it did.
    is_kept: taken over from the run this one was forked from, and paid for there.
    choices: without that, what earlier runs chose here, by how often.   model: of the reply, or declared for the agent.
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
    is_model_declared: bool = False
    is_kept: bool = False
    value: formats.Shown | None = None
    to_run: str | None = None
    is_failure: bool = False
    is_done: bool = True


class Handoff(msgspec.Struct, frozen=True):
    """Who handed over to whom. kind: `handoff`, `call` (a run of its own) or `consult` (came back)."""

    source: str
    target: str
    number: int
    kind: str
    reason: str = ""


class AgentTrace(msgspec.Struct):
    """Everything the agents page shows of a run and those it called."""

    turns: list[Turn] = []
    agents: list[str] = []
    handoffs: list[Handoff] = []
    usage: list[Usage] = []
    total: Total = Total()
    is_cut: bool = False

    @property
    def has_agents(self) -> bool:
        return bool(self.handoffs or any(turn.kind in ("decision", "model") for turn in self.turns))
