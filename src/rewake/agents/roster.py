"""The agents a handler is made of, from its metadata: who may hand over to whom, and with which model.

What introspection.py wrote at discovery, and what users say themselves for handlers that decide without a framework:
`rewake.candidates`, names with commas between. Metadata is anybody's text; what cannot be read is as if not there.
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
"""Of a handler: whom its routing steps choose from."""

_CANDIDATES_MAX: Final = 40
_NAME_CHARS_MAX: Final = 200


class AgentFacts(msgspec.Struct, frozen=True):
    """One agent. handoffs: agents it may hand over to.   handoff_tools, asks: the agents behind tools, for good or not.

    parent: of a sub-agent.   model: the declared one, or the framework's own where nobody declared one.
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
        """Given by the user, for a handler without agents of a framework."""

    def __bool__(self) -> bool:
        return bool(self._agents or self.candidates)

    def agent(self, name: str) -> AgentFacts | None:
        """By any spelling: `car_specialist` and "Car specialist" are one."""
        return self._agents.get(plain(name))

    @property
    def agents(self) -> Iterable[AgentFacts]:
        """All that the app has for this handler."""
        return self._agents.values()

    def handed_to_by(self, tool: str) -> str | None:
        """The agent a tool hands over to, where the app names it."""
        return next((each.handoff_tools[tool] for each in self._agents.values() if tool in each.handoff_tools), None)

    def asked_by(self, tool: str) -> str | None:
        """The agent that works behind a tool; one the user named is found in the tool's name."""
        found = next((each.asks[tool] for each in self._agents.values() if tool in each.asks), None)
        if found is None and handoff_target(ToolCall(tool)) is None:
            found = next((name for name in self.candidates if plain(name) and plain(name) in plain(tool)), None)
        return found

    def choices_of(self, name: str) -> tuple[str, ...]:
        """Whom an agent, or a router's step, may choose."""
        found = self.agent(name)
        if found is None:
            return self.candidates
        return tuple(dict.fromkeys((*found.handoffs, *found.asks.values())))

    @property
    def first(self) -> AgentFacts | None:
        """The one agent nobody leads to, where runs begin."""
        led_to = {plain(name) for each in self._agents.values() for name in (*each.handoffs, *each.asks.values())}
        roots = [each for name, each in self._agents.items() if name not in led_to]
        roots = roots or [each for each in self._agents.values() if not each.parent]  # sub-agents may go back
        return roots[0] if len(roots) == 1 else None

    def first_speaker(self, reply: ModelReply) -> AgentFacts | None:
        """Who gave a first reply that no one signed: the first agent, if what it asks for is its own."""
        first = self.first
        if first is None:
            return None
        return first if all(self._is_own(first, call.name) for call in reply.calls) else None

    def has_tool(self, name: str, tool: str) -> bool:
        """Whether an agent is known to have a tool."""
        found = self.agent(name)
        return found is not None and self._is_own(found, tool)

    def model_of(self, name: str) -> str | None:
        """The declared model of an agent; of one that is not known here, the model all agents have."""
        found = self.agent(name)
        if found is not None:
            return found.model or None
        models = {each.model for each in self._agents.values()}
        return next(iter(models)) or None if len(models) == 1 else None

    def is_default_model(self, name: str) -> bool:
        """Whether what model_of() gives is the framework's own, which nobody declared."""
        found = self.agent(name)
        return all(each.is_default_model for each in self._agents.values()) if found is None else found.is_default_model

    def _is_own(self, agent: AgentFacts, tool: str) -> bool:
        own = (*agent.tools, *agent.handoff_tools, *agent.asks)
        return tool in own or tool == "transfer_to_agent" or any(
            tool.endswith(f"_to_{re.sub(r'[^a-z0-9]+', '_', name.lower())}") for name in agent.handoffs
        )  # fmt: skip


def plain(name: str) -> str:
    """A name without what its spellings differ in."""
    return re.sub(r"[\W_]+", "", name.lower())


def _told(text: str) -> list[AgentFacts]:
    try:
        return _decode(text) if text else []
    except (msgspec.DecodeError, UnicodeEncodeError):
        return []
