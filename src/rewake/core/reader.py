"""Reader: the core's reads of committed state. The store implements it on SQLite, the simulation on dicts.

Reads see every committed batch. The core reads only what it does not hold in memory, and it holds everything with
uncommitted writes, so a result is never stale.
"""

from __future__ import annotations

from typing import Protocol

from rewake.core.ids import InvocationId
from rewake.core.model import Deployment, Invocation, Listener, Promise, Queued, ServiceSchema
from rewake.core.writes import EntryRow


class Reader(Protocol):
    """Committed state, by key. Every method returns fresh objects the caller may change."""

    def invocation(self, invocation_id: InvocationId) -> Invocation | None:
        """The row, with is_stored, journal_length, command_count and stored_at_ms set; journal is None."""

    def journal_rows(self, invocation_id: InvocationId) -> list[EntryRow]:
        """All entries in index order, with empty payloads."""

    def journal(self, invocation_id: InvocationId) -> list[EntryRow]:
        """All entries in index order, with payloads."""

    def listeners(self, invocation_id: InvocationId) -> list[Listener]:
        """Invocations waiting for this one's result, in order of arrival."""

    def key_holder(self, service: str, key: str) -> InvocationId | None:
        """The open exclusive invocation that has begun on a virtual object key; at most one has."""

    def key_queue(self, service: str, key: str) -> list[Queued]:
        """Invocations and state mutations that wait for a key, by sequence."""

    def state(self, service: str, key: str) -> dict[bytes, bytes]:
        """All state of a key."""

    def promise(self, service: str, key: str, name: str) -> Promise | None:
        """A workflow promise with its listeners."""

    def deployments(self) -> list[Deployment]: ...

    def services(self) -> list[ServiceSchema]:
        """Latest revisions."""

    def last_sequence(self) -> int:
        """The highest inbox sequence of anything that still waits or holds a key, 0 if none."""
