"""The chat's virtual object: one conversation for each key, one turn at a time, in the order the messages came.

State, stored data: `chat`: {"rewake": 1, "turns": 2}; `turn/0000000` ...: one record for each turn, written when it
begins, when it asks people, when they have answered, and at its end:

    {"rewake": 1, "id": "msg_1", "text": "I was charged twice", "invocation": "inv_1...", "status": "waiting",
     "steps": [...], "error": "..."}

`id` is the client's id of the message, `status` running, waiting, ended, failed or stopped, `steps` as transcript.py
has them: while the turn runs, as they were at the last of these writes. The memory of the agents is beside it, see
kernel/sessions.py. On the SDK's public Context alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import restate
from restate import ObjectContext, ObjectSharedContext, TerminalError

from rewake.ext.chat.transcript import Transcript
from rewake.ext.kernel import Envelope, current_run
from rewake.ext.kernel.envelope import as_json

CHAT: Final = "chat"
VERSION: Final = 1
TURNS_SHOWN: Final = 50
_CANCELLED: Final = 409
_TEXT_MAX: Final = 100_000
"""Characters of a message."""

Speak = Callable[[str], Awaitable[str]]
"""Runs the agents for one message and gives their answer."""


def chat_object(name: str, speak: Speak) -> restate.VirtualObject:
    """The object. speak: called in its exclusive handler, once for each message."""
    service = restate.VirtualObject(name)

    @service.handler()
    async def turn(ctx: ObjectContext, message: dict[str, Any]) -> str:
        """Answer one message: {"id": "...", "text": "..."}."""
        message_id, text = message.get("id"), message.get("text")
        if not isinstance(message_id, str) or not isinstance(text, str) or len(text) > _TEXT_MAX:
            raise TerminalError('A message is {"id": "...", "text": "..."}, both texts, and not too long.', 400)
        return await _Turn(ctx).run(message_id, text, speak)

    @service.handler(kind="shared")
    async def view(ctx: ObjectSharedContext, asked: dict[str, Any]) -> dict[str, Any]:
        """The conversation's newest turns, oldest of them first: {"count": 2, "turns": [...]}. asked: {"turns": 50}."""
        count = (await _meta(ctx))["turns"]
        wanted = max(1, int((asked or {}).get("turns") or TURNS_SHOWN))
        first = max(0, count - wanted)
        return {"count": count, "turns": [await ctx.get(_key(number)) for number in range(first, count)]}

    @service.handler(kind="shared")
    async def stop(ctx: ObjectSharedContext, asked: dict[str, Any]) -> bool:
        """Stop the turn that runs, if it is the one asked for: {"turn": "msg_1"}; {} for any."""
        count = (await _meta(ctx))["turns"]
        record: dict[str, Any] = (await ctx.get(_key(count - 1)) or {}) if count else {}
        wanted = (asked or {}).get("turn")
        if record.get("status") not in ("running", "waiting") or (wanted is not None and wanted != record["id"]):
            return False
        ctx.cancel_invocation(record["invocation"])
        return True

    return service


class _Turn:
    """One turn, from the user's message to its end."""

    def __init__(self, ctx: ObjectContext) -> None:
        self._ctx = ctx
        self._transcript = Transcript()
        self._record: dict[str, Any] = {}
        self._number = 0

    async def run(self, id: str, text: str, speak: Speak) -> str:
        """Let the agents speak, and keep what they say. Raises what ends their run."""
        run = current_run()
        assert run is not None, "a handler has a run"
        await self._begin(id, text)
        run.listeners.append(self._recorded)
        try:
            answer = await speak(text)
        except TerminalError as error:
            is_stopped = error.status_code == _CANCELLED
            self._store("stopped" if is_stopped else "failed", error=error.message)
            raise
        finally:
            run.listeners.remove(self._recorded)
        self._store("ended")
        return answer

    async def _begin(self, id: str, text: str) -> None:
        meta = await _meta(self._ctx)
        self._number = meta["turns"]
        self._ctx.set(CHAT, meta | {"turns": self._number + 1})
        self._record = {"rewake": VERSION, "id": id, "text": text}
        self._record["invocation"] = str(self._ctx.request().id)
        self._store("running")

    def _recorded(self, envelope: Envelope) -> None:
        """A step of an agent is in the journal. Where people are asked or have answered, readers learn it."""
        self._transcript.recorded(as_json(envelope))
        if envelope.kind == "approval":
            self._store("waiting" if self._transcript.waiting else "running")

    def _store(self, status: str, **more: Any) -> None:
        self._record |= {"status": status, "steps": self._transcript.steps, **more}
        if (run := current_run()) is not None and run.turns.broken is None:
            run.turns.claim()
        self._ctx.set(_key(self._number), self._record)


async def _meta(ctx: ObjectContext | ObjectSharedContext) -> dict[str, Any]:
    found: dict[str, Any] | None = await ctx.get(CHAT)
    return found or {"rewake": VERSION, "turns": 0}


def _key(number: int) -> str:
    return f"turn/{number:07d}"
