"""What the pages read, for one request: runs, journals, keys and the registry, wherever they are kept.

local/ reads the engine's own database, elsewhere/ another server's tables over its admin API. Methods
block, so they are called on a thread beside the event loop. Status here is what a person sees: `completed` is
`succeeded` or `failed`, `invoked` is `running` or `backing-off`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, Protocol

import msgspec

from rewake.core.model import Deployment, Invocation, ServiceSchema
from rewake.core.writes import EntryRow
from rewake.runs.directory import Directory
from rewake.runs.facts import EventFact, Found, Matching, RunSummary
from rewake.runs.filters import RunFilter


class Reading(ABC):
    """The questions of one request. now_ms: the moment the page is about."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    @cached_property
    def directory(self) -> Directory:
        """The agents of this server's handlers."""
        return Directory(self.services())

    # Runs

    @abstractmethod
    def find(self, wanted: RunFilter, counted: dict[str, int]) -> Found:
        """A page of the runs a filter matches. counted: runs by status."""

    def matching(self, wanted: RunFilter, counted: dict[str, int]) -> Matching:
        """Some of the runs a filter matches, in the order of creation: for what is done to all of them."""
        page = self.find(msgspec.structs.replace(wanted, order="newest"), counted)
        return Matching([run.id for run in page.runs], page.next_cursor)

    def count_matching(self, wanted: RunFilter, counted: dict[str, int], seconds: float) -> tuple[int, bool]:
        """How many runs a filter matches, and whether these are all or those found in time."""
        ends_at_s, count, cursor = time.monotonic() + seconds, 0, ""
        while True:
            found = self.matching(msgspec.structs.replace(wanted, cursor=cursor), counted)
            count += len(found.ids)
            if found.next_cursor is None or time.monotonic() >= ends_at_s:
                return count, found.next_cursor is None
            cursor = found.next_cursor

    @abstractmethod
    def waiting_count(self, counted: dict[str, int]) -> int | None:
        """How many runs wait for a person; None when there are too many to look at each. counted: runs by status."""

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
        """How many open runs there are of each status a person sees."""

    @abstractmethod
    def ended_counts(self) -> dict[str, int]:
        """How many completed runs are kept, by outcome."""

    @abstractmethod
    def with_inputs(self, found: list[RunSummary]) -> list[RunSummary]:
        """The runs, each with what it was asked, on one line; empty when that is long or gone."""

    # Journals

    @abstractmethod
    def entries(
        self, invocation_id: bytes, *, with_payload: bool = False, low: int = 0, high: int | None = None
    ) -> list[EntryRow]:
        """Entries low <= index < high; payloads are left empty unless asked for."""

    @abstractmethod
    def payloads(self, invocation_id: bytes, indexes: list[int]) -> dict[int, bytes]:
        """The payloads of some entries."""

    @abstractmethod
    def payloads_within(
        self, invocation_id: bytes, indexes: list[int], *, each_max: int, all_max: int
    ) -> tuple[dict[int, bytes], bool]:
        """Payloads of some entries, in order: those up to `each_max` bytes, as many as have `all_max` together.

        Also whether the second bound left none out.
        """

    @abstractmethod
    def short_payloads(self, invocation_id: bytes, first: int, last: int, bytes_max: int) -> dict[int, bytes]:
        """The payloads of entries first <= index <= last that are no longer than `bytes_max`."""

    @abstractmethod
    def mentions(self, invocation_id: bytes, text: str, after: int, bytes_max: int) -> list[tuple[int, bytes]]:
        """(type, payload) of the entries after an index, shorter than `bytes_max`, whose payload contains a text."""

    @abstractmethod
    def signals(self, invocation_id: bytes) -> set[int | str]:
        """The indexes and names of the signals that have come in."""

    @abstractmethod
    def earlier_results(self, service: str, handler: str, step: str) -> list[tuple[bytes, int]]:
        """(payload, protocol version) of the results that a step, found by its name, had in the latest runs."""

    @abstractmethod
    def entry_count(self, invocation_id: bytes) -> int: ...

    @abstractmethod
    def events(self, invocation_id: bytes, limit: int = 500) -> list[EventFact]:
        """The last events of a run, oldest first."""

    def waiting_runs(self, invocation_id: bytes) -> list[RunSummary]:
        """Runs that wait for this one's result; empty where that is not known."""
        return []

    def promise_waiters(self, service: str, key: str, name: str) -> list[RunSummary]:
        """Runs that wait for a workflow's promise; empty where that is not known."""
        return []

    # Keys and state

    @abstractmethod
    def state(self, service: str, key: str) -> dict[bytes, bytes]: ...

    @abstractmethod
    def keys_with_state(self, service: str, *, after: str, contains: str, limit: int) -> list[tuple[str, int, int]]:
        """Keys in order, with how many values and bytes they hold."""

    @abstractmethod
    def keys_at_work(self, service: str, limit: int) -> dict[str, tuple[int, int]]:
        """Keys with open runs: (holding, waiting)."""

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
"""Lets a function look things up on a thread, and returns what it found."""


class OpenReading(Protocol):
    """Begins the reading of one request. On a thread; raises RewakeError when nothing can be read."""

    def __call__(self) -> AbstractContextManager[Reading]: ...
