"""The inbox of a conversation, on a context that stands for the SDK's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from restate import TerminalError

from rewake.ext.chat import Chat
from rewake.ext.chat.inbox import ID_MAX, TEXT_MAX, WAITING_MAX, DoubleText, Inbox

IDLE = {"status": "ended", "invocation": None, "turn": None}
BUSY = {"status": "running", "invocation": "inv_0", "turn": None}


class Context:
    """One object's state and what it was asked to send. about: what the conversation says of its newest turn."""

    def __init__(self, about: dict[str, Any]) -> None:
        self.state: dict[str, Any] = {}
        self.about, self.sent = about, list[str]()

    def key(self) -> str:
        return "ada"

    async def get(self, name: str) -> Any:
        return self.state.get(name)

    def set(self, name: str, value: Any) -> None:
        self.state[name] = value

    def clear(self, name: str) -> None:
        del self.state[name]

    async def object_call(self, handler: str, key: str, arg: Any) -> Any:
        self.sent += [handler] if handler == "stop" else []
        return self.about

    def object_send(self, handler: str, key: str, arg: Any, *, idempotency_key: str) -> Any:
        self.sent.append(idempotency_key)
        return self

    async def invocation_id(self) -> str:
        return f"inv_{len(self.sent)}"


def inbox(policy: DoubleText = "queue") -> Any:
    handlers: Any = {"turn": "turn", "about": "about", "stop": "stop"}
    return Inbox("Desk", policy, **handlers)


def post(box: Any, ctx: Context, message: str, **more: Any) -> Any:
    return asyncio.run(box._post(ctx, {"id": message, "text": "Hi"} | more))


def test_a_message_waits_until_its_turn_takes_it() -> None:
    box, ctx = inbox(), Context(BUSY)
    assert post(box, ctx, "m1") == post(box, ctx, "m1") == {"invocation": "inv_1"}
    post(box, ctx, "m2")
    assert ctx.sent == ["ada/m1", "ada/m2"]
    assert asyncio.run(box._take(ctx, {"id": "m1"})) == []
    assert [each["id"] for each in asyncio.run(box._waiting(ctx, {}))] == ["m2"]
    assert [each["id"] for each in asyncio.run(box._take(ctx, {"id": "m0", "all": True}))] == ["m2"]
    assert ctx.state == {}


def test_a_message_whose_turn_was_killed_before_it_began_waits_no_longer() -> None:
    box, ctx = inbox(), Context(BUSY)
    for message in ("m1", "m2", "m3"):
        post(box, ctx, message)
    asyncio.run(box._take(ctx, {"id": "m2"}))
    assert [each["id"] for each in asyncio.run(box._waiting(ctx, {}))] == ["m3"]


def test_a_message_that_a_turn_has_is_not_started_again() -> None:
    box, ctx = inbox(), Context(BUSY | {"turn": {"id": "m0", "invocation": "inv_0"}})
    assert post(box, ctx, "m1") == {"invocation": "inv_0"}
    assert ctx.sent == []


def test_policies_look_at_a_turn_that_is_really_open() -> None:
    assert (box := inbox("interrupt")) and post(box, ctx := Context(BUSY), "m1") and ctx.sent == ["stop", "ada/m1"]
    assert post(box, ctx := Context(IDLE), "m1") and ctx.sent == ["ada/m1"]
    box = inbox("reject")
    with pytest.raises(TerminalError, match="busy") as refused:
        post(box, Context(BUSY), "m1")
    assert refused.value.status_code == 409
    assert post(box, ctx := Context(BUSY), "m1", ended="inv_0")  # it was killed
    with pytest.raises(TerminalError, match="busy"):
        post(box, ctx, "m2", ended="inv_0")  # the one before has not begun


def test_bounds_of_messages() -> None:
    box, ctx = inbox(), Context(BUSY)
    for number in range(WAITING_MAX):
        post(box, ctx, f"m{number}")
    with pytest.raises(TerminalError, match="100 messages wait") as refused:
        post(box, ctx, "one more")
    assert refused.value.status_code == 429
    for wrong in ({"text": "x" * (TEXT_MAX + 1)}, {"id": ""}, {"id": "x" * (ID_MAX + 1)}, {"text": None}):
        with pytest.raises(TerminalError, match="A message is"):
            post(box, Context(IDLE), "m1", **wrong)


def test_an_unknown_policy_is_refused() -> None:
    async def agent(text: str) -> str:
        return text

    with pytest.raises(ValueError, match="one of queue, steer, interrupt, reject"):
        Chat("Desk", agent, double_text="stack")  # type: ignore[arg-type]
