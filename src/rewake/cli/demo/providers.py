"""Who answers the demo's model calls: the scripted model server, or the real provider behind a relay.

Both keep a record of every call and can let the specialist's first call hang, so that the crash comes at a known
moment. A call is named by what it decides, read from the request as the provider gets it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from rewake.cli.demo.relay import OpenAIRelay
from rewake.testing.models import ModelRequest, ModelServer
from rewake.testing.models.rules_file import load_rules

HELD_RULE: Final = "medical-file"
OPENAI_URL: Final = "https://api.openai.com/v1"

ROUTING: Final = "who answers"
FILING: Final = "what to do"
ANSWERING: Final = "what to tell the customer"


@dataclass(frozen=True, slots=True)
class DecisionCount:
    """How often the model was asked for one decision, and how often its answer arrived."""

    agent: str
    decision: str
    asked: int
    answered: int


class Provider(Protocol):
    """A provider of the demo, scripted or real."""

    description: str
    timeout_s: float

    def start(self) -> dict[str, str]:
        """Serve; the environment that points the agents' client here."""

    def wait_for_specialist(self) -> None:
        """Return once a specialist has asked the model and hangs. Raises TimeoutError."""

    def release(self) -> None:
        """Let go of it, and of all later calls."""

    def counts(self) -> list[DecisionCount]:
        """The calls so far, by decision, in the order they were first made."""

    def stop(self) -> None:
        """Stop serving."""


def choose_provider(rules: Path) -> Provider:
    """The real provider when there is a key for it."""
    if key := os.environ.get("OPENAI_API_KEY"):
        return RealProvider(os.environ.get("OPENAI_BASE_URL") or OPENAI_URL, key)
    return ScriptedProvider(rules)


class ScriptedProvider:
    """The scripted model server, in a thread of this process."""

    description = "a scripted model server (set OPENAI_API_KEY to ask the real provider)"
    timeout_s = 30.0

    def __init__(self, rules: Path) -> None:
        self._server = ModelServer(load_rules(str(rules)))

    def start(self) -> dict[str, str]:
        """See Provider."""
        self._server.start()
        self._held = self._server.hold(HELD_RULE)
        return self._server.env()

    def wait_for_specialist(self) -> None:
        """See Provider."""
        self._held.wait_reached(timeout_s=self.timeout_s)

    def release(self) -> None:
        """See Provider."""
        self._held.release()

    def counts(self) -> list[DecisionCount]:
        """See Provider."""
        return count_calls((exchange.request, exchange.is_answered) for exchange in self._server.exchanges)

    def stop(self) -> None:
        """See Provider."""
        self._server.stop()


class RealProvider:
    """The provider at `url`, behind a relay that counts."""

    timeout_s = 120.0

    def __init__(self, url: str, key: str) -> None:
        self.description = f"the provider at {url}"
        self._key = key
        self._relay = OpenAIRelay(url, is_held=is_filing)

    def start(self) -> dict[str, str]:
        """See Provider."""
        url = self._relay.start()
        return {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": self._key}

    def wait_for_specialist(self) -> None:
        """See Provider."""
        self._relay.wait_until_held(self.timeout_s)

    def release(self) -> None:
        """See Provider."""
        self._relay.release()

    def counts(self) -> list[DecisionCount]:
        """See Provider."""
        return count_calls(self._relay.calls())

    def stop(self) -> None:
        """See Provider."""
        self._relay.stop()


def count_calls(calls: Iterable[tuple[ModelRequest, bool]]) -> list[DecisionCount]:
    """Calls by agent and decision."""
    found: dict[tuple[str, str], list[bool]] = {}
    for request, is_answered in calls:
        found.setdefault((agent_of(request), decision_of(request)), []).append(is_answered)
    return [DecisionCount(*name, asked=len(answers), answered=sum(answers)) for name, answers in found.items()]


def agent_of(request: ModelRequest) -> str:
    """The agent that asks, by its instructions."""
    names = ("Intake", "Medical specialist", "Car specialist")
    role = request.system.lower().partition(" of an insurer")[0]
    return next((name for name in names if role.endswith(name.lower())), "An agent")


def decision_of(request: ModelRequest) -> str:
    """What the model is asked to decide."""
    if agent_of(request) == "Intake":
        return ROUTING
    has_filed = any(result.name.startswith("file_") for result in request.tool_results)
    return ANSWERING if has_filed else FILING


def is_filing(request: ModelRequest) -> bool:
    """Whether this is the specialist's first call."""
    return decision_of(request) == FILING
