"""The agents of a handler, from its metadata: their handoffs and models.

introspection.py writes the metadata at discovery. For handlers that decide without a framework, users write
`rewake.candidates`, names separated by commas. Metadata may be any text; invalid parts are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from rewake.agents.introspection import METADATA_KEY
from rewake.agents.replies import ModelReply, ToolCall
from rewake.agents.routing import handoff_target

CANDIDATES_KEY: Final = "rewake.candidates"
"""Key of a handler's metadata with the candidates of its routing steps."""

_CANDIDATES_MAX: Final = 40
_NAME_CHARS_MAX: Final = 200


class AgentFacts(msgspec.Struct, frozen=True):
    """One agent. handoffs: agents it may hand over to.   handoff_tools, asks: tool -> agent that takes over or answers.

    parent: of a sub-agent.   model: the declared one, else the framework's default.
    """

    name: str
    model: str = ""
    is_default_model: bool = False
    handoffs: tuple[str, ...] = ()
    handoff_tools: dict[str, str] = {}
    tools: tuple[str, ...] = ()
    asks: dict[str, str] = {}
    parent: str = ""


_decode = msgspec.json.Decoder(list[AgentFacts]).decode


class Roster:
    """The agents of one handler."""

    def __init__(self, metadata: Mapping[str, str]) -> None:
        self._agents = {plain(each.name): each for each in _told(metadata.get(METADATA_KEY, ""))}
        given = (name.strip() for name in metadata.get(CANDIDATES_KEY, "").split(","))
        self.candidates = tuple(name[:_NAME_CHARS_MAX] for name in given if name)[:_CANDIDATES_MAX]
        """The user's candidates, for a handler without a framework's agents."""

    def __bool__(self) -> bool:
        return bool(self._agents or self.candidates)

    def agent(self, name: str) -> AgentFacts | None:
        """The agent with this name in any spelling: `car_specialist` and "Car specialist" are one."""
        return self._agents.get(plain(name))

    @property
    def agents(self) -> Iterable[AgentFacts]:
        """All agents of this handler."""
        return self._agents.values()

    def handed_to_by(self, tool: str) -> str | None:
        """The agent that a tool hands over to, if the app declares it."""
        return next((each.handoff_tools[tool] for each in self._agents.values() if tool in each.handoff_tools), None)

    def asked_by(self, tool: str) -> str | None:
        """The agent that a tool runs; a user's candidate is recognized by the tool's name."""
        found = next((each.asks[tool] for each in self._agents.values() if tool in each.asks), None)
        if found is None and handoff_target(ToolCall(tool)) is None:
            found = next((name for name in self.candidates if plain(name) and plain(name) in plain(tool)), None)
        return found

    def choices_of(self, name: str) -> tuple[str, ...]:
        """The candidates of an agent or of a router's step."""
        found = self.agent(name)
        if found is None:
            return self.candidates
        return tuple(dict.fromkeys((*found.handoffs, *found.asks.values())))

    @property
    def first(self) -> AgentFacts | None:
        """The agent that runs begin with: the only one that no other agent leads to."""
        led_to = {plain(name) for each in self._agents.values() for name in (*each.handoffs, *each.asks.values())}
        roots = [each for name, each in self._agents.items() if name not in led_to]
        roots = roots or [each for each in self._agents.values() if not each.parent]  # sub-agents may go back
        return roots[0] if len(roots) == 1 else None

    def first_speaker(self, reply: ModelReply) -> AgentFacts | None:
        """The agent of a first reply without a name: the first agent, if the reply's tools are its own."""
        first = self.first
        if first is None:
            return None
        return first if all(self._is_own(first, call.name) for call in reply.calls) else None

    def has_tool(self, name: str, tool: str) -> bool:
        """Whether an agent is known to have a tool."""
        found = self.agent(name)
        return found is not None and self._is_own(found, tool)

    def model_of(self, name: str) -> str | None:
        """The declared model of an agent; for an unknown agent, the model that all agents share."""
        found = self.agent(name)
        if found is not None:
            return found.model or None
        models = {each.model for each in self._agents.values()}
        return next(iter(models)) or None if len(models) == 1 else None

    def is_default_model(self, name: str) -> bool:
        """Whether model_of() is the framework's default, because the app declares no model."""
        found = self.agent(name)
        return all(each.is_default_model for each in self._agents.values()) if found is None else found.is_default_model

    def _is_own(self, agent: AgentFacts, tool: str) -> bool:
        own = (*agent.tools, *agent.handoff_tools, *agent.asks)
        return tool in own or tool == "transfer_to_agent" or any(
            tool.endswith(f"_to_{re.sub(r'[^a-z0-9]+', '_', name.lower())}") for name in agent.handoffs
        )  # fmt: skip


def plain(name: str) -> str:
    """The normal spelling of a name."""
    return re.sub(r"[\W_]+", "", name.lower())


def _told(text: str) -> list[AgentFacts]:
    try:
        return _decode(text) if text else []
    except (msgspec.DecodeError, UnicodeEncodeError):
        return []
