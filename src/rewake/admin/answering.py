"""One answer to one question: checked against the journal as it is now, sent, and then looked up again.

The awakeable takes the first answer, whoever sends it. So answers through one process wait for each other, and each is
looked up after it is sent: a person whose answer came second is never shown "approved".
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from rewake.agents.approvals import Given
from rewake.agents.kept import ANSWER
from rewake.core import ids
from rewake.core.effects import Reply
from rewake.engine.calling import Calling
from rewake.protocol.messages import SignalResult, Success
from rewake.runs.approvals import Approval, answer_body, came_late, checked, is_counted
from rewake.runs.inbox import approval_of
from rewake.runs.kept import call_body, not_taken, require_taken
from rewake.runs.reading import Read

OUTCOMES: Final = {"approve": True, "deny": False}
"""What the buttons of a form say, and whether it approves."""

SEEN_S: Final = 3.0
_LOOK_AGAIN_S: Final = 0.05


class Answerable(Calling, Protocol):
    """What an answer needs of an engine, of this process or elsewhere."""

    async def complete_awakeable(self, invocation_id: bytes, signal: int, result: SignalResult) -> Reply: ...


async def answer(
    engine: Answerable, read: Read, approval_id: str, *, approved: bool, who: str = "", why: str = "", digest: str = ""
) -> Approval:
    """Approve or deny; the question after it. digest: of the arguments that the person has seen, if known.

    Raises RewakeError RW4026 to RW4034, with the HTTP status to answer with among its facts; nothing is changed then.
    """
    async with _lock_of(engine):
        found: Approval = await read(lambda reading: approval_of(reading, approval_id))
        now_ms = engine.now_ms()
        given = Given(
            approved=approved, who=who.strip(), why=why.strip(), digest=digest or found.asked.digest, at_ms=now_ms
        )
        slot = checked(found, given, now_ms)
        if found.keeper is not None:
            return await _told(engine, read, found, given)
        await engine.complete_awakeable(*ids.awakeable_id_parse(slot), Success(answer_body(given)))
        return await _seen(read, approval_id, given)


async def _told(engine: Answerable, read: Read, found: Approval, given: Given) -> Approval:
    """Call the object that keeps the question; it decides. One that is busy with a turn takes the answer after it.

    Raises RewakeError as it refuses.
    """
    assert found.keeper is not None
    target = engine.resolve(found.keeper[0], ANSWER, found.keeper[1])
    if target is None:
        raise not_taken(found, "there is no such handler.")
    try:
        reply = await asyncio.wait_for(engine.invoke(target, call_body(found, given), wait=True), SEEN_S)
    except TimeoutError:
        return found
    if not isinstance(reply.result, Success):
        raise not_taken(found, "" if reply.result is None else reply.result.message)
    require_taken(reply.result.content)
    after: Approval = await read(lambda reading: approval_of(reading, found.id))
    return after


async def _seen(read: Read, approval_id: str, given: Given) -> Approval:
    """The question with this answer in it. A server elsewhere may show the answer a moment later, then without it.

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
