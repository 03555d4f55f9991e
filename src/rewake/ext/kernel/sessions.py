"""A conversation in the state of a virtual object: an append-only log that is never rewritten whole.

Items that a run adds go to the last chunk, until that is full; then a new one begins, under a key of its own. So a run
writes a bounded piece, and reads few. `session` says how many there are and which agent spoke last. A list that
restate.ext.openai's session left under `items` is read as the beginning of the log, and stays as it is. Only the
handler of an object may write; one at a time, as the engine holds it.

State, stored data: `session`: {"rewake": 1, "first": 3, "next": 7, "agent": "Medical"}; `session/0000003` ...: lists of
items.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from rewake.ext.kernel.context import durable_context
from rewake.ext.kernel.run import current_run

META: Final = "session"
OLD_ITEMS: Final = "items"
CHUNK_BYTES_MAX: Final = 32 * 1024  # as JSON; one run may write more
_VERSION: Final = 1

Compaction = Callable[[list[Any]], Awaitable[list[Any] | None]]


class SessionLog:
    """The conversation of the object whose handler runs. compaction: gets all items, gives shorter ones or None."""

    def __init__(self, compaction: Compaction | None = None) -> None:
        self._compaction = compaction
        self._meta: dict[str, Any] | None = None
        self._stored: list[Any] = []
        self._last: list[Any] = []  # of the last chunk
        self._new: list[Any] = []
        self.is_changed = False

    @property
    def last_agent(self) -> str | None:
        """The agent that spoke last in earlier runs; known after the first read."""
        return (self._meta or {}).get("agent")

    async def items(self) -> list[Any]:
        """All items, those of this run included."""
        await self._load()
        return [*self._stored, *self._new]

    async def append(self, items: list[Any]) -> None:
        """Add items; `flush` stores them."""
        await self._load()
        self._new += items
        self.is_changed = self.is_changed or bool(items)

    async def pop(self) -> Any | None:
        """Take the newest item back; None in an empty session."""
        await self._load()
        if self._new:
            return self._new.pop()
        if not self._stored:
            return None
        found = self._stored.pop()
        await self._replace(self._stored)
        return found

    async def clear(self) -> None:
        """Forget all items."""
        await self._load()
        self._new = []
        await self._replace([])

    async def flush(self, agent: str | None = None) -> None:
        """Store what this run added, in one chunk. agent: who spoke last."""
        if self._meta is None or not (self._new or self.is_changed):
            return
        run = current_run()
        if run is None:
            return
        await run.rounds.settle(whatever=True)
        if self._new:
            self._write_on(self._new)
        self._stored, self._new, self.is_changed = [*self._stored, *self._new], [], False
        self._set_meta(agent or self.last_agent)
        if self._compaction is not None:
            shorter = await run.step("session: compact", self._compaction, self._stored)
            if shorter is not None:
                await self._replace(shorter)

    # Within

    async def _load(self) -> None:
        if self._meta is not None:
            return
        ctx: Any = await _object_context()
        found = await ctx.get(META)
        if isinstance(found, dict) and found.get("rewake") == _VERSION:
            self._meta = found
        else:
            self._meta = {"rewake": _VERSION, "first": 0, "next": 0}
        old = None if self._meta.get("dropped") else await ctx.get(OLD_ITEMS)
        self._stored = list(old or [])
        for number in range(self._meta["first"], self._meta["next"]):
            self._last = await ctx.get(_key(number)) or []
            self._stored += self._last

    def _write_on(self, items: list[Any]) -> None:
        """Write into the last chunk if there is room, else into a new one."""
        assert self._meta is not None
        grown = [*self._last, *items]
        if self._meta["next"] > self._meta["first"] and len(json.dumps(grown)) <= CHUNK_BYTES_MAX:
            self._last = grown
            _ctx().set(_key(self._meta["next"] - 1), grown)
        else:
            self._write(items)

    def _write(self, items: list[Any]) -> None:
        assert self._meta is not None
        self._last = list(items)
        _ctx().set(_key(self._meta["next"]), self._last)
        self._meta["next"] += 1

    def _set_meta(self, agent: str | None) -> None:
        assert self._meta is not None
        if agent is not None:
            self._meta["agent"] = agent
        _ctx().set(META, self._meta)

    async def _replace(self, items: list[Any]) -> None:
        """Store one chunk in place of all."""
        ctx: Any = await _object_context()
        assert self._meta is not None
        for number in range(self._meta["first"], self._meta["next"]):
            ctx.clear(_key(number))
        if not self._meta.get("dropped"):
            ctx.clear(OLD_ITEMS)
            self._meta["dropped"] = True
        self._meta["first"] = self._meta["next"]
        self._stored, self._last = list(items), []
        if items:
            self._write(self._stored)
        self._set_meta(None)


def _key(number: int) -> str:
    return f"{META}/{number:07d}"


def _ctx() -> Any:
    return durable_context()


async def _object_context() -> Any:
    """The context, with the turn: a framework reads and writes its session between the steps of a run."""
    ctx = _ctx()
    if (run := current_run()) is not None:
        await run.rounds.settle()
    if not hasattr(ctx, "get"):
        raise RuntimeError("A durable session works in the handler of a virtual object or a workflow only.")
    return ctx
