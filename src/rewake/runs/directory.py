"""Who is who on a server: the agents of each handler, from their apps.

The name of an agent is its own; where a journal does not have it, the app does (its name, else its variable's, see
agents/introspection.py); where the app does not either, it is the service's. Every reader of a run uses these rules, so
that the pages, the terminal and the spans agree. Made of the registry alone; knows no journal.
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
        """The agents of a handler; nobody when the app names nobody."""
        return self.rosters.get((service, handler), _NOBODY)

    def agent_of(self, service: str, handler: str) -> str:
        """Who answers a call: the agent the handler begins with, else the service."""
        first = self.roster(service, handler).first
        return service if first is None else first.name


def _metadata(manifest: dict[str, Any]) -> dict[str, str]:
    return manifest.get("metadata") or {}
