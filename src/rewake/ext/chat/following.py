"""Follows a turn: its events until it ends or waits for people, with any engine.

With streams (Rewake) text arrives while the models write it. Without streams (a Restate server) whole steps arrive when
the turn waits or ends. Both ways end with the turn's record, so the final answer is the journal's. If the engine is
away, the reader waits for it. If another turn takes the message, the reader follows that turn, from the place where it
read the message.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from rewake.ext.chat.changes import Received, asked
from rewake.ext.chat.events import ApprovalAsked, ChatEvent, TurnEnded, TurnStarted, TurnWaiting
from rewake.ext.chat.inbox import OPEN
from rewake.ext.chat.ingress import EngineUnavailable, IngressClient, Refused
from rewake.ext.chat.live import LiveTurn
from rewake.ext.chat.session import has_message
from rewake.ext.chat.transcript import steered_in

_POLL_FIRST_S: Final = 0.05
_POLL_S_MAX: Final = 1.0
_RESTS_S: Final = 0.25
"""A turn must be silent for so long before it counts as waiting for people: several questions may come together."""

_AWAY_S: Final = 60.0
"""Time without an engine after which the reader gets an error, and must come again."""

TURNS_SEARCHED: Final = 20
_LOOKS_PER_CHECK: Final = 5
"""After so many looks at an open turn, check whether its run is over: a killed run writes no end."""

Record = dict[str, Any]


class Following:
    """Follows one turn of one conversation.

    record: of the turn, as far as it is known.   message: its answer is wanted; if another turn took the message,
    events begin where that turn read it.   is_rest: the reader already has the steps of the record.   answered:
    awakeables that the reader has answered since; if the turn still waits for them, their answers are on the way.
    """

    def __init__(
        self,
        ingress: IngressClient,
        chat: str,
        record: Record,
        *,
        message: str | None = None,
        is_rest: bool = False,
        answered: frozenset[str] = frozenset(),
    ) -> None:
        self._ingress, self._chat, self._answered = ingress, chat, answered
        self._known = record if is_rest else None
        self._said = Received(record["steps"] if is_rest else None)
        self._live, self._live_of = _live_of(record)
        self._has_stream, self._has_begun = True, False
        self._message = message or record["id"]
        self.record = record
        if self._message != record["id"]:
            self._begin_within(record)

    @property
    def known_steps(self) -> list[dict[str, Any]]:
        """The steps of the turn before these events."""
        steps: list[dict[str, Any]] = [] if self._known is None else self._known["steps"]
        return steps

    async def events(self) -> AsyncIterator[ChatEvent]:
        """The events from now on. Raises EngineUnavailable if the engine stays away."""
        yield TurnStarted(self._message, is_rest=self._known is not None and self._message == self.record["id"])
        async for record in self._records():
            self.record = record
            for event in self._said.go_on_to(record["steps"]):
                yield event
        yield self._end()

    async def _records(self) -> AsyncIterator[Record]:
        """The record of the turn each time it grows; in the last one the turn waits or has ended."""
        delay_s, away_s, looks = _POLL_FIRST_S, 0.0, 0
        while True:
            looks += 1
            try:
                async with contextlib.aclosing(self._stream()) as growing:
                    async for record in growing:
                        yield record
                        delay_s, away_s = _POLL_FIRST_S, 0.0
                found = await find(self._ingress, self._chat, self._message)
                if self._live.has_ended or looks % _LOOKS_PER_CHECK == 0:
                    found = await settled(self._ingress, self._chat, found or self.record)
            except EngineUnavailable:
                if (away_s := away_s + delay_s) > _AWAY_S:
                    raise
                found = None
            if found is not None:
                self._adopt(found)
                if found["status"] != "running" and not self._is_on_the_way(found):
                    yield found
                    return
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 1.5, _POLL_S_MAX)

    def _adopt(self, found: Record) -> None:
        """Take the newest record of the turn that has the message, which may be another turn than before."""
        if found["id"] != self.record["id"]:
            self._begin_within(found)
        self.record, self._has_begun = found, True

    def _begin_within(self, turn: Record) -> None:
        """Begin after the message, in the turn that took it."""
        place = steered_in(turn["steps"], self._message)
        assert place is not None, "a turn without the message is not found"
        self._known = turn | {"steps": turn["steps"][: place + 1]}
        self._said, self._has_stream = Received(self._known["steps"]), True
        self._live, self._live_of = _live_of(turn)

    async def _stream(self) -> AsyncGenerator[Record]:
        """The record as the run's stream shows it, until the turn waits or ends. Yields nothing without a stream."""
        if not self._has_stream:
            return
        if self.record["invocation"] != self._live_of:  # an answer has started another invocation
            self._live, self._live_of = _live_of(self.record)
        live = self._live
        async with contextlib.aclosing(self._ingress.events(self.record["invocation"], live.offset)) as batches:
            while not live.has_ended:
                try:
                    batch = await asyncio.wait_for(anext(batches), self._patience_s())
                except (StopAsyncIteration, TimeoutError):
                    return
                except Refused:  # an engine without streams, or a run that has not begun
                    self._has_stream = not self._has_begun
                    return
                self._has_begun = True
                for event in batch:
                    live.apply(event)
                if self._has_caught_up():
                    yield self.record | {"steps": live.transcript.steps}

    def _patience_s(self) -> float | None:
        """Time the stream may be silent before the record is read; None: unlimited."""
        if not self._has_begun:
            return _POLL_S_MAX  # another turn may take the message
        is_resting = bool(self._live.transcript.waiting) and not self._live.is_at_work
        return _RESTS_S if is_resting else None

    def _has_caught_up(self) -> bool:
        """Whether the stream, read from its beginning, has reached the steps that the reader knows."""
        return self._known is None or _landmarks(self._known["steps"]) <= _landmarks(self._live.transcript.steps)

    def _is_on_the_way(self, record: Record) -> bool:
        """Whether an answer was given that the turn has not received yet."""
        waits = record["status"] == "waiting"
        return waits and any(self._answered & set(awakeables_of(part)) for _, part in waiting_parts(record))

    def _end(self) -> ChatEvent:
        status = self.record["status"]
        if status == "waiting":
            return TurnWaiting(tuple(open_approvals(self.record)))
        return TurnEnded(status if status in ("failed", "stopped") else "ended", self.record.get("error"))


def _live_of(record: Record) -> tuple[LiveTurn, str]:
    """The stream reader of a turn, and the invocation that it reads."""
    return LiveTurn(record["steps"][: record.get("before", 0)]), record["invocation"]


def _landmarks(steps: list[dict[str, Any]]) -> set[str]:
    """Ids of questions and of people's messages. A stream has caught up when it has all that the reader knows."""
    parts = [part for step in steps for part in step["parts"]]
    asked = {part["approval"]["id"] for part in parts if "approval" in part}
    return asked | {part["id"] for part in parts if part["type"] == "steering"}


def open_approvals(record: Record) -> list[ApprovalAsked]:
    """The unanswered questions of a turn."""
    return [asked(number, part) for number, part in waiting_parts(record)]


def waiting_parts(record: Record) -> list[tuple[int, dict[str, Any]]]:
    """Calls that wait for a person, each with the number of its step."""
    return [
        (number, part)
        for number, step in enumerate(record["steps"])
        for part in step["parts"]
        if part["type"] == "tool" and part["state"] == "waiting"
    ]


def awakeables_of(part: dict[str, Any]) -> list[str]:
    """The awakeables that an answer to this call's question may go to."""
    approval = part["approval"]
    return list(approval.get("awakeables") or [approval["id"]])


async def find(ingress: IngressClient, chat: str, message: str) -> Record | None:
    """The record of the turn that has a message; None if there is no such turn."""
    view = await ingress.call(chat, "view", {"turns": TURNS_SEARCHED})
    return turn_of(view["turns"], message)


def turn_of(turns: list[Record], message: str) -> Record | None:
    """The turn that has a message."""
    return next((record for record in reversed(turns) if has_message(record, message)), None)


async def settled(ingress: IngressClient, chat: str, record: Record) -> Record:
    """The record. If it only looks open because its run was killed, it gets the end that the run could not write."""
    if record["status"] not in OPEN or (error := await ingress.failure(record["invocation"])) is None:
        return record
    found = await find(ingress, chat, record["id"]) or record  # it may just have ended
    if found["status"] not in OPEN or found["invocation"] != record["invocation"]:
        return found
    return found | {"status": "stopped", "error": error}
