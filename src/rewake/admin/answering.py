"""One answer to one question: checked against the journal as it is now, sent, and looked at again.

The awakeable takes the first answer, whoever sends it. So answers through one process wait for each other, and after
sending one it is read whether it was the first: nobody hears "approved" whose answer changed nothing.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from rewake.agents.approvals import Given
from rewake.core import ids
from rewake.core.effects import Reply
from rewake.protocol.messages import SignalResult, Success
from rewake.runs.approvals import Approval, answer_body, approval_of, came_late, checked, is_counted
from rewake.runs.reading import Read

SEEN_S: Final = 3.0
_LOOK_AGAIN_S: Final = 0.05


class Answerable(Protocol):
    """What an answer needs of an engine, of this process or elsewhere."""

    def now_ms(self) -> int: ...

    async def complete_awakeable(self, invocation_id: bytes, signal: int, result: SignalResult) -> Reply: ...


async def answer(
    engine: Answerable, read: Read, approval_id: str, *, approved: bool, who: str = "", why: str = "", digest: str = ""
) -> Approval:
    """Approve or deny; how the question stands after it. digest: of the arguments the person has seen, if known.

    Raises RewakeError RW4026 to RW4031, with the HTTP status to answer with among its facts; nothing is changed then.
    """
    async with _lock_of(engine):
        found: Approval = await read(lambda reading: approval_of(reading, approval_id))
        now_ms = engine.now_ms()
        given = Given(
            approved=approved, who=who.strip(), why=why.strip(), digest=digest or found.asked.digest, at_ms=now_ms
        )
        slot = checked(found, given, now_ms)
        await engine.complete_awakeable(*ids.awakeable_id_parse(slot), Success(answer_body(given)))
        return await _seen(read, approval_id, given)


async def _seen(read: Read, approval_id: str, given: Given) -> Approval:
    """The question with this answer in it. A server elsewhere may show it a moment later; then it is as good as sent.

    Raises RewakeError RW4027 when another one came first.
    """
    ends_at_s = time.monotonic() + SEEN_S
    while True:
        found: Approval = await read(lambda reading: approval_of(reading, approval_id))
        if is_counted(found, given) or (found.state == "waiting" and time.monotonic() >= ends_at_s):
            return found
        if found.state != "waiting":
            raise came_late(found)
        await asyncio.sleep(_LOOK_AGAIN_S)


_locks: WeakKeyDictionary[Answerable, asyncio.Lock] = WeakKeyDictionary()


def _lock_of(engine: Answerable) -> asyncio.Lock:
    return _locks.setdefault(engine, asyncio.Lock())
