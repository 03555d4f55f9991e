"""Questions between turns: no open run has them, so they are read from the state of their objects."""

from __future__ import annotations

from typing import Final

import msgspec

from rewake import formats
from rewake.agents.approvals import Given
from rewake.agents.kept import ANSWER, DECIDED, OPEN, WITHDRAWN, KeptQuestion, kept_in
from rewake.agents.replies import loaded
from rewake.core import ids
from rewake.core.ids import InvalidId
from rewake.disclosure import is_sealed, opened
from rewake.errors import ErrorCode, RewakeError
from rewake.runs.approvals import Approval, answer_body, waiting_or_expired
from rewake.runs.reading import Reading

KEYS_MAX: Final = 100
"""Objects that one page of the inbox reads."""

_HTTP_STATUS: Final = {
    ErrorCode.APPROVAL_NOT_FOUND: 404,
    ErrorCode.APPROVAL_EXPIRED: 410,
    ErrorCode.APPROVAL_RUN_ENDED: 410,
}
"""HTTP status of the object's refusals; all others are 409."""

_CONFLICT: Final = 409
_HINTS: Final = {
    ErrorCode.APPROVAL_STALE: "Look at the question again: rewake approvals show ID",
    ErrorCode.APPROVAL_CHANGED: "Look at the arguments again, then answer.",
    ErrorCode.APPROVAL_ANSWERED: "The first answer counts.",
}


def kept_of(reading: Reading, service: str, key: str) -> list[Approval]:
    """The open questions of one object, in the order they were asked."""
    return _approvals(reading, service, key, reading.state_value(service, key, OPEN))


class KeptPage(msgspec.Struct, frozen=True):
    """Open questions of some objects, each of which is (service, key).

    encrypted: objects whose questions no key here opens.   after: the last object, if more follow.
    """

    approvals: list[Approval]
    encrypted: list[tuple[str, str]]
    after: tuple[str, str] | None


def kept_page(reading: Reading, service: str, after: tuple[str, str]) -> KeptPage:
    """Open questions of the objects behind `after`, of one service or of all."""
    found = reading.asking_keys(service, after, KEYS_MAX + 1)
    shown = found[:KEYS_MAX]
    return KeptPage(
        approvals=[each for of, key, value in shown for each in _approvals(reading, of, key, value)],
        encrypted=[(of, key) for of, key, value in shown if is_sealed(value)],
        after=shown[-1][:2] if len(found) > KEYS_MAX else None,
    )


def kept_by_id(reading: Reading, approval_id: str) -> Approval | None:
    """A question by its id, open or remembered.

    Raises InvalidId for another kind of id, RewakeError RW1025 if it may be among encrypted ones.
    """
    service, key = ids.question_id_parse(approval_id)
    values = [reading.state_value(service, key, name) for name in (OPEN, DECIDED)]
    questions = (each for value in values for each in _approvals(reading, service, key, value))
    found = next((each for each in questions if each.id == approval_id), None)
    if found is None and any(value is not None and is_sealed(value) for value in values):
        raise RewakeError(
            ErrorCode.ENCRYPTION_KEYS_INVALID,
            f"The questions of {formats.safe(f'{service}/{key}')} are encrypted, and no key here opens them.",
            "Start the engine, the UI or the command with --encryption-keys SOURCE.",
            http_status=_CONFLICT,
        )
    return found


def call_body(approval: Approval, answer: Given) -> bytes:
    """The body for a call of the object's handler ANSWER."""
    return msgspec.json.encode({"id": approval.id} | msgspec.json.decode(answer_body(answer)))


def require_taken(content: bytes) -> None:
    """Check an object's reply to an answer. Raises RewakeError RW4026 to RW4034 if the answer was refused."""
    said = loaded(opened(content))
    code = said.get("refused") if isinstance(said, dict) else None
    if not isinstance(said, dict) or code not in set(ErrorCode):
        return
    found = ErrorCode(code)
    raise RewakeError(
        found, str(said.get("message")), _HINTS.get(found, ""), http_status=_HTTP_STATUS.get(found, _CONFLICT)
    )


def not_taken(approval: Approval, why: str) -> RewakeError:
    """The error for an object that did not accept the answer."""
    return RewakeError(
        ErrorCode.APPROVAL_STALE,
        f"{approval.target} takes no answers: {why}",
        f"Deploy code whose object has the handler {ANSWER!r}; rewake.ext adds it.",
        http_status=_CONFLICT,
    )


def _approvals(reading: Reading, service: str, key: str, value: bytes | None) -> list[Approval]:
    found = (_approval(reading.now_ms, service, key, each) for each in kept_in(value))
    return [each for each in found if each is not None]


def _approval(now_ms: int, service: str, key: str, kept: KeptQuestion) -> Approval | None:
    """The question; None if its id names another object: state may have any content, and a branch keeps old ids."""
    try:
        if ids.question_id_parse(kept.asked.id) != (service, key):
            return None
    except InvalidId:
        return None
    return Approval(
        asked=kept.asked,
        run_id=kept.run_id,
        target=f"{service}/{key}",
        state=_state(now_ms, kept),
        given=kept.given,
        slots=(kept.asked.id,),
        names=(kept.asked.id,),
        decided=kept.decided,
        keeper=(service, key),
    )


def _state(now_ms: int, kept: KeptQuestion) -> str:
    if kept.decided is not None:
        return "ended" if kept.decided.outcome == WITHDRAWN else kept.decided.outcome
    return waiting_or_expired(now_ms, kept.asked)
