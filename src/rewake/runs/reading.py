"""Reading: all reads of one request, such as runs, journals, keys and the registry, from any server.

local/ reads the engine's own database, elsewhere/ another server's tables over its admin API. Methods block, so call
them on a thread beside the event loop. Statuses are those that people see, see facts.py.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, Protocol, TypeVar

import msgspec

from rewake.core.model import Deployment, Invocation, ServiceSchema
from rewake.core.writes import EntryRow
from rewake.runs.directory import Directory
from rewake.runs.facts import EventFact, Found, Matching, RunSummary
from rewake.runs.filters import RunFilter

_Found = TypeVar("_Found")


class Reading(ABC):
    """The reads of one request. now_ms: the moment that the page shows."""

    is_whole = True
    """Whether it has all services. Else runs are not counted, and nothing of one request is kept for others."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    @cached_property
    def directory(self) -> Directory:
        """The agents of this server's handlers."""
        return Directory(self.services())

    # Runs

    @abstractmethod
    def find(self, wanted: RunFilter, counted: dict[str, int]) -> Found:
        """A page of the runs that match a filter. counted: runs by status."""

    def matching(self, wanted: RunFilter, counted: dict[str, int]) -> Matching:
        """Some of the runs that match a filter, in order of creation; for operations on all of them."""
        page = self.find(msgspec.structs.replace(wanted, order="newest"), counted)
        return Matching([run.id for run in page.runs], page.next_cursor)

    def count_matching(self, wanted: RunFilter, counted: dict[str, int], seconds: float) -> tuple[int, bool]:
        """How many runs match a filter, and whether that is all of them (else those found in time)."""
        ends_at_s, count, cursor = time.monotonic() + seconds, 0, ""
        while True:
            found = self.matching(msgspec.structs.replace(wanted, cursor=cursor), counted)
            count += len(found.ids)
            if found.next_cursor is None or time.monotonic() >= ends_at_s:
                return count, found.next_cursor is None
            cursor = found.next_cursor

    @abstractmethod
    def waiting_count(self, counted: dict[str, int]) -> int | None:
        """How many runs wait for a person; None if there are too many to check each. counted: runs by status."""

    @abstractmethod
    def invocation(self, invocation_id: bytes) -> Invocation | None: ...

    @abstractmethod
    def summary(self, invocation_id: bytes) -> RunSummary | None: ...

    @abstractmethod
    def runs_of_key(self, service: str, key: str, limit: int) -> list[RunSummary]:
        """The runs of one object or workflow key, newest first."""

    @abstractmethod
    def restarts_of(self, invocation_id: bytes, limit: int = 20) -> list[RunSummary]:
        """Runs started from this one."""

    @abstractmethod
    def open_counts(self) -> dict[str, int]:
        """Counts of open runs by the status that a person sees."""

    @abstractmethod
    def ended_counts(self) -> dict[str, int]:
        """Counts of stored completed runs, by outcome."""

    @abstractmethod
    def with_inputs(self, found: list[RunSummary]) -> list[RunSummary]:
        """The runs, each with its input on one line; empty if it is long or deleted."""

    # Journals

    @abstractmethod
    def entries(
        self, invocation_id: bytes, *, with_payload: bool = False, low: int = 0, high: int | None = None
    ) -> list[EntryRow]:
        """Entries with low <= index < high. Their payloads are empty unless `with_payloads`."""

    @abstractmethod
    def payloads(self, invocation_id: bytes, indexes: list[int]) -> dict[int, bytes]:
        """The payloads of some entries."""

    @abstractmethod
    def payloads_within(
        self, invocation_id: bytes, indexes: list[int], *, each_max: int, all_max: int
    ) -> tuple[dict[int, bytes], bool]:
        """Payloads of some entries, in order: those up to `each_max` bytes, at most `all_max` bytes together.

        Also whether all of them fit into `all_max`.
        """

    @abstractmethod
    def short_payloads(self, invocation_id: bytes, first: int, last: int, bytes_max: int) -> dict[int, bytes]:
        """The payloads of entries with first <= index <= last that have at most `bytes_max` bytes."""

    @abstractmethod
    def mentions(self, invocation_id: bytes, text: str, after: int, bytes_max: int) -> list[tuple[int, bytes]]:
        """(type, payload) of entries behind an index whose payload contains a text and is shorter than `bytes_max`."""

    @abstractmethod
    def signals(self, invocation_id: bytes) -> set[int | str]:
        """The indexes and names of the signals that have arrived."""

    @abstractmethod
    def earlier_results(self, service: str, handler: str, step: str) -> list[tuple[bytes, int]]:
        """(payload, protocol version) of the results of a step, by its name, in the latest runs."""

    @abstractmethod
    def entry_count(self, invocation_id: bytes) -> int: ...

    @abstractmethod
    def events(self, invocation_id: bytes, limit: int = 500) -> list[EventFact]:
        """The last events of a run, oldest first."""

    def waiting_runs(self, invocation_id: bytes) -> list[RunSummary]:
        """Runs that wait for this one's result; empty if the server does not report them."""
        return []

    def promise_waiters(self, service: str, key: str, name: str) -> list[RunSummary]:
        """Runs that wait for a workflow's promise; empty if the server does not report them."""
        return []

    # Keys and state

    @abstractmethod
    def state(self, service: str, key: str) -> dict[bytes, bytes]: ...

    @abstractmethod
    def state_value(self, service: str, key: str, name: bytes) -> bytes | None:
        """One value of a key, opened and as it may be shown."""

    @abstractmethod
    def asking_keys(self, service: str, after: tuple[str, str], limit: int) -> list[tuple[str, str, bytes]]:
        """(service, key, value) of objects that keep questions between turns, in order, after an object.

        service: only of this one; empty for all. Values are as `state_value` gives them.
        """

    @abstractmethod
    def asking_count(self, limit: int) -> int:
        """How many objects keep questions between turns; counting ends at a limit."""

    @abstractmethod
    def keys_with_state(self, service: str, *, after: str, contains: str, limit: int) -> list[tuple[str, int, int]]:
        """Keys in order: (key, count of values, bytes)."""

    @abstractmethod
    def keys_at_work(self, service: str, limit: int) -> dict[str, tuple[int, int]]:
        """Keys with open runs: (runs that hold the key, runs that wait for it)."""

    @abstractmethod
    def open_runs_of_key(self, service: str, key: str, limit: int = 200) -> list[RunSummary]:
        """Open runs of a key in order of arrival."""

    @abstractmethod
    def promises(self, service: str, key: str) -> list[tuple[str, int | None, str | None, bytes | None]]:
        """(name, result code, result message, result value) of each promise of a workflow."""

    # Registry

    @abstractmethod
    def services(self) -> list[ServiceSchema]:
        """All services by name."""

    def service(self, name: str) -> ServiceSchema | None:
        return next((service for service in self.services() if service.name == name), None)

    @abstractmethod
    def deployments(self) -> list[Deployment]:
        """All deployments, newest first."""

    @abstractmethod
    def pinned_counts(self, deployment_ids: list[str]) -> dict[str, int]:
        """Open runs that must finish on each deployment."""


Read = Callable[[Callable[[Reading], Any]], Awaitable[Any]]
"""Runs a function with a Reading on a thread, and returns its result."""


class OpenReading(Protocol):
    """Begins the Reading of one request. Called on a thread; raises RewakeError if the server cannot be read."""

    def __call__(self) -> AbstractContextManager[Reading]: ...


async def read_on_thread(open_reading: OpenReading, find: Callable[[Reading], _Found]) -> _Found:
    """The result of `find`, run on a thread so that reads never stall the engine. Raises RewakeError."""

    def on_thread() -> _Found:
        with open_reading() as found:
            return find(found)

    return await asyncio.to_thread(on_thread)
