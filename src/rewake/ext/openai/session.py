"""The framework's session over the state of a virtual object."""

from __future__ import annotations

from typing import Any

from agents import SessionABC, TResponseInputItem

from rewake.ext.kernel import restate_context
from rewake.ext.kernel.sessions import Compaction, SessionLog


class RestateSession(SessionABC):
    """The conversation of the object whose handler runs, kept as an append-only log.

    One for each run. compaction: async, gets all items after a run and returns shorter ones, or None to keep them; it
    runs as a step, so it may ask a model.
    """

    def __init__(self, *, compaction: Compaction | None = None) -> None:
        self._log = SessionLog(compaction)

    @property
    def session_id(self) -> str:
        """The key of the object."""
        ctx: Any = restate_context()
        return str(ctx.key())

    @session_id.setter
    def session_id(self, _: str) -> None:
        raise AttributeError("The id of a durable session is the key of its object.")

    @property
    def last_agent(self) -> str | None:
        """The name of the agent that spoke last; known once the items were read."""
        return self._log.last_agent

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """All items, or the newest `limit` ones."""
        items = await self._log.items()
        return items if limit is None else items[-limit:] if limit > 0 else []

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items; they are stored at the end of the run."""
        await self._log.append(list(items))

    async def pop_item(self) -> TResponseInputItem | None:
        """Take the newest item back."""
        found: TResponseInputItem | None = await self._log.pop()
        return found

    async def clear_session(self) -> None:
        """Forget all items."""
        await self._log.clear()

    async def flush(self, agent: str | None = None) -> None:
        """Store what was added. The runner does so at the end of a run."""
        await self._log.flush(agent)
