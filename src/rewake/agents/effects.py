"""Reads effects from a journal: the steps of `rewake.ext.kernel.effect`.

A marker comes before each effect, its outcome after it; the last entry of a key counts. The input may be hostile: a
field of another type counts as absent.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from rewake.agents.envelope import Envelope, decode_envelope

KIND: Final = "effect"
STATES: Final = {
    "sent": "sent",
    "done": "done",
    "verified": "verified",
    "unknown": "unknown",
    "failed": "refused",
    "not_done": "planned",
    "undone": "undone",
    "undo_failed": "not undone",
}
"""Stored state -> the word for people. An effect that could not be sent is still planned: it is tried again."""

OVER: Final = {"sent": "unknown", "planned": "not done"}
"""State -> the word after the run has ended: its outcome will never be known."""

_TEXT_CHARS_MAX: Final = 1_000


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One effect, from its last entry. state: one of the values of STATES.   who, why: if given."""

    name: str
    key: str
    state: str
    agent: str = ""
    at_ms: int = 0
    who: str = ""
    why: str = ""
    result: Any = None

    def as_it_ended(self) -> Effect:
        """The effect after its run has ended."""
        return msgspec.structs.replace(self, state=OVER.get(self.state, self.state))


def effect_in(step: Envelope | bytes | None) -> Effect | None:
    """The effect in a step's result, or None."""
    envelope = decode_envelope(step) if isinstance(step, bytes) else step
    if envelope is None or envelope.kind != KIND or not isinstance(envelope.value, dict):
        return None
    value = envelope.value
    state, key = STATES.get(_text(value.get("state"))), _text(value.get("key"))
    if state is None or not key:
        return None
    at_ms = value.get("at_ms")
    return Effect(
        name=_text(value.get("effect")) or envelope.tool,
        key=key,
        state=state,
        agent=envelope.agent,
        at_ms=at_ms if isinstance(at_ms, int) and not isinstance(at_ms, bool) and 0 <= at_ms < 1 << 47 else 0,
        who=_text(value.get("who")),
        why=_text(value.get("why")),
        result=value.get("result"),
    )


def _text(value: Any) -> str:
    return value[:_TEXT_CHARS_MAX] if isinstance(value, str) else ""
