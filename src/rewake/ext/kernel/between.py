"""Questions between turns: a run stores its questions in its object and ends; their answers start the next turn.

No invocation is open while people decide, so the next turn runs on the code that is deployed then. Before an approval
is accepted, the definition of agent and tool in the current code is compared with the one stored in the question. If
they differ, the approval is refused, and people must look again.

Handlers of the object, stored names: `answer_approval` takes an answer of a person, from anywhere; `approval_due`
handles a reminder or a deadline; `continue_turn` runs the next turn. The ingress does not offer the last two. Steps:
`Medical: ask pay`, `Medical: notify pay`, `keep the turn`, `check the answer`, `Medical: answer pay`, `Medical: remind
pay`. Uses the SDK's public Context alone.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar

import restate
from restate import ObjectContext, TerminalError

from rewake.ext.kernel import keeping
from rewake.ext.kernel.approvals import ApprovalRequest, Decision, Outcome, Unusable, decision_from, moment, sent_answer
from rewake.ext.kernel.asking import Approvals, Terms
from rewake.ext.kernel.context import durable_context
from rewake.ext.kernel.envelope import Envelope
from rewake.ext.kernel.keeping import OPEN_MAX, Kept, Question, Refusal
from rewake.ext.kernel.links import link_maker
from rewake.ext.kernel.run import Run, run_of

ANSWER: Final = "answer_approval"
"""The handler that takes answers."""

Next = TypeVar("Next", bound=Callable[..., Awaitable[Any]])
Taken = Callable[[ObjectContext, Question, str | None], Awaitable[None]]

STALE: Final = "RW4034"
_TOO_MANY: Final = 409


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question to store. about: the call that it belongs to."""

    terms: Terms
    about: Envelope


class TurnKeeper(ABC, Generic[Next]):
    """Keeps the questions of a kind of virtual object. Base of the `BetweenTurns` of each framework and of leaving.py.

    service: the object; it gets the handlers of this module.   approvals: how questions are asked, see `ask`. Raises
    ValueError if the object has these handlers already.
    """

    def __init__(self, service: restate.VirtualObject, approvals: Approvals | None = None) -> None:
        self._service = service
        self._approvals = approvals or Approvals()
        self._next: Next | None = None
        self.on_taken: Taken | None = None
        """Called with each decided question; after the last one of a turn also with the invocation of the next turn."""
        self._register()

    def next_turn(self, function: Next) -> Next:
        """Decorator: the function runs when all questions of a turn are decided. The class says what it gets."""
        self._next = function
        return function

    @property
    def following(self) -> Next:
        """The function that `next_turn` was given."""
        assert self._next is not None, "BetweenTurns.next_turn names the function that goes on"
        return self._next

    @abstractmethod
    def definition(self, question: Mapping[str, Any]) -> str:
        """The fingerprint of a question's agent and tool in the current code. Raises LookupError if they are gone."""

    @abstractmethod
    async def go_on(self, ctx: ObjectContext, snapshot: Any, decisions: Mapping[str, Decision]) -> Any:
        """Run the next turn. snapshot: as stored by `put`.   decisions: by the ids of the calls."""

    async def put(self, run: Run, asked: Sequence[Asked], snapshot: Callable[[], Any]) -> str:
        """Store questions, and the snapshot from which the next turn continues. Returns the id of the turn.

        snapshot: returns JSON; called in a step. Raises TerminalError 409 if the object would have too many open
        questions.
        """
        ctx: Any = durable_context()
        kept = Kept(ctx)
        if len(await kept.open()) + len(asked) > OPEN_MAX:
            raise TerminalError(f"More than {OPEN_MAX} questions would wait in {ctx.key()!r}.", _TOO_MANY)
        turn = run.draw_id().hex
        questions = [await self._ask(run, each, turn) for each in asked]
        left = await run.step("keep the turn", snapshot)
        await kept.add(turn, questions, left)
        for each in questions:
            self._schedule_deadline(ctx, each)
            await self._notify(run, each, "notify")
            self._schedule_reminder(ctx, each, 0, each["asked_at_ms"])
        return turn

    async def withdraw(self) -> None:
        """Withdraw the questions of all waiting turns; call it in a handler of the object. Later answers get RW4031."""
        await Kept(durable_context()).withdraw()

    # Asking

    async def _ask(self, run: Run, asked: Asked, turn: str) -> Question:
        terms, about = asked.terms, asked.about
        id_ = keeping.question_id(self._service.name, durable_context().key(), str(run.draw_id()))  # type: ignore[attr-defined]
        told: dict[str, Any] = {"id": id_, "question": terms.question, "arguments": terms.arguments}
        told |= {"digest": terms.digest, "who": list(terms.who), "quorum": terms.quorum, "kept": turn}

        async def body() -> Envelope:
            now_ms = _now_ms()
            times = {"asked_at_ms": now_ms, "deadline_at_ms": terms.deadline_ms(now_ms)}
            return about.with_value(told | times | {"definition": self.definition(_facts(about))})

        stored = (await run.record(_step("ask", about.agent, about.tool), body)).value
        shown = {name: each for name, each in stored.items() if name != "kept"}
        return _facts(about) | shown | {"turn": turn, "invocation": run.invocation_id, "answers": []}

    async def _notify(self, run: Run, question: Question, what: str, reminder: int = 0) -> int:
        """Send the request to people, if there is a `notify`. Returns the journaled time of the request."""
        notify = self._approvals.notify
        if notify is None:
            return int(question["asked_at_ms"])
        request = _request(run, question, reminder)

        async def once() -> int:
            await notify(request)
            return _now_ms()

        found: int = await run.step(_step(what, question.get("agent"), question.get("tool")), once)
        return found

    def _schedule_deadline(self, ctx: Any, question: Question) -> None:
        if (at_ms := question["deadline_at_ms"]) is not None:
            self._send_due(ctx, {"id": question["id"]}, at_ms - question["asked_at_ms"])

    def _schedule_reminder(self, ctx: Any, question: Question, number: int, at_ms: int) -> None:
        passed_ms = at_ms - question["asked_at_ms"]
        found = self._approvals.terms("").reminder_after_ms(number, passed_ms)
        deadline_ms = question["deadline_at_ms"]
        if found is not None and (deadline_ms is None or question["asked_at_ms"] + found[1] < deadline_ms):
            self._send_due(ctx, {"id": question["id"], "reminder": found[0]}, found[1] - passed_ms)

    def _send_due(self, ctx: Any, due: dict[str, Any], after_ms: int) -> None:
        ctx.object_send(self._due_handler, ctx.key(), due, send_delay=timedelta(milliseconds=max(after_ms, 0)))

    # The handlers

    def _register(self) -> None:
        @self._service.handler(name=ANSWER)
        async def answer(ctx: ObjectContext, given: dict[str, Any]) -> dict[str, Any]:
            """Take a person's answer: {"id": "ask_1...", "approved": true, "who": "Ada", "why": "", "digest": ""}."""
            return await self._answer(ctx, given)

        @self._service.handler(name="approval_due", ingress_private=True)
        async def due(ctx: ObjectContext, what: dict[str, Any]) -> None:
            """Remind people of a question, or let it expire."""
            await self._due(ctx, what)

        @self._service.handler(name="continue_turn", ingress_private=True)
        async def continue_turn(ctx: ObjectContext, turn: str) -> Any:
            """Continue a turn when all of its questions are decided."""
            found = await Kept(ctx).take(turn)
            if found is None:
                return None
            snapshot, decided = found
            return await self.go_on(
                ctx, snapshot, {each["call"]: decision_from(keeping.decision_json(each)) for each in decided}
            )

        self._due_handler, self._continue = due, continue_turn

    async def _answer(self, ctx: ObjectContext, given: dict[str, Any]) -> dict[str, Any]:
        run, kept = run_of(ctx), Kept(ctx)
        id_ = str(given.get("id"))
        try:
            sent = sent_answer(json.dumps(given).encode())
        except Unusable as problem:
            raise TerminalError(str(problem), 400) from None
        question = await kept.find(id_)
        if question is None:
            return _refused(keeping.late(await kept.find_decided(id_)))
        looked = await run.step("check the answer", self._look, question)
        now_ms: int = looked["at_ms"]
        if (refusal := keeping.refusal(question, sent, now_ms)) is not None:
            return _refused(refusal)
        if sent.answer.is_approved and looked.get("definition") != question["definition"]:
            return _refused(await self._changed(run, kept, question, looked))
        found = keeping.with_answer(question, sent.answer, now_ms)
        if "outcome" in found:
            await self._close(ctx, run, kept, found)
        else:
            await kept.change(found)
        return {"id": id_, "state": found.get("outcome", "waiting"), "missing": keeping.missing(found)}

    async def _look(self, question: Question) -> dict[str, Any]:
        """The current time and the call's fingerprint in the current code, or the reason why it has none."""
        try:
            return {"at_ms": _now_ms(), "definition": self.definition(question)}
        except LookupError as problem:
            return {"at_ms": _now_ms(), "gone": str(problem.args[0])}

    async def _changed(self, run: Run, kept: Kept, question: Question, looked: dict[str, Any]) -> Refusal:
        """Refuse an approval because the code has changed. If agent and tool still exist, people are asked again."""
        if (gone := looked.get("gone")) is not None:
            return Refusal(STALE, f"{gone} Deny the question, or deploy code that has it.")
        tool = question.get("tool") or "the tool"
        why = f"The definition of {tool} has changed since the question was put."
        again = keeping.redefined(question, looked["definition"], why)
        await kept.change(again)
        await self._notify(run, again, "notify")
        return Refusal(STALE, f"{why} Look at it again: approving it now runs the call on today's code.")

    async def _due(self, ctx: ObjectContext, what: dict[str, Any]) -> None:
        run, kept = run_of(ctx), Kept(ctx)
        question = await kept.find(str(what.get("id")))
        if question is None:
            return
        if (number := what.get("reminder")) is None:
            at_ms = int(question["deadline_at_ms"])
            await self._close(ctx, run, kept, keeping.ended(question, Outcome.EXPIRED, at_ms))
        else:
            at_ms = await self._notify(run, question, "remind", number)
            self._schedule_reminder(ctx, question, number, at_ms)

    async def _close(self, ctx: ObjectContext, run: Run, kept: Kept, question: Question) -> None:
        """Journal the outcome. After the last question of a turn, start the next turn."""
        value, about = keeping.decision_json(question), _about(question)

        async def body() -> Envelope:
            return about.with_value(value)

        await run.record(_step("answer", about.agent, about.tool), body)
        is_last, next_turn = await kept.close(question), None
        if is_last:
            sent = ctx.object_send(self._continue, ctx.key(), question["turn"])
            next_turn = await sent.invocation_id()
        if self.on_taken is not None:
            await self.on_taken(ctx, question, next_turn)


def _facts(about: Envelope) -> dict[str, Any]:
    """The call that a question belongs to, in the stored form."""
    names = ("framework", "agent", "path", "calls", "call", "tool", "fingerprint")
    told = {name: getattr(about, name) for name in names}
    return {name: list(each) if isinstance(each, tuple) else each for name, each in told.items() if each}


def _about(question: Question) -> Envelope:
    fields: dict[str, Any] = {
        name: question[name] for name in ("agent", "call", "tool", "fingerprint") if name in question
    }
    fields |= {name: tuple(question.get(name, ())) for name in ("path", "calls")}
    return Envelope(kind="approval", framework=question["framework"], **fields)


def _request(run: Run, question: Question, reminder: int) -> ApprovalRequest:
    return ApprovalRequest(
        id=question["id"],
        agent=question.get("agent") or "",
        tool=question.get("tool") or "",
        arguments=question["arguments"],
        call_id=question.get("call") or "",
        question=question["question"],
        digest=question["digest"],
        who=tuple(question["who"]),
        quorum=question["quorum"],
        asked_at=moment(question["asked_at_ms"]),
        deadline=moment(question["deadline_at_ms"]),
        reminder=reminder,
        refused=question.get("refused", ""),
        links=link_maker(run.ctx, of_object=True),
    )


def _refused(found: Refusal) -> dict[str, Any]:
    return {"refused": found.code, "message": found.message}


def _step(what: str, agent: str | None, tool: str | None) -> str:
    return what if agent is None else f"{agent}: {what} {tool or ''}".rstrip()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
