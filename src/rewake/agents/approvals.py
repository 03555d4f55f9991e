"""Reads questions to people from a journal: the steps of `rewake.ext.kernel.ask`, and the answers.

Pages, CLI, admin API, streams and front ends use the same struct. `asked_in` and `outcome_in` read the envelope of a
step. A question's `id` never changes; its current answers go to `awakeables`. The input may be hostile: a field of
another type counts as absent.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from rewake.agents.envelope import Envelope, decode_envelope
from rewake.agents.replies import loaded

KIND: Final = "approval"
OUTCOMES: Final = ("approved", "denied", "expired")
TEXTS_MAX: Final = 64
_YES: Final = ("approved", "approve", "yes", "true")
_NO: Final = ("denied", "rejected", "deny", "reject", "no", "false")
_AT_MS_MAX: Final = 1 << 47


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """One person's answer. digest: of the arguments it is for; empty if it names none."""

    approved: bool
    who: str = ""
    why: str = ""
    at_ms: int | None = None
    digest: str = ""

    def is_of(self, who: str) -> bool:
        """Whether this person gave it; all without a name count as one person."""
        return self.who.strip().casefold() == who.strip().casefold()


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An open question. arguments: the exact text, empty without arguments.   digest: of the arguments.

    awakeables: one for each missing answer.   quorum: people that must approve.   refused: why it is asked again.
    """

    id: str
    awakeables: tuple[str, ...]
    question: str = ""
    arguments: str = ""
    digest: str = ""
    framework: str = ""
    agent: str = ""
    path: tuple[str, ...] = ()
    tool: str = ""
    call: str = ""
    who: tuple[str, ...] = ()
    quorum: int = 1
    asked_at_ms: int | None = None
    deadline_at_ms: int | None = None
    refused: str = ""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """How a question ended. outcome: one of OUTCOMES.   answers: those that counted."""

    id: str
    outcome: str
    digest: str = ""
    at_ms: int | None = None
    who: str = ""
    why: str = ""
    answers: tuple[Given, ...] = ()


def asked_in(step: Envelope | bytes | None) -> Asked | None:
    """The question in a step's result; or None."""
    envelope, value = _value_of(step)
    if envelope is None or "outcome" in value:
        return None
    awakeables = texts(value.get("awakeables"))
    if not awakeables:
        return None
    return asked_from(
        text(value.get("id")) or awakeables[0],
        value | {name: getattr(envelope, name) for name in ("framework", "agent", "tool", "call")},
        awakeables,
        envelope.path,
    )


def asked_from(id_: str, value: dict[str, Any], awakeables: tuple[str, ...] = (), path: Any = None) -> Asked:
    """The question that JSON holds. path: of its agents, where the JSON has none."""
    quorum = value.get("quorum")
    return Asked(
        id=id_,
        awakeables=awakeables,
        question=text(value.get("question")),
        arguments=text(value.get("arguments")),
        digest=text(value.get("digest")),
        framework=text(value.get("framework")),
        agent=text(value.get("agent")),
        path=texts(value.get("path")) if path is None else path,
        tool=text(value.get("tool")),
        call=text(value.get("call")),
        who=texts(value.get("who")),
        quorum=quorum if isinstance(quorum, int) and 1 <= quorum <= TEXTS_MAX else 1,
        asked_at_ms=at_ms(value.get("asked_at_ms")),
        deadline_at_ms=at_ms(value.get("deadline_at_ms")),
        refused=text(value.get("refused")),
    )


def outcome_in(step: Envelope | bytes | None) -> Decided | None:
    """The outcome of a question in a step's result, or None."""
    envelope, value = _value_of(step)
    outcome, id_ = text(value.get("outcome")), text(value.get("id"))
    if envelope is None or outcome not in OUTCOMES or not id_:
        return None
    answers = value.get("answers")
    found = map(given_from, answers[:TEXTS_MAX] if isinstance(answers, list) else [])
    return Decided(
        id=id_,
        outcome=outcome,
        digest=text(value.get("digest")),
        at_ms=at_ms(value.get("at_ms")),
        who=text(value.get("who")),
        why=text(value.get("why")),
        answers=tuple(each for each in found if each is not None),
    )


def given_in(content: bytes) -> Given | None:
    """The answer in an awakeable's value; None if it is neither yes nor no."""
    said = loaded(content)
    if said is None and content:
        said = content[:16].decode("utf-8", "replace")
    if isinstance(said, str):
        word = said.strip().lower()
        said = True if word in _YES else False if word in _NO else None
    return Given(approved=said) if isinstance(said, bool) else given_from(said)


def given_from(said: Any) -> Given | None:
    """The answer that JSON holds; None when it says neither yes nor no."""
    if not isinstance(said, dict) or not isinstance(said.get("approved"), bool):
        return None
    return Given(
        approved=said["approved"],
        who=text(said.get("who")),
        why=text(said.get("why")) or text(said.get("reason")),
        at_ms=at_ms(said.get("at_ms")),
        digest=text(said.get("digest")),
    )


def _value_of(step: Envelope | bytes | None) -> tuple[Envelope | None, dict[str, Any]]:
    envelope = decode_envelope(step) if isinstance(step, bytes) else step
    if envelope is None or envelope.kind != KIND or not isinstance(envelope.value, dict):
        return None, {}
    return envelope, envelope.value


def at_ms(value: Any) -> int | None:
    """A moment, if it is one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _AT_MS_MAX else None


def text(value: Any) -> str:
    """A text, empty for anything else."""
    return value if isinstance(value, str) else ""


def texts(values: Any) -> tuple[str, ...]:
    """The texts in a list, those that a page can show."""
    found = values[:TEXTS_MAX] if isinstance(values, list) else []
    return tuple(value for value in found if isinstance(value, str) and value)
