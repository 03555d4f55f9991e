"""Steering: agents read messages that arrive during a turn before their next step, under the chat's policy `steer`.

Each message is stored in a step `steering` of the turn, so a replay reads the same messages in the same places.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Final

Taking = Callable[[], Awaitable[list[str]]]

taking_here: Final[ContextVar[Taking | None]] = ContextVar("rewake_chat_taking", default=None)
"""The function by which the current turn takes messages; None if it takes none."""


async def later_messages() -> list[str]:
    """The user's messages since the turn began, or since the last call; each message is returned once.

    For a chat whose agent is a function of yours: call it between steps. Agents of frameworks need no call. Returns an
    empty list under any other policy than `steer`, and outside a turn.
    """
    taking = taking_here.get()
    return [] if taking is None else await taking()
