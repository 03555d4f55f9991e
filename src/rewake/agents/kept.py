"""Reads the questions that objects keep in their state between turns; rewake.ext.kernel.keeping writes them.

The input may be hostile: a field of an unexpected type counts as absent.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from rewake.agents import approvals
from rewake.agents.approvals import Asked, Decided, Given, given_from
from rewake.agents.replies import loaded

OPEN: Final = b"rewake.approvals"
DECIDED: Final = b"rewake.approvals.decided"
ANSWER: Final = "answer_approval"
"""The object's handler for answers."""

QUESTIONS_MAX: Final = 100
"""Questions read from one object."""

WITHDRAWN: Final = "withdrawn"
_OUTCOMES: Final = (*approvals.OUTCOMES, WITHDRAWN)


class KeptQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A question in state. run_id: the run that asked it.   given: the answers that counted.

    decided: the decision, with an outcome of OUTCOMES or `withdrawn`; None while the question is open.
    """

    asked: Asked
    run_id: str
    given: tuple[Given, ...] = ()
    decided: Decided | None = None


def kept_in(value: bytes | None) -> list[KeptQuestion]:
    """The questions in a state value OPEN or DECIDED."""
    said = loaded(value) if value else None
    if not isinstance(said, dict) or said.get("rewake") != 1:
        return []
    listed = said.get("open") or said.get("decided")
    found = map(_question, listed[:QUESTIONS_MAX] if isinstance(listed, list) else [])
    return [each for each in found if each is not None]


def _question(said: Any) -> KeptQuestion | None:
    if not isinstance(said, dict) or not (id_ := approvals.text(said.get("id"))):
        return None
    answers = said.get("answers")
    given = [given_from(each) for each in answers[: approvals.TEXTS_MAX]] if isinstance(answers, list) else []
    counted = tuple(each for each in given if each is not None)
    return KeptQuestion(
        asked=approvals.asked_from(id_, said),
        run_id=approvals.text(said.get("invocation")),
        given=counted,
        decided=_decided(id_, said, counted),
    )


def _decided(id_: str, said: dict[str, Any], answers: tuple[Given, ...]) -> Decided | None:
    outcome = approvals.text(said.get("outcome"))
    if outcome not in _OUTCOMES:
        return None
    return Decided(
        id=id_,
        outcome=outcome,
        digest=approvals.text(said.get("digest")),
        at_ms=approvals.at_ms(said.get("decided_at_ms")),
        who=approvals.text(said.get("decided_by")),
        why=approvals.text(said.get("reason")),
        answers=answers,
    )
