"""The stored form of questions between turns, in the state of a virtual object, and the rules for their answers.

The run that asked has ended, so no invocation waits. The questions contain no code, and outlive deploys. Readers find
them in the state of objects; an answer is a call of the object, see between.py.

State, stored data:

    rewake.approvals                    {"rewake": 1, "open": [question, ...]}; absent while nothing is open
    rewake.approvals.decided            {"rewake": 1, "decided": [question, ...]}: the newest ones, of all turns
    rewake.approvals.turn/{turn}        {"rewake": 1, "open": 1, "decided": [question, ...]}, while a turn waits
    rewake.approvals.snapshot/{turn}    the framework's state, in its own form; the next turn continues from it

    question  {"id": "ask_1...", "turn": ..., "invocation": "inv_1...", "framework": ..., "agent": ..., "path": [...],
               "calls": [...], "call": ..., "tool": ..., "question": text, "arguments": text, "digest": sha256 hex,
               "definition": 16 hex digits, "who": [...], "quorum": 1, "asked_at_ms": ..., "deadline_at_ms": ...,
               "answers": [{"approved": true, "who": ..., "why": ..., "at_ms": ...}], "refused": text}

A decided question also has `outcome`, `decided_at_ms`, `decided_by` and `reason`; `outcome` is one of Outcome, or
`withdrawn`. `definition` is the fingerprint of agent and tool in the code that asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rewake.ext.kernel.approvals import Answer, Outcome, Sent, answer_from, answer_json

OPEN: Final = "rewake.approvals"
DECIDED: Final = "rewake.approvals.decided"
TURN: Final = "rewake.approvals.turn/"
SNAPSHOT: Final = "rewake.approvals.snapshot/"
OPEN_MAX: Final = 100
"""Questions that one object may have open."""

DECIDED_MAX: Final = 20
"""Decided questions that an object remembers, so that late answers get a precise reply."""

WITHDRAWN: Final = "withdrawn"
_VERSION: Final = 1
_ARGUMENTS_CHARS_MAX: Final = 4_096
"""A decided question is remembered without its arguments if they are longer."""

KEPT_ID: Final = "ask_1"
"""Prefix of the ids of these questions."""

_UNIQUE_BYTES: Final = 9

Question = dict[str, Any]
"""One question, in the stored form."""


@dataclass(frozen=True)
class Refusal:
    """The reason for refusing an answer. code: as in the error pages."""

    code: str
    message: str


def question_id(service: str, key: str, unique: str) -> str:
    """The id of a question; it contains its object's name and key. unique: a different text for each question."""
    drawn = hashlib.sha256(unique.encode()).digest()[:_UNIQUE_BYTES]
    return KEPT_ID + base64.urlsafe_b64encode(drawn + f"{service}/{key}".encode()).rstrip(b"=").decode()


class Kept:
    """The questions of one object. ctx: of one of its handlers; only exclusive handlers may change questions."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self._open: list[Question] | None = None
        self._decided: list[Question] | None = None

    async def open(self) -> list[Question]:
        """The open questions, in the order they were asked."""
        if self._open is None:
            self._open = list((await self._ctx.get(OPEN) or {}).get("open", ()))
        return self._open

    async def find(self, id: str) -> Question | None:
        """An open question by its id."""
        return next((each for each in await self.open() if each["id"] == id), None)

    async def decided(self) -> list[Question]:
        """The remembered decided questions, in the order they were decided."""
        if self._decided is None:
            self._decided = list((await self._ctx.get(DECIDED) or {}).get("decided", ()))
        return self._decided

    async def find_decided(self, id: str) -> Question | None:
        """A remembered decided question by its id."""
        return next((each for each in await self.decided() if each["id"] == id), None)

    async def add(self, turn: str, questions: list[Question], snapshot: Any) -> None:
        """Store the questions of a turn that ends, and the snapshot from which the next turn continues."""
        self._ctx.set(SNAPSHOT + turn, snapshot)
        self._set_turn(turn, len(questions), [])
        self._set_open([*await self.open(), *questions])

    async def change(self, question: Question) -> None:
        """Replace an open question, for example by one with a further answer."""
        self._set_open([question if each["id"] == question["id"] else each for each in await self.open()])

    async def close(self, question: Question) -> bool:
        """Move a decided question out of the open ones. Returns whether it was the last one of its turn."""
        turn = await self._ctx.get(TURN + question["turn"]) or {"open": 1, "decided": []}
        left = max(turn["open"] - 1, 0)
        self._set_turn(question["turn"], left, [*turn["decided"], question])
        self._set_open([each for each in await self.open() if each["id"] != question["id"]])
        await self._remember([question])
        return not left

    async def take(self, turn: str) -> tuple[Any, list[Question]] | None:
        """Remove a turn whose questions are all decided. Returns snapshot and questions; None for any other turn."""
        found = await self._ctx.get(TURN + turn)
        if found is None or found["open"]:
            return None
        snapshot = await self._ctx.get(SNAPSHOT + turn)
        self._forget(turn)
        return snapshot, found["decided"]

    async def withdraw(self) -> None:
        """Remove all turns, also decided ones, and withdraw their open questions: they accept no more answers."""
        withdrawn = await self.open()
        self._set_open([])
        await self._remember([each | {"outcome": WITHDRAWN} for each in withdrawn])
        for name in await self._ctx.state_keys():
            if name.startswith((TURN, SNAPSHOT)):
                self._ctx.clear(name)

    async def _remember(self, questions: Iterable[Question]) -> None:
        self._decided = [*await self.decided(), *map(_shortened, questions)][-DECIDED_MAX:]
        self._ctx.set(DECIDED, {"rewake": _VERSION, "decided": self._decided})

    def _set_open(self, questions: list[Question]) -> None:
        self._open = questions
        if questions:
            self._ctx.set(OPEN, {"rewake": _VERSION, "open": questions})
        else:
            self._ctx.clear(OPEN)

    def _set_turn(self, turn: str, left: int, decided: list[Question]) -> None:
        self._ctx.set(TURN + turn, {"rewake": _VERSION, "open": left, "decided": decided})

    def _forget(self, turn: str) -> None:
        self._ctx.clear(TURN + turn)
        self._ctx.clear(SNAPSHOT + turn)


def refusal(question: Question, sent: Sent, now_ms: int) -> Refusal | None:
    """The reason for refusing an answer to an open question; None if the answer is accepted."""
    deadline_ms = question.get("deadline_at_ms")
    if sent.digest is not None and sent.digest != question["digest"]:
        return Refusal("RW4029", "The answer is for other arguments than those that wait.")
    if deadline_ms is not None and now_ms >= deadline_ms:
        return Refusal("RW4028", "The deadline has passed; nobody had answered in time.")
    who = (sent.answer.who or "").strip()
    if question["quorum"] > 1 and not who:
        return Refusal("RW4030", f"{question['quorum']} people must approve, and the answer has no name.")
    if any((each.who or "").strip().casefold() == who.casefold() for each in answers_of(question)):
        return Refusal("RW4030", f"{who} has answered already.")
    return None


def late(question: Question | None) -> Refusal:
    """The reason for refusing an answer to a question that is not open. question: as remembered; None if unknown."""
    if question is None:
        return Refusal("RW4026", "No such question waits here.")
    outcome = question["outcome"]
    if outcome == WITHDRAWN:
        return Refusal("RW4031", "The turn that asked has ended without an answer.")
    if outcome == Outcome.EXPIRED:
        return Refusal("RW4028", "The deadline has passed; nobody had answered in time.")
    by = f" by {question['decided_by']}" if question.get("decided_by") else ""
    return Refusal("RW4027", f"It has been {outcome} already{by}; nothing was changed.")


def with_answer(question: Question, answer: Answer, at_ms: int) -> Question:
    """The question with a further answer, and with its outcome if this answer decides it."""
    given = {**answer_json(answer), "at_ms": at_ms}
    found = question | {"answers": [*question["answers"], given]}
    if not answer.is_approved:
        return ended(found, Outcome.DENIED, at_ms)
    return found if missing(found) else ended(found, Outcome.APPROVED, at_ms)


def ended(question: Question, outcome: Outcome, at_ms: int) -> Question:
    """The question with its outcome. Name and reason are those of the last answer that counted."""
    last = question["answers"][-1] if question["answers"] and outcome is not Outcome.EXPIRED else {}
    told: dict[str, Any] = {"outcome": outcome.value, "decided_at_ms": at_ms}
    told |= {"decided_by": last.get("who"), "reason": last.get("why")}
    return question | {name: value for name, value in told.items() if value is not None}


def decision_json(question: Question) -> dict[str, Any]:
    """The outcome of a decided question, in the form in which ask() stores decisions in journals."""
    told: dict[str, Any] = {name: question.get(name) for name in ("outcome", "id", "digest")}
    told |= {"at_ms": question["decided_at_ms"], "who": question.get("decided_by"), "why": question.get("reason")}
    told |= {"answers": question["answers"]}
    return {name: value for name, value in told.items() if value not in (None, [])}


def redefined(question: Question, definition: str, why: str) -> Question:
    """The question as people must answer it again. It has a new digest, so earlier pages and links do not fit."""
    digest = hashlib.sha256(f"{question['arguments']}\0{definition}".encode("utf-8", "surrogatepass")).hexdigest()
    return question | {"definition": definition, "digest": digest, "refused": why, "answers": []}


def missing(question: Question) -> int:
    """How many people must still approve."""
    return max(int(question["quorum"]) - len(question["answers"]), 0)


def answers_of(question: Mapping[str, Any]) -> list[Answer]:
    """The question's answers that counted."""
    return [answer_from(each) for each in question["answers"]]


def _shortened(question: Question) -> Question:
    is_long = len(json.dumps(question.get("arguments", ""))) > _ARGUMENTS_CHARS_MAX
    return {name: each for name, each in question.items() if name != "arguments"} if is_long else question
