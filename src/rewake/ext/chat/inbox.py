"""The chat's inbox: accepts messages at any time, even while the conversation's object is busy with a turn.

Each conversation has an inbox object beside its own object. Each message starts a turn, which waits until the earlier
turns have ended; until then the message is in the inbox. A running turn may take it out (see steering.py); the turn
that was started for it then does nothing. If a turn is killed, no message is lost.

State, stored data: `waiting`: {"rewake": 1, "messages": [{"id": "msg_2", "text": "...", "invocation": "inv_1..."}]}, in
the order of arrival. Uses the SDK's public Context alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, cast

import restate
from restate import ObjectContext, ObjectSharedContext, TerminalError

DoubleText = Literal["queue", "steer", "interrupt", "reject"]
DOUBLE_TEXTS: Final[tuple[DoubleText, ...]] = ("queue", "steer", "interrupt", "reject")
"""What happens to a message that arrives during a turn.

queue: it gets its own turn, after this one.   steer: the agents read it before their next step; after the last step, it
gets its own turn.   interrupt: the running turn is stopped, and the message gets the next one.   reject: it is refused
with 409.
"""

WAITING: Final = "waiting"
VERSION: Final = 1
WAITING_MAX: Final = 100
"""Messages that may wait in one conversation."""

TEXT_MAX: Final = 100_000
"""Characters in a message."""

ID_MAX: Final = 200
"""Characters in the id of a message or of a conversation."""

OPEN: Final = ("running", "waiting")
"""Statuses of a turn that has not ended."""

Message = dict[str, Any]
Handler = Callable[..., Any]


class Inbox:
    """The inbox object, and its handlers that others call. name: of the chat.

    turn, about, stop: handlers of the conversation's object, see session.py.
    """

    def __init__(self, name: str, policy: DoubleText, *, turn: Handler, about: Handler, stop: Handler) -> None:
        self._policy = policy
        self._turn, self._about, self._stop = turn, about, stop
        self.service = restate.VirtualObject(inbox_name(name))
        self.service.handler(name="post")(self._post)
        self.take: Handler = self.service.handler(name="take")(self._take)
        self.service.handler(name="waiting", kind="shared")(self._waiting)

    async def _post(self, ctx: ObjectContext, message: Message) -> Message:
        """Accept a message: {"id": "...", "text": "..."}. Returns {"invocation": "inv_1..."}, of the turn that answers.

        The same message gets the same reply again. ended: an invocation that was killed, though its turn still looks
        open.
        """
        message_id, text = checked(message)
        waiting = await _messages(ctx)
        about: Message = await ctx.object_call(self._about, ctx.key(), {"message": message_id})
        found = next((each for each in waiting if each["id"] == message_id), about.get("turn"))
        if found is not None:
            return {"invocation": found["invocation"]}
        is_open = about["status"] in OPEN and about["invocation"] != message.get("ended")
        if self._policy == "reject" and (waiting or is_open):
            raise TerminalError("The chat is still busy with a message: send yours when it has been answered.", 409)
        if len(waiting) >= WAITING_MAX:
            raise TerminalError(f"{WAITING_MAX} messages wait for an answer already.", 429)
        if self._policy == "interrupt" and is_open:
            await ctx.object_call(self._stop, ctx.key(), {})
        message = {"id": message_id, "text": text}
        key = f"{ctx.key()}/{message_id}"
        started = ctx.object_send(self._turn, ctx.key(), message, idempotency_key=key)
        message["invocation"] = await started.invocation_id()
        _set(ctx, [*waiting, message])
        return {"invocation": message["invocation"]}

    async def _take(self, ctx: ObjectContext, asked: Message) -> list[Message]:
        """Take messages out for a turn: {"id": "msg_1"} removes the turn's own message, with "all": true all messages.

        Returns the other removed messages if "all" is set, else none.
        """
        waiting = await _messages(ctx)
        place = next((number for number, each in enumerate(waiting) if each["id"] == asked["id"]), None)
        taken, left = [], waiting
        if asked.get("all"):
            taken, left = [each for each in waiting if each["id"] != asked["id"]], []
        elif place is not None:
            left = waiting[place + 1 :]  # turns come in order, so those before were killed, or cancelled
        if len(left) != len(waiting):
            _set(ctx, left)
        return taken

    async def _waiting(self, ctx: ObjectSharedContext, asked: Message) -> list[Message]:
        """The messages that no turn has taken yet."""
        return await _messages(ctx)


def inbox_name(chat: str) -> str:
    """The name of the object."""
    return f"{chat}Inbox"


def checked(message: Message) -> tuple[str, str]:
    """Id and text of a message. Raises TerminalError 400."""
    message_id, text = message.get("id"), message.get("text")
    if isinstance(message_id, str) and isinstance(text, str) and message_id:
        is_long = len(message_id) > ID_MAX or len(text) > TEXT_MAX
        if not is_long:
            return message_id, text
    wanted = f"an id of 1 to {ID_MAX} characters, and a text of at most {TEXT_MAX}"
    raise TerminalError(f'A message is {{"id": "...", "text": "..."}}: {wanted}.', 400)


async def _messages(ctx: ObjectContext | ObjectSharedContext) -> list[Message]:
    found: dict[str, Any] | None = await ctx.get(WAITING)
    return [] if found is None else cast("list[Message]", found["messages"])


def _set(ctx: ObjectContext, messages: list[Message]) -> None:
    if messages:
        ctx.set(WAITING, {"rewake": VERSION, "messages": messages})
    else:
        ctx.clear(WAITING)
