"""Questions to people as a journal has them: what `rewake.ext.kernel.ask` stores, and what answers them.

One struct for all that show or pass on that a run waits for a person: pages, CLI, admin API, marks of streams, front
ends. `asked_in` and `outcome_in` read the envelope of a step; `id` names the question for good, `awakeables` are what
to answer it by, now. Hostile input like all journals: what has another type is as if absent.
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
    """One person's answer. digest: of the arguments it names, empty where it names none."""

    approved: bool
    who: str = ""
    why: str = ""
    at_ms: int | None = None
    digest: str = ""

    def is_of(self, who: str) -> bool:
        """Whether this person gave it; those without a name are one."""
        return self.who.strip().casefold() == who.strip().casefold()


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A question that waits for people. arguments: the exact text, empty without arguments. digest: of them.

    awakeables: as many as answers are missing.   quorum: people that must approve.   refused: why it is asked again.
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
    """The question in a step's result; None when it holds no question."""
    envelope, value = _value_of(step)
    if envelope is None or "outcome" in value:
        return None
    awakeables = _texts(value.get("awakeables"))
    if not awakeables:
        return None
    quorum = value.get("quorum")
    return Asked(
        id=_text(value.get("id")) or awakeables[0],
        awakeables=awakeables,
        question=_text(value.get("question")),
        arguments=_text(value.get("arguments")),
        digest=_text(value.get("digest")),
        framework=envelope.framework,
        agent=envelope.agent,
        path=envelope.path,
        tool=envelope.tool,
        call=envelope.call,
        who=_texts(value.get("who")),
        quorum=quorum if isinstance(quorum, int) and 1 <= quorum <= TEXTS_MAX else 1,
        asked_at_ms=_at_ms(value.get("asked_at_ms")),
        deadline_at_ms=_at_ms(value.get("deadline_at_ms")),
        refused=_text(value.get("refused")),
    )


def outcome_in(step: Envelope | bytes | None) -> Decided | None:
    """The end of a question in a step's result; None when it holds no such end."""
    envelope, value = _value_of(step)
    outcome, id_ = _text(value.get("outcome")), _text(value.get("id"))
    if envelope is None or outcome not in OUTCOMES or not id_:
        return None
    answers = value.get("answers")
    found = map(_given, answers[:TEXTS_MAX] if isinstance(answers, list) else [])
    return Decided(
        id=id_,
        outcome=outcome,
        digest=_text(value.get("digest")),
        at_ms=_at_ms(value.get("at_ms")),
        who=_text(value.get("who")),
        why=_text(value.get("why")),
        answers=tuple(each for each in found if each is not None),
    )


def given_in(content: bytes) -> Given | None:
    """What an awakeable was resolved with, as an answer; None for what says neither yes nor no."""
    said = loaded(content)
    if said is None and content:
        said = content[:16].decode("utf-8", "replace")
    if isinstance(said, str):
        word = said.strip().lower()
        said = True if word in _YES else False if word in _NO else None
    return Given(approved=said) if isinstance(said, bool) else _given(said)


def _given(said: Any) -> Given | None:
    if not isinstance(said, dict) or not isinstance(said.get("approved"), bool):
        return None
    return Given(
        approved=said["approved"],
        who=_text(said.get("who")),
        why=_text(said.get("why")) or _text(said.get("reason")),
        at_ms=_at_ms(said.get("at_ms")),
        digest=_text(said.get("digest")),
    )


def _value_of(step: Envelope | bytes | None) -> tuple[Envelope | None, dict[str, Any]]:
    envelope = decode_envelope(step) if isinstance(step, bytes) else step
    if envelope is None or envelope.kind != KIND or not isinstance(envelope.value, dict):
        return None, {}
    return envelope, envelope.value


def _at_ms(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _AT_MS_MAX else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(values: Any) -> tuple[str, ...]:
    found = values[:TEXTS_MAX] if isinstance(values, list) else []
    return tuple(value for value in found if isinstance(value, str) and value)
