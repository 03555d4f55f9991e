"""The chat's virtual object: one conversation for each key, one turn at a time, in the order of the messages.

State, stored data: `chat`: {"rewake": 1, "turns": 2, "steered": ["msg_3"]}; `turn/0000000` ...: one record for each
turn, written when it begins, when it asks people, when they have answered, when it takes further messages, and at its
end:

    {"rewake": 1, "id": "msg_1", "text": "I was charged twice", "invocation": "inv_1...", "status": "waiting",
     "steps": [...], "before": 2, "error": "..."}

`id` is the client's id of the message. `status` is running, waiting, ended, failed or stopped. `steps` has the form of
transcript.py, as of the last write. `steered` lists messages that a turn has taken from the inbox; each is removed when
the turn that was started for it has ended. A turn that waits between turns continues in another invocation; `before`
counts the steps of the earlier ones. While it waits, `chat` has `"waiting": true`, and `put_off` with the messages that
arrived; afterwards `due` lists the ids of those whose turns have not started. The same object stores the memory of the
agents, see kernel/sessions.py, and the questions, see kernel/keeping.py. Uses the SDK's public Context alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import restate
from restate import ObjectContext, ObjectSharedContext, TerminalError

from rewake.ext.chat.inbox import OPEN, DoubleText, Inbox, checked
from rewake.ext.chat.steering import taking_here
from rewake.ext.chat.transcript import Transcript, steered_in
from rewake.ext.kernel import Envelope, current_run, restate_context
from rewake.ext.kernel.envelope import as_json

CHAT: Final = "chat"
VERSION: Final = 1
TURNS_SHOWN: Final = 50
_CANCELLED: Final = 409
Record = dict[str, Any]


class Speak(Protocol):
    """Runs the agents for a message, or continues from their stored state. Returns the answer, None while it waits."""

    def __call__(self, *given: Any) -> Awaitable[str | None]: ...


def chat_objects(
    name: str, speak: Speak, double_text: DoubleText, *, keeps: bool = False
) -> list[restate.VirtualObject]:
    """The conversation's object and its inbox. speak: called in exclusive handlers, once for each turn.

    keeps: questions wait between turns. Raises TypeError if `speak` cannot store questions.
    """
    service = restate.VirtualObject(name)

    @service.handler()
    async def turn(ctx: ObjectContext, message: dict[str, Any]) -> str:
        """Answer one message: {"id": "...", "text": "..."}. The inbox starts it.

        Returns an empty text if another turn took the message, or if it must wait for one.
        """
        message_id, text = checked(message)
        if await _was_steered(ctx, message_id) or (keeps and await _is_put_off(ctx, message_id, text, turn)):
            return ""
        begun = _Turn(ctx, inbox, again, takes_all=double_text in ("steer", "interrupt"))
        return await begun.run(message_id, text, speak, is_steered=double_text == "steer")

    @service.handler(kind="shared")
    async def view(ctx: ObjectSharedContext, asked: dict[str, Any]) -> dict[str, Any]:
        """The conversation's newest turns, oldest first: {"count": 2, "turns": [...]}. asked: {"turns": 50}."""
        count = (await _meta(ctx))["turns"]
        wanted = max(1, int((asked or {}).get("turns") or TURNS_SHOWN))
        return {"count": count, "turns": await _newest(ctx, wanted)}

    @service.handler(kind="shared")
    async def about(ctx: ObjectSharedContext, asked: dict[str, Any]) -> dict[str, Any]:
        """The newest turn, and the turn of a message: {"status": ..., "invocation": ..., "turn": {...} or null}.

        asked: {"message": "msg_1"}. Neither contains texts.
        """
        turns = await _newest(ctx, TURNS_SHOWN)
        turn = next((each for each in reversed(turns) if has_message(each, asked["message"])), None)
        last = turns[-1] if turns else {"status": "ended", "invocation": None}
        found = None if turn is None else {"id": turn["id"], "invocation": turn["invocation"]}
        return {"status": last["status"], "invocation": last["invocation"], "turn": found}

    @service.handler(kind="shared")
    async def stop(ctx: ObjectSharedContext, asked: dict[str, Any]) -> bool:
        """Stop the open turn; {"turn": "msg_1"}: only if it is this one. Returns whether a turn was stopped."""
        record: dict[str, Any] = next(iter(await _newest(ctx, 1)), {})
        wanted = (asked or {}).get("turn")
        if record.get("status") not in OPEN or (wanted is not None and wanted != record["id"]):
            return False
        ctx.cancel_invocation(record["invocation"])
        if withdraw is not None and "waiting" in await _meta(ctx):  # its invocation has ended, or may never begin
            ctx.object_send(withdraw, ctx.key(), record["id"])
        return True

    def going_on(ctx: ObjectContext, record: Record) -> _Turn:
        return _Turn(ctx, inbox, again, takes_all=False, record=record)

    again = turn if keeps else None
    withdraw = _keep_questions(service, speak, going_on) if keeps else None
    inbox = Inbox(name, double_text, turn=turn, about=about, stop=stop)
    return [service, inbox.service]


def _keep_questions(
    service: restate.VirtualObject,
    speak: Speak,
    going_on: Callable[[ObjectContext, Record], _Turn],
) -> Any:
    """Let questions wait between turns. Returns the handler that withdraws them."""
    if not hasattr(speak, "keeper"):
        raise TypeError('approvals_wait="between_turns" works with agents only, not with a function.')
    questions = speak.keeper(service)
    questions.on_taken = _taken

    async def go_on(ctx: ObjectContext, *left: Any) -> str:
        return await going_on(ctx, await _last(ctx)).speak(speak, *left)

    questions.next_turn(go_on)

    @service.handler(ingress_private=True)
    async def withdraw(ctx: ObjectContext, message_id: str) -> None:
        """Stop a turn that waits between turns, and withdraw its questions."""
        record = await _last(ctx)
        if "waiting" in await _meta(ctx) and record["id"] == message_id:
            await questions.withdraw()
            await going_on(ctx, record).end("stopped", error="cancelled")

    return withdraw


async def _taken(ctx: ObjectContext, question: dict[str, Any], next_turn: str | None) -> None:
    """Record the decision of a question between turns, and the invocation that continues the turn."""
    record = await _last(ctx)
    transcript = Transcript(record["steps"])
    transcript.answered(question["id"], question["outcome"], question.get("reason"))
    if next_turn is not None:
        record |= {"status": "running", "invocation": next_turn, "before": len(transcript.steps)}
    ctx.set(_key((await _meta(ctx))["turns"] - 1), record | {"steps": transcript.steps})


class _Turn:
    """One turn, from the user's message until it ends or waits between turns.

    again: the handler for messages that arrived while a turn waited between turns; None if turns never do.   takes_all:
    when it begins, also take all other messages in the inbox.   record: of a turn that continues.
    """

    def __init__(
        self, ctx: ObjectContext, inbox: Inbox, again: Any, *, takes_all: bool, record: Record | None = None
    ) -> None:
        self._ctx, self._inbox, self._again, self._takes_all = ctx, inbox, again, takes_all
        self._record: Record = record or {}
        self._transcript = Transcript(self._record.get("steps"))
        self._number: int | None = None

    async def run(self, id: str, text: str, speak: Speak, *, is_steered: bool) -> str:
        """Begin the turn of a message. Raises the error that ends the agents' run."""
        await self._begin(id, text)
        return await self.speak(speak, text, is_steered=is_steered, is_first=True)

    async def speak(self, speak: Speak, *given: Any, is_steered: bool = False, is_first: bool = False) -> str:
        """Run the agents, and record what they say. Raises the error that ends their run."""
        run = current_run()
        assert run is not None, "a handler has a run"
        if self._number is None:
            self._number = (await _meta(self._ctx))["turns"] - 1
        run.listeners.append(self._recorded)
        taking = taking_here.set(self._take if is_steered else None)
        try:
            if is_first:
                given = ("\n\n".join([*given, *await self._first()]),)
            answer = await speak(*given)
        except TerminalError as error:
            is_stopped = error.status_code == _CANCELLED
            await self.end("stopped" if is_stopped else "failed", error=error.message)
            raise
        finally:
            taking_here.reset(taking)
            run.listeners.remove(self._recorded)
        if answer is None:
            self._store("waiting")
            self._ctx.set(CHAT, await _meta(self._ctx) | {"waiting": True})
            return ""
        if not hasattr(speak, "keeper"):  # a function: what it returns may be in no step of an agent
            self._transcript.conclude(answer)
        await self.end("ended")
        return answer

    async def end(self, status: str, **more: Any) -> None:
        """End the turn. If it waited between turns, start turns for the messages that arrived meanwhile."""
        if self._again is None:
            self._store(status, **more)
            return
        meta = await _meta(self._ctx)
        self._number = meta["turns"] - 1
        self._store(status, **more)
        if "waiting" not in meta:
            return
        put_off = meta.get("put_off", ())
        due = {"due": [message["id"] for message in put_off]} if put_off else {}
        self._ctx.set(CHAT, {name: each for name, each in meta.items() if name not in ("waiting", "put_off")} | due)
        for message in put_off:
            self._ctx.object_send(self._again, self._ctx.key(), message)

    async def _first(self) -> list[str]:
        """Take this turn's message out of the inbox. Returns the texts of others that this turn also answers."""
        if self._takes_all:
            return await self._take()
        self._ctx.object_send(self._inbox.take, self._ctx.key(), {"id": self._record["id"]})
        return []

    async def _take(self) -> list[str]:
        """The texts of messages that arrived meanwhile; each is stored in a step."""
        if (run := current_run()) is not None:
            await run.rounds.settle()
        ctx: Any = restate_context()
        asked = {"id": self._record["id"], "all": True}
        taken: list[dict[str, Any]] = await ctx.object_call(self._inbox.take, self._ctx.key(), asked)
        if taken:
            meta = await _meta(ctx)
            steered = [*meta.get("steered", ()), *(message["id"] for message in taken)]
            ctx.set(CHAT, meta | {"steered": steered})
        for message in taken:
            await self._keep({"id": message["id"], "text": message["text"]})
        return [message["text"] for message in taken]

    async def _keep(self, message: dict[str, Any]) -> None:
        run = current_run()
        assert run is not None, "a handler has a run"
        kept = Envelope(kind="steering", framework="kernel", value=message)

        async def body() -> Envelope:
            return kept

        await run.record(kept.kind, body)

    async def _begin(self, id: str, text: str) -> None:
        meta = await _meta(self._ctx)
        self._number = meta["turns"]
        self._ctx.set(CHAT, meta | {"turns": self._number + 1})
        self._record = {"rewake": VERSION, "id": id, "text": text}
        self._record["invocation"] = str(self._ctx.request().id)
        self._store("running")

    def _recorded(self, envelope: Envelope) -> None:
        """An agent's step is in the journal. Questions, answers and people's messages are stored for readers."""
        self._transcript.recorded(as_json(envelope))
        if envelope.kind in ("approval", "steering"):
            self._store("waiting" if self._transcript.waiting else "running")

    def _store(self, status: str, **more: Any) -> None:
        self._record |= {"status": status, "steps": self._transcript.steps, **more}
        if (run := current_run()) is not None and run.turns.broken is None:
            run.turns.claim()
        assert self._number is not None, "a turn that stores has begun"
        self._ctx.set(_key(self._number), self._record)


async def _last(ctx: ObjectContext) -> Record:
    """The record of the newest turn."""
    found: Record = await ctx.get(_key((await _meta(ctx))["turns"] - 1)) or {}
    return found


async def _meta(ctx: ObjectContext | ObjectSharedContext) -> dict[str, Any]:
    found: dict[str, Any] | None = await ctx.get(CHAT)
    return found or {"rewake": VERSION, "turns": 0}


async def _newest(ctx: ObjectSharedContext, wanted: int) -> list[dict[str, Any]]:
    count = (await _meta(ctx))["turns"]
    found: list[dict[str, Any]] = []
    for number in range(max(0, count - wanted), count):
        record: dict[str, Any] | None = await ctx.get(_key(number))
        found += [] if record is None else [record]
    return found


async def _was_steered(ctx: ObjectContext, message: str) -> bool:
    """Whether an earlier turn has taken this message; then the message is removed from `steered`."""
    meta = await _meta(ctx)
    steered = meta.get("steered", [])
    if message not in steered:
        return False
    left = [each for each in steered if each != message]
    ctx.set(CHAT, meta | {"steered": left})
    return True


async def _is_put_off(ctx: ObjectContext, message: str, text: str, again: Any) -> bool:
    """Whether it is not yet the message's turn; it is in the inbox until then.

    While a turn waits between turns, messages get their turns after it. One that came when the turn went on comes after
    those. again: the handler of turns.
    """
    meta = await _meta(ctx)
    if "waiting" in meta:
        ctx.set(CHAT, meta | {"put_off": [*meta.get("put_off", ()), {"id": message, "text": text}]})
        return True
    due: list[str] = meta.get("due", [])
    if message in due:
        left = due[due.index(message) + 1 :]  # their turns come in order, so those before were killed
        rest = {name: each for name, each in meta.items() if name != "due"}
        ctx.set(CHAT, rest | ({"due": left} if left else {}))
    elif due:
        ctx.set(CHAT, meta | {"due": [*due, message]})
        ctx.object_send(again, ctx.key(), {"id": message, "text": text})
        return True
    return False


def has_message(turn: dict[str, Any], message: str) -> bool:
    """Whether a turn has this message: its own, or one that it took later."""
    return bool(turn["id"] == message) or steered_in(turn["steps"], message) is not None


def _key(number: int) -> str:
    return f"turn/{number:07d}"
