"""Finds handoffs in tool calls, and routing decisions in the results of steps.

They are recognized by names, the only thing that frameworks share: `transfer_to_billing`, ADK's `transfer_to_agent`, a
step "Pick specialist", a field `specialist`. Anything else is not a decision. See decoding.py.
"""

from __future__ import annotations

import re
from typing import Any, Final

from rewake.agents.replies import ToolCall

AGENT_STATES: Final = ("agent", "specialist", "last_agent", "current_agent", "active_agent")
"""Names of state values in which apps store the current agent."""

CHOICE_CHARS_MAX: Final = 80

_HANDOFF: Final = re.compile(
    r"^(?:transfer|hand_?off|handover|hand_over|delegate|route)_to_(?P<agent>.+)$", re.IGNORECASE
)
_AGENT_ARGUMENTS: Final = ("agent_name", "agent", "name")
_DECIDING: Final = re.compile(r"\b(pick|route|routing|select|choose|triage|classif|dispatch|decide)", re.IGNORECASE)
_CHOICE_FIELDS: Final = (
    "specialist", "agent", "route", "assistant", "next_agent", "next", "handoff_to", "target", "category", "choice",
)  # fmt: skip
_REASON_FIELDS: Final = ("reason", "reasoning", "rationale", "why")


def handoff_target(call: ToolCall) -> str | None:
    """The agent that a tool call hands over to, from the tool's name; None for other tools."""
    found = _HANDOFF.match(call.name)
    if found is None:
        return None
    if found["agent"] != "agent":
        return found["agent"].replace("_", " ")
    given = call.arguments if isinstance(call.arguments, dict) else {}
    return next((name for field in _AGENT_ARGUMENTS if isinstance(name := given.get(field), str) and name), None)


def decision_in(title: str, value: Any) -> tuple[str | None, str] | None:
    """(choice, reason) if a step's result is a routing decision. The choice is None if the router answers itself."""
    is_deciding = bool(_DECIDING.search(title))
    if isinstance(value, dict):
        fields = [name for name in _CHOICE_FIELDS if name in value]
        if not fields or not (is_deciding or len(value) <= 3):
            return None
        choice = value[fields[0]]
        if choice is not None and not isinstance(choice, str):
            return None
        if not is_deciding and (choice is None or len(choice) > 60):
            return None
        reasons = (value.get(name) for name in _REASON_FIELDS)
        return choice or None, next((reason for reason in reasons if isinstance(reason, str)), "")
    if is_deciding and isinstance(value, str) and value:
        choice, _, reason = value.partition(": ")
        return _shortened(choice), reason
    return None


def choice_in(value: Any) -> str | None:
    """The agent in an answer's field for it, or None."""
    if not isinstance(value, dict):
        return None
    found = (value.get(name) for name in _CHOICE_FIELDS)
    return next((name for name in found if isinstance(name, str) and len(name) <= CHOICE_CHARS_MAX), None)


def _shortened(text: str) -> str:
    return text if len(text) <= CHOICE_CHARS_MAX else text[: CHOICE_CHARS_MAX - 1] + "\N{HORIZONTAL ELLIPSIS}"
