"""The agents of each handler on a server, as their apps declare them.

An agent's name comes from the journal. If the journal does not have it, it comes from the app (the agent's name, else
its variable, see agents/introspection.py), else from the service. Every reader of a run uses these rules, so pages,
terminal and spans agree. This file reads the registry only, no journals.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rewake.agents.roster import Roster
from rewake.core.model import ServiceSchema

_NOBODY: Final = Roster({})


class Directory:
    """The agents of all handlers, from the latest revision of each service."""

    def __init__(self, services: Iterable[ServiceSchema]) -> None:
        self.rosters = {
            (schema.name, name): Roster(_metadata(schema.manifest) | _metadata(handler.manifest))
            for schema in services
            for name, handler in schema.handlers.items()
        }

    def roster(self, service: str, handler: str) -> Roster:
        """The agents of a handler; empty if the app declares none."""
        return self.rosters.get((service, handler), _NOBODY)

    def agent_of(self, service: str, handler: str) -> str:
        """The agent that answers a call: the handler's first one, else the service."""
        first = self.roster(service, handler).first
        return service if first is None else first.name


def _metadata(manifest: dict[str, Any]) -> dict[str, str]:
    return manifest.get("metadata") or {}
