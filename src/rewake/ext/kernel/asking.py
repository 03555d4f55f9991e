"""`ask()`: wait for people, for minutes or months; the outcome is approved, denied or expired.

Entries of a question, stored data: one awakeable for each person of the quorum; the step `ask` with the question; the
step `notify`, if the user gave one; timers for the deadline and the next reminder, and a step `remind` for each; the
step `answer` with the outcome. If an answer is unusable (another digest, the same person again, neither yes nor no),
another awakeable is opened with a further `ask`, and the question stays open. Uses the SDK's public Context alone.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from restate import RestateDurableFuture, TerminalError
from restate.serde import BytesSerde

from rewake.ext.kernel.approvals import (
    Answer,
    ApprovalRequest,
    Decision,
    Notify,
    Outcome,
    Unusable,
    answer_json,
    arguments_text,
    decision_from,
    digest_of,
    moment,
    sent_answer,
)
from rewake.ext.kernel.context import durable_context
from rewake.ext.kernel.envelope import Envelope
from rewake.ext.kernel.errors import arguments_changed, never_answered
from rewake.ext.kernel.links import link_maker
from rewake.ext.kernel.run import FRAMEWORK, Run, cancelled, current_run

REMINDERS_MAX: Final = 100
REFUSALS_MAX: Final = 20
QUORUM_MAX: Final = 20

asker_here: ContextVar[Envelope | None] = ContextVar("rewake_asker", default=None)
"""The call of a tool whose body runs here, as adapters set it: a question of the body is asked by its agent."""

Reminders = timedelta | Sequence[timedelta] | None


async def ask(
    question: str,
    args: Any = None,
    *,
    who: str | Sequence[str] = (),
    deadline: timedelta | datetime | None = None,
    remind: Reminders = None,
    quorum: int = 1,
    notify: Notify | None = None,
) -> Decision:
    """Ask people for their approval and wait, suspended, until it is decided. Call it in a handler or in a tool.

    args: the exact arguments to approve: JSON, a pydantic model, a dataclass, or a text. An answer for other arguments
    is refused. who: the persons who are asked, as shown in lists. deadline: a time from now, or a moment; by default it
    waits for ever. remind: an interval, or times after the question; each calls `notify` again. quorum: how many people
    must approve; each counts once, and one denial denies. notify: sends the request to people; runs as a step.

    Returns the decision: approved, denied, or expired. Raises TerminalError 409 if the invocation is cancelled,
    ArgumentsChanged if the code asks with other arguments at replay, ValueError and TypeError for invalid arguments.
    """
    approvals = Approvals(who=who, deadline=deadline, remind=remind, quorum=quorum, notify=notify)
    terms = approvals.terms(question, args)
    run = current_run()
    if run is None:  # raises: outside of a handler, or to have the tool run as a branch
        durable_context().awakeable()
        raise AssertionError("a context that makes entries has a run")
    call = asker_here.get()
    if call is None:
        return await asked(run, terms, Envelope(kind="approval", framework=FRAMEWORK))
    return await asked(run, terms, dataclasses.replace(call, kind="approval", value=None, attempts=1, branch=False))


ask.rewake_uses_context = True  # type: ignore[attr-defined]  # see detect.py


@dataclass(frozen=True, kw_only=True)
class Approvals:
    """How questions are asked; the fields are those of `ask`. Raises ValueError or TypeError as `ask` does."""

    who: str | Sequence[str] = ()
    deadline: timedelta | datetime | None = None
    remind: Reminders = None
    quorum: int = 1
    notify: Notify | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.quorum <= QUORUM_MAX:
            raise ValueError(f"quorum is {self.quorum}: it must be from 1 to {QUORUM_MAX} people.")
        if self.remind is not None and self.notify is None:
            raise ValueError("remind needs notify: a reminder is another call of it.")
        if isinstance(self.deadline, datetime) and self.deadline.tzinfo is None:
            raise ValueError(
                f"deadline is {self.deadline}, without a time zone: use datetime.now(UTC) + ..., or a timedelta."
            )
        _checked(self.remind)

    def terms(self, question: str, args: Any = None) -> Terms:
        """The terms of one question. Raises TypeError for invalid arguments."""
        return Terms(self, question, args)


class Terms:
    """The question, the people who are asked, and the deadline."""

    def __init__(self, approvals: Approvals, question: str, args: Any) -> None:
        who = approvals.who
        self.question = question
        self.arguments = arguments_text(args)
        self.digest = digest_of(self.arguments, question)
        self.who = (who,) if isinstance(who, str) else tuple(who)
        self.deadline, self.remind = approvals.deadline, _checked(approvals.remind)
        self.quorum, self.notify = approvals.quorum, approvals.notify

    def deadline_ms(self, asked_at_ms: int) -> int | None:
        """The time after which no answer is accepted."""
        if isinstance(self.deadline, datetime):
            return round(self.deadline.timestamp() * 1000)
        return None if self.deadline is None else asked_at_ms + _ms(self.deadline)

    def reminder_after_ms(self, number: int, passed_ms: int) -> tuple[int, int] | None:
        """The next reminder: its number, and its milliseconds after the question. Missed ones are skipped."""
        if self.remind is None or number >= REMINDERS_MAX:
            return None
        if isinstance(self.remind, timedelta):
            every_ms = _ms(self.remind)
            following = max(number + 1, passed_ms // every_ms + 1)
            return following, following * every_ms
        left = [(place, _ms(each)) for place, each in enumerate(self.remind, 1)]
        return next(((place, at_ms) for place, at_ms in left if place > number and at_ms > passed_ms), None)


@dataclass
class _Question:
    """One open question."""

    run: Run
    terms: Terms
    about: Envelope
    slots: dict[str, RestateDurableFuture[bytes]]
    id: str
    arguments: str
    digest: str
    asked_at_ms: int = 0
    deadline_ms: int | None = None
    answers: list[Answer] = field(default_factory=list)
    refusals: int = 0

    def named(self, what: str) -> str:
        """The name of a step."""
        if self.about.agent is None:
            return what
        return f"{self.about.agent}: {what} {self.about.tool or ''}".rstrip()

    def stored(self, **more: Any) -> dict[str, Any]:
        """The value of the question's envelope."""
        terms = self.terms
        told: dict[str, Any] = {"id": self.id, "awakeables": [*self.slots], "question": terms.question}
        told |= {"arguments": self.arguments, "digest": self.digest, "who": list(terms.who), "quorum": terms.quorum}
        return told | more

    def request(self, **more: Any) -> ApprovalRequest:
        """The request for the user's notify."""
        return ApprovalRequest(
            id=next(iter(self.slots), self.id),
            agent=self.about.agent or "",
            tool=self.about.tool or "",
            arguments=self.arguments,
            call_id=self.about.call or "",
            question=self.terms.question,
            digest=self.digest,
            who=self.terms.who,
            quorum=self.terms.quorum,
            asked_at=moment(self.asked_at_ms),
            deadline=moment(self.deadline_ms),
            links=link_maker(self.run.ctx),
            **more,
        )


async def asked(run: Run, terms: Terms, about: Envelope) -> Decision:
    """`ask` for an adapter. about: the call that needs approval; the steps are named after its agent and tool."""
    question = await _put(run, terms, about)
    decision = await _waited(question)
    if question.digest != terms.digest:  # not before: the entries of the question are in the journal already
        raise arguments_changed(terms.question, question.arguments, terms.arguments)
    return decision


async def _waited(question: _Question) -> Decision:
    run, terms = question.run, question.terms
    if terms.notify is not None:
        await run.step(question.named("notify"), _once, terms.notify, question.request())
    deadline = await _timer(question, question.deadline_ms, "deadline")
    number, due_ms = _next_reminder(question, 0, 0)
    reminder = await _timer(question, due_ms, "reminder")
    while True:
        timers = [each for each in (deadline, reminder) if each is not None]
        done = await run.first(*question.slots.values(), *timers)
        if done is deadline:
            return await _decided(question, Outcome.EXPIRED)
        if done is reminder:
            number, due_ms = _next_reminder(question, number, await _reminded(question, number))
            reminder = await _timer(question, due_ms, "reminder")
        elif (outcome := await _taken(question, done)) is not None:
            return await _decided(question, outcome)


async def _put(run: Run, terms: Terms, about: Envelope) -> _Question:
    await run.rounds.settle()
    slots = dict(_slot(run) for _ in range(terms.quorum))
    question = _Question(run, terms, about, slots, next(iter(slots)), terms.arguments, terms.digest)

    async def body() -> Envelope:
        now_ms = time.time_ns() // 1_000_000
        return about.with_value(question.stored(asked_at_ms=now_ms, deadline_at_ms=terms.deadline_ms(now_ms)))

    stored = (await run.record(question.named("ask"), body)).value
    question.arguments, question.digest = stored["arguments"], stored["digest"]  # what people are shown
    question.asked_at_ms, question.deadline_ms = stored["asked_at_ms"], stored["deadline_at_ms"]
    return question


def _slot(run: Run) -> tuple[str, RestateDurableFuture[bytes]]:
    """An awakeable for one answer; its bytes are read here, so that no answer can break the attempt."""
    run.turns.claim()
    slot: tuple[str, RestateDurableFuture[bytes]] = run.ctx.awakeable(serde=BytesSerde())
    return slot


async def _timer(question: _Question, at_ms: int | None, name: str) -> RestateDurableFuture[None] | None:
    if at_ms is None:
        return None
    await question.run.rounds.settle()
    question.run.turns.claim()
    # Until a stored moment, whatever the time now: a replay has the timer already.
    left_ms = max(at_ms - time.time_ns() // 1_000_000, 0)
    return question.run.ctx.sleep(timedelta(milliseconds=left_ms), name)


def _next_reminder(question: _Question, number: int, passed_ms: int) -> tuple[int, int | None]:
    """Number and time of the next reminder; the time is None if the question has ended by then."""
    found = question.terms.reminder_after_ms(number, passed_ms)
    if found is None:
        return number, None
    at_ms = question.asked_at_ms + found[1]
    return found[0], None if question.deadline_ms is not None and at_ms >= question.deadline_ms else at_ms


async def _reminded(question: _Question, number: int) -> int:
    """Remind people. Returns the milliseconds since the question, as journaled."""
    request = question.request(reminder=number)
    at_ms = await question.run.step(question.named("remind"), _once, question.terms.notify, request)
    return int(at_ms) - question.asked_at_ms


async def _once(notify: Notify, request: ApprovalRequest) -> int:
    """The body of a step that notifies people. Returns its time."""
    await notify(request)
    return time.time_ns() // 1_000_000


async def _taken(question: _Question, slot: RestateDurableFuture[Any]) -> Outcome | None:
    """Count an answer. Returns the outcome, None while more answers are needed."""
    token = next(name for name, each in question.slots.items() if each is slot)
    del question.slots[token]
    try:
        answer = await _answer(question, slot)
    except Unusable as refused:
        await _ask_again(question, str(refused))
        return None
    question.answers.append(answer)
    if not answer.is_approved:
        return Outcome.DENIED
    return Outcome.APPROVED if len(question.answers) >= question.terms.quorum else None


async def _answer(question: _Question, slot: RestateDurableFuture[Any]) -> Answer:
    """The answer in a slot. Raises Unusable if it does not count."""
    try:
        sent = sent_answer(await question.run.wait(slot))
    except TerminalError as rejected:
        if cancelled(rejected):
            raise
        return Answer(is_approved=False, why=rejected.message)  # rejected, as an awakeable is
    if sent.digest is not None and sent.digest != question.digest:
        raise Unusable("The answer was for other arguments.")
    if any(_is_same(sent.answer, each) for each in question.answers):
        raise Unusable(f"{sent.answer.who or 'Somebody without a name'} has answered already.")
    return sent.answer


def _is_same(one: Answer, other: Answer) -> bool:
    """Whether two answers are from one person. All answers without a name count as one person."""
    return (one.who or "").strip().casefold() == (other.who or "").strip().casefold()


async def _ask_again(question: _Question, refused: str) -> None:
    question.refusals += 1
    if question.refusals > REFUSALS_MAX:
        raise never_answered(question.terms.question, refused)
    await question.run.rounds.settle()
    token, future = _slot(question.run)
    question.slots[token] = future
    told = question.stored(
        asked_at_ms=question.asked_at_ms,
        deadline_at_ms=question.deadline_ms,
        refused=refused,
        answers=[*map(answer_json, question.answers)],
    )

    async def body() -> Envelope:
        return question.about.with_value(told)

    await question.run.record(question.named("ask"), body)
    if question.terms.notify is not None:
        request = dataclasses.replace(question.request(refused=refused), id=token)
        await question.run.step(question.named("notify"), _once, question.terms.notify, request)


async def _decided(question: _Question, outcome: Outcome) -> Decision:
    """Store how it ended."""

    async def body() -> Envelope:
        last = question.answers[-1] if question.answers and outcome is not Outcome.EXPIRED else None
        now_ms = time.time_ns() // 1_000_000
        at_ms = now_ms if last is None or last.at is None else round(last.at.timestamp() * 1000)
        told: dict[str, Any] = {
            "outcome": outcome.value,
            "id": question.id,
            "digest": question.digest,
            "at_ms": at_ms,
            "who": last and last.who,
            "why": last and last.why,
            "answers": [*map(answer_json, question.answers)],
        }
        return question.about.with_value({name: value for name, value in told.items() if value not in (None, [])})

    return decision_from((await question.run.record(question.named("answer"), body)).value)


def _checked(remind: Reminders) -> Reminders:
    each = [remind] if isinstance(remind, timedelta) else list(remind or ())
    if any(_ms(one) < 1 for one in each):
        raise ValueError("remind must be longer than nothing.")
    return remind if remind is None or isinstance(remind, timedelta) else sorted(remind)


def _ms(length: timedelta) -> int:
    return length // timedelta(milliseconds=1)
