"""Follow a turn: its events until it ends or waits for people, whatever the engine can offer.

With streams (Rewake) deltas come as models speak; without them (a Restate server) whole steps come when the turn waits
or ends. Both ways end with the turn's record, so the answer is the journal's. An engine that goes away is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from rewake.ext.chat.changes import Said, asked
from rewake.ext.chat.events import ApprovalAsked, ChatEvent, TurnEnded, TurnStarted, TurnWaiting
from rewake.ext.chat.ingress import EngineUnavailable, Ingress, Refused
from rewake.ext.chat.live import LiveTurn

_POLL_FIRST_S: Final = 0.05
_POLL_S_MAX: Final = 1.0
_RESTS_S: Final = 0.25
"""How long a turn that waits for a person must be still: several questions come side by side."""

_AWAY_S: Final = 60.0
"""How long an engine may be away before the reader is left to come again."""

Record = dict[str, Any]


class Following:
    """One turn of one conversation.

    record: the turn's, as far as it is known.   is_rest: the reader has the steps of the record already.   answered:
    awakeables that the reader has answered since; where the turn still waits for them, their answers are on the way.
    """

    def __init__(
        self,
        ingress: Ingress,
        chat: str,
        record: Record,
        *,
        is_rest: bool = False,
        answered: frozenset[str] = frozenset(),
    ) -> None:
        self._ingress, self._chat, self._answered = ingress, chat, answered
        self._known = record if is_rest else None
        self._said = Said(record["steps"] if is_rest else None)
        self._live = LiveTurn()
        self._has_stream, self._has_begun = True, False
        self.record = record

    async def events(self) -> AsyncIterator[ChatEvent]:
        """The events from here on. Raises EngineUnavailable when the engine stays away."""
        yield TurnStarted(self.record["id"], is_rest=self._known is not None)
        async for record in self._records():
            self.record = record
            for event in self._said.go_on_to(record["steps"]):
                yield event
        yield self._end()

    async def _records(self) -> AsyncIterator[Record]:
        """The turn's record as it grows; the last one waits, or has ended."""
        delay_s, away_s = _POLL_FIRST_S, 0.0
        while True:
            try:
                async with contextlib.aclosing(self._stream()) as growing:
                    async for record in growing:
                        yield record
                        delay_s, away_s = _POLL_FIRST_S, 0.0
                found = await find(self._ingress, self._chat, self.record["id"])
            except EngineUnavailable:
                if (away_s := away_s + delay_s) > _AWAY_S:
                    raise
                found = None
            if found is not None:
                self.record, self._has_begun = found, True
                if found["status"] != "running" and not self._is_on_the_way(found):
                    yield found
                    return
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 1.5, _POLL_S_MAX)

    async def _stream(self) -> AsyncGenerator[Record]:
        """The record as the run's stream shows it, until it rests or ends; nothing where there is no stream."""
        if not self._has_stream:
            return
        live = self._live
        async with contextlib.aclosing(self._ingress.events(self.record["invocation"], live.offset)) as batches:
            while not live.has_ended:
                is_resting = bool(live.transcript.waiting) and not live.is_at_work
                try:
                    batch = await asyncio.wait_for(anext(batches), _RESTS_S if is_resting else None)
                except (StopAsyncIteration, TimeoutError):
                    return
                except Refused:  # an engine without streams, or a run that has not begun
                    self._has_stream = not self._has_begun
                    return
                for event in batch:
                    live.apply(event)
                if self._has_caught_up():
                    yield self.record | {"steps": live.transcript.steps}

    def _has_caught_up(self) -> bool:
        """Whether the stream, read from its beginning, has come to what the reader knows."""
        known = set() if self._known is None else {part["approval"]["id"] for _, part in waiting_parts(self._known)}
        return known <= {part["approval"]["id"] for part in self._live.transcript.calls() if "approval" in part}

    def _is_on_the_way(self, record: Record) -> bool:
        """Whether an answer that was given has not arrived yet."""
        waits = record["status"] == "waiting"
        return waits and any(self._answered & set(awakeables_of(part)) for _, part in waiting_parts(record))

    def _end(self) -> ChatEvent:
        status = self.record["status"]
        if status == "waiting":
            return TurnWaiting(tuple(open_approvals(self.record)))
        return TurnEnded(status if status in ("failed", "stopped") else "ended", self.record.get("error"))


def open_approvals(record: Record) -> list[ApprovalAsked]:
    """Questions of a turn that nobody has answered."""
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


async def find(ingress: Ingress, chat: str, turn: str) -> Record | None:
    """The record of a turn, None while it has not begun."""
    view = await ingress.call(chat, "view", {"turns": 20})
    return next((record for record in reversed(view["turns"]) if record["id"] == turn), None)
