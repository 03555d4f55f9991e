"""A question to people, its outcome, and answers as sent: the values of `ask()` (asking.py) and their digest.

An awakeable is resolved with an answer: true, false, a word, or an object in which only `approved` is required:
{"approved": true, "who": "Ada", "why": "...", "digest": "...", "at_ms": 1790000000000}. Stored data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from rewake.ext.kernel.links import LinkMaker, until_ms
from rewake.ext.kernel.values import plain

_YES: Final = ("approved", "approve", "yes", "true")
_NO: Final = ("denied", "rejected", "deny", "reject", "no", "false")


class Outcome(StrEnum):
    """How a question ended. EXPIRED: nobody answered in time; it is not a denial."""

    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Answer:
    """One person's answer. who: the name that they or their tool gave; None without one."""

    is_approved: bool
    who: str | None = None
    why: str | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class Decision:
    """How a question ended, when, and for which arguments (digest: of exactly those, see `digest_of`).

    who, why: of the last answer that counted. answers: all answers that counted, in order; several with a quorum.
    """

    outcome: Outcome
    at: datetime
    digest: str
    who: str | None = None
    why: str | None = None
    answers: tuple[Answer, ...] = ()

    @property
    def is_approved(self) -> bool:
        """Whether people have approved."""
        return self.outcome is Outcome.APPROVED


@dataclass(frozen=True)
class ApprovalRequest:
    """An open question, as `notify` gets it.

    id: of the question; also of the awakeable to resolve. arguments: exactly as they will be used, as text. digest: of
    them; an answer that names another one is refused. reminder: 0 at first, then counted. refused: why an answer was
    not taken, when it is asked again; then `id` is another awakeable.
    """

    id: str
    agent: str
    tool: str
    arguments: str
    call_id: str
    question: str = ""
    digest: str = ""
    who: tuple[str, ...] = ()
    quorum: int = 1
    asked_at: datetime | None = None
    deadline: datetime | None = None
    reminder: int = 0
    refused: str = ""
    links: LinkMaker | None = field(default=None, repr=False, compare=False)

    def link(self, who: str = "", *, lasts: timedelta | None = None) -> str | None:
        """A signed address of a page that asks for the answer; None on an engine without such links.

        who: the person it is for; the answer carries this name. Without a name, anybody who has the link may answer.
        lasts: how long it is valid; by default until the deadline, or 30 days. It is a secret: send it only to them.
        """
        if self.links is None:
            return None
        deadline_ms = None if self.deadline is None else round(self.deadline.timestamp() * 1000)
        return self.links.link(self.id, self.digest, who, until_ms(deadline_ms, lasts))


Notify = Callable[[ApprovalRequest], Awaitable[Any]]


@dataclass(frozen=True)
class Sent:
    """An answer as it was sent. digest: of the approved arguments; None if the sender gave none."""

    answer: Answer
    digest: str | None = None


class Unusable(Exception):
    """The sent value is not an answer, or it answers another question."""


def arguments_text(args: Any) -> str:
    """Arguments as shown to people, equal for equal values: a text unchanged, anything else as JSON.

    args: JSON, pydantic models and dataclasses. Raises TypeError for other objects, whose text may vary.
    """
    if args is None or isinstance(args, str):
        return args or ""
    return json.dumps(args, sort_keys=True, ensure_ascii=False, default=plain)


def digest_of(arguments: str, question: str) -> str:
    """SHA-256 in hex of the arguments, or of the question if it has no arguments."""
    return hashlib.sha256((arguments or question).encode("utf-8", "surrogatepass")).hexdigest()


def sent_answer(content: bytes) -> Sent:
    """The answer in an awakeable's value. Raises Unusable if the value is neither yes nor no."""
    try:
        said = json.loads(content)
    except ValueError:
        said = content.decode("utf-8", "replace")
    if isinstance(said, str) and (word := said.strip().lower()) in (*_YES, *_NO):
        said = word in _YES
    if isinstance(said, bool):
        return Sent(Answer(said))
    if isinstance(said, Mapping) and isinstance(said.get("approved"), bool):
        why = _text(said.get("why")) or _text(said.get("reason"))
        answer = Answer(said["approved"], _text(said.get("who")), why, moment(said.get("at_ms")))
        return Sent(answer, _text(said.get("digest")))
    raise Unusable(
        f"{formatted(said)} says neither yes nor no. "
        'Answer with true, false or {"approved": true, "who": "...", "why": "..."}.'
    )


def answer_json(answer: Answer) -> dict[str, Any]:
    """The stored form of an answer that counted."""
    told = {"approved": answer.is_approved, "who": answer.who, "why": answer.why, "at_ms": _ms(answer.at)}
    return {name: value for name, value in told.items() if value is not None}


def answer_from(stored: Mapping[str, Any]) -> Answer:
    """The answer that `answer_json` stored."""
    return Answer(stored["approved"], stored.get("who"), stored.get("why"), moment(stored.get("at_ms")))


def decision_from(stored: Mapping[str, Any]) -> Decision:
    """The decision that asking.py stored."""
    return Decision(
        Outcome(stored["outcome"]),
        datetime.fromtimestamp(stored["at_ms"] / 1000, UTC),
        stored["digest"],
        stored.get("who"),
        stored.get("why"),
        tuple(answer_from(each) for each in stored.get("answers", ())),
    )


def moment(at_ms: Any) -> datetime | None:
    """A stored moment, or None."""
    try:
        return None if isinstance(at_ms, bool) else datetime.fromtimestamp(at_ms / 1000, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def formatted(said: Any) -> str:
    """The sent value, shortened for a message."""
    text = repr(said)
    return text if len(text) <= 200 else text[:200] + "..."


def _ms(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
