"""Approvals: a run's questions to people, their outcomes, and the check of a new answer.

Only the journal is read: the steps of `ask()` and the signals that arrived. The pages, the admin API and the CLI use
this for runs here and on other servers. Only `checked` refuses answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from rewake import formats
from rewake.agents.approvals import KIND, Asked, Decided, Given, asked_in, given_in, outcome_in
from rewake.core import ids
from rewake.core.ids import InvalidId
from rewake.core.model import Invocation, Status
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol import messages as m
from rewake.protocol.messages import MessageType
from rewake.runs.displays import carried
from rewake.runs.reading import Reading
from rewake.runs.steps import decoded, version_of

_QUESTION_BYTES_MAX: Final = 4 << 20
_MARK: Final = f'"kind":"{KIND}"'


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A question of one run. state: `waiting`, `answered` (the run has not gone on yet), one of OUTCOMES, or `ended`.

    `ended`: the run ended before an outcome.   given: the answers so far.   slots: awakeables without an answer.
    names: all its awakeables.   is_paused: the run reads an answer only after it is resumed.   keeper: service and key
    of the object that keeps it between turns, None for one of an open run.
    """

    asked: Asked
    run_id: str
    target: str
    state: str
    given: tuple[Given, ...] = ()
    slots: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    decided: Decided | None = None
    is_paused: bool = False
    keeper: tuple[str, str] | None = None

    @property
    def id(self) -> str:
        """The question's lasting id."""
        return self.asked.id

    @property
    def missing(self) -> int:
        """How many people must still approve."""
        return max(self.asked.quorum - sum(each.approved for each in self.given), 0)

    @property
    def more_needed(self) -> str:
        """A sentence to follow "approved", with a leading space; empty if no answer is missing."""
        return f" {self.missing} more must approve." if self.missing else ""


def approvals_of(reading: Reading, invocation: Invocation) -> list[Approval]:
    """All questions of a run, in the order they were asked."""
    asked: dict[str, Asked] = {}
    slots: dict[str, list[str]] = {}
    decided: dict[str, Decided] = {}
    for type_, payload in reading.mentions(invocation.id, _MARK, -1, _QUESTION_BYTES_MAX):
        result = carried(decoded(type_, payload, version_of(invocation)))
        content = result.content if isinstance(result, m.Success) else None
        if (question := asked_in(content)) is not None and _is_own(question, invocation.id):
            asked[question.id] = question
            slots[question.id] = [*dict.fromkeys((*slots.get(question.id, ()), *question.awakeables))]
        elif (outcome := outcome_in(content)) is not None:
            decided[outcome.id] = outcome
    come = _come(reading, invocation, [each for names in slots.values() for each in names]) if asked else {}
    return [
        _approval(reading.now_ms, invocation, question, slots[question.id], come, decided.get(question.id))
        for question in asked.values()
    ]


def checked(approval: Approval, answer: Given, now_ms: int) -> str:
    """The awakeable to resolve with an answer. Raises RewakeError RW4027 to RW4031 if the answer is refused."""
    asked = approval.asked
    if answer.digest and answer.digest != asked.digest:
        raise RewakeError(
            ErrorCode.APPROVAL_CHANGED,
            "The answer is for other arguments than those that wait.",
            "Look at the arguments again, then answer.",
            http_status=409,
        )
    if approval.state != "waiting":
        raise came_late(approval)
    if asked.deadline_at_ms is not None and now_ms >= asked.deadline_at_ms:
        raise came_late(msgspec.structs.replace(approval, state="expired"))
    if asked.quorum > 1:
        _check_person(approval, answer)
    return approval.slots[0]


def is_counted(approval: Approval, answer: Given) -> bool:
    """Whether an answer that was sent counts."""
    return any((each.who, each.at_ms) == (answer.who, answer.at_ms) for each in approval.given)


def came_late(approval: Approval) -> RewakeError:
    """RW4027, RW4028 or RW4031: the reason why an answer comes too late."""
    asked, decided = approval.asked, approval.decided
    if approval.state == "expired":
        message = "The deadline has passed; nobody had answered in time."
        return RewakeError(ErrorCode.APPROVAL_EXPIRED, message, "The run has gone on without.", http_status=410)
    if approval.state == "ended":
        message = "The run that asked has ended without an answer."
        hint = f"It was cancelled, killed, or failed: rewake invocations show {approval.run_id}"
        return RewakeError(ErrorCode.APPROVAL_RUN_ENDED, message, hint, http_status=410)
    if approval.state == "answered" and approval.missing and all(each.approved for each in approval.given):
        message = "Another answer has just come, which the run has not read yet."
        return RewakeError(ErrorCode.APPROVAL_ANSWERED, message, "Look again in a moment.", http_status=409)
    last = approval.given[-1] if approval.given else None
    outcome = decided.outcome if decided is not None else "approved" if last and last.approved else "denied"
    by = f" by {last.who}" if last is not None and last.who else ""
    message = f"It has been {outcome} already{by}; nothing was changed."
    return RewakeError(ErrorCode.APPROVAL_ANSWERED, message, "The first answer counts.", http_status=409, id=asked.id)


def answer_body(answer: Given) -> bytes:
    """The value for the awakeable, in the form that ask() reads."""
    told = {"approved": answer.approved, "who": answer.who, "why": answer.why, "digest": answer.digest}
    return msgspec.json.encode({name: each for name, each in told.items() if each != ""} | {"at_ms": answer.at_ms})


def asker(asked: Asked) -> str:
    """The question, on one line."""
    wanted = f"{asked.agent or 'An agent'} wants to call {asked.tool}" if asked.tool else "A question without words"
    return formats.safe(asked.question or wanted)


def approval_json(approval: Approval) -> dict[str, Any]:
    """One approval for programs: its question and its state, without empty fields."""
    asked = msgspec.structs.asdict(approval.asked)
    told: dict[str, Any] = {
        "id": approval.id,
        "state": approval.state,
        "invocation_id": approval.run_id,
        "target": approval.target,
    }
    told |= {name: value for name, value in asked.items() if name not in ("id", "awakeables")}
    told |= {"paused": True} if approval.is_paused else {}
    told |= {"missing": approval.missing, "answers": [_given_json(each) for each in approval.given]}
    if approval.decided is not None:
        told["decided_at_ms"] = approval.decided.at_ms
    return {name: value for name, value in told.items() if value not in ("", None, ())}


def _given_json(given: Given) -> dict[str, Any]:
    told = msgspec.structs.asdict(given)
    return {name: value for name, value in told.items() if value not in ("", None)}


# Within


def _approval(
    now_ms: int,
    invocation: Invocation,
    asked: Asked,
    names: Sequence[str],
    come: dict[str, Given | None],
    decided: Decided | None,
) -> Approval:
    given = _counted(asked, (answer for name, answer in come.items() if name in names and answer is not None))
    target = invocation.target
    key = "" if target.key is None else f"/{target.key}"
    approval = Approval(
        asked=asked,
        run_id=ids.invocation_id_to_str(invocation.id),
        target=f"{target.service}{key}/{target.handler}",
        state="waiting",
        given=given if decided is None else decided.answers,
        slots=tuple(name for name in names if name not in come),
        names=tuple(names),
        decided=decided,
        is_paused=invocation.status is Status.PAUSED,
    )
    return msgspec.structs.replace(approval, state=_state(now_ms, invocation, approval))


def _counted(asked: Asked, said: Iterable[Given]) -> tuple[Given, ...]:
    """The answers that ask() counts: each person's first answer for these arguments."""
    found: list[Given] = []
    for answer in said:
        if answer.digest in ("", asked.digest) and not any(each.is_of(answer.who) for each in found):
            found.append(answer)
    return tuple(found)


def _state(now_ms: int, invocation: Invocation, approval: Approval) -> str:
    if approval.decided is not None:
        return approval.decided.outcome
    if invocation.status is Status.COMPLETED:
        return "ended"
    is_denied = any(not each.approved for each in approval.given)
    if is_denied or not approval.missing or not approval.slots:
        return "answered"
    return waiting_or_expired(now_ms, approval.asked)


def waiting_or_expired(now_ms: int, asked: Asked) -> str:
    """The state of a question that nobody has decided."""
    return "waiting" if asked.deadline_at_ms is None or now_ms < asked.deadline_at_ms else "expired"


def _come(reading: Reading, invocation: Invocation, names: Sequence[str]) -> dict[str, Given | None]:
    """The resolved awakeables, each with its answer; None if the value is not an answer."""
    wanted = {ids.awakeable_id_parse(name)[1]: name for name in names}
    if not wanted.keys() & reading.signals(invocation.id):
        return {}
    entries = [entry for entry in reading.entries(invocation.id) if entry.signal in wanted]
    payloads = reading.payloads(invocation.id, [entry.index for entry in entries])
    found: dict[str, Given | None] = {}
    for entry in entries:
        message = decoded(MessageType(entry.type_id), payloads.get(entry.index, b""), version_of(invocation))
        found[wanted[entry.signal]] = _said(message)  # type: ignore[index]  # awakeables have numbers
    return found


def _said(message: Any) -> Given | None:
    result = message.result if isinstance(message, m.Signal) else None
    if isinstance(result, m.Failure):
        return Given(approved=False, why=result.message)
    return given_in(result.content) if isinstance(result, m.Success) else None


def _is_own(asked: Asked, invocation_id: bytes) -> bool:
    """Whether its awakeables belong to this run: a journal may claim anything, and a fork keeps its origin's ids."""
    try:
        return all(ids.awakeable_id_parse(name)[0] == invocation_id for name in (asked.id, *asked.awakeables))
    except InvalidId:
        return False


def _check_person(approval: Approval, answer: Given) -> None:
    if not answer.who.strip():
        raise RewakeError(
            ErrorCode.APPROVAL_PERSON_REFUSED,
            f"{approval.asked.quorum} people must approve, and the answer has no name.",
            "Say who answers, so that each person counts once.",
            http_status=400,
        )
    if any(each.is_of(answer.who) for each in approval.given):
        raise RewakeError(
            ErrorCode.APPROVAL_PERSON_REFUSED,
            f"{answer.who.strip()} has answered already.{approval.more_needed}",
            "Each person counts once.",
            http_status=409,
        )
