"""CoveredReading: a Reading that knows some services alone, for the holder of a token for these.

Runs, keys and deployments of other services do not exist in it. The record of a covered run is whole: it includes names
and results of the handlers that it called.
"""

from __future__ import annotations

import msgspec

from rewake.access.coverage import covered_services
from rewake.core.model import Deployment, Invocation, ServiceSchema
from rewake.core.writes import EntryRow
from rewake.runs.facts import STATUSES, EventFact, Found, Matching, RunSummary
from rewake.runs.filters import RunFilter
from rewake.runs.reading import Reading


def covered(reading: Reading) -> Reading:
    """What the token of the current request may see of a reading."""
    services = covered_services()
    return CoveredReading(reading, services) if services else reading


class CoveredReading(Reading):
    """The part of `all` that belongs to some services. services: in order."""

    is_whole = False

    def __init__(self, all_: Reading, services: tuple[str, ...]) -> None:
        super().__init__(all_.now_ms)
        self._all = all_
        self._names = services
        self._known: dict[bytes, bool] = {}

    def _has(self, invocation_id: bytes) -> bool:
        """Whether a run is of a covered service."""
        if invocation_id not in self._known:
            self.invocation(invocation_id)
        return self._known[invocation_id]

    def _those_of(self, runs: list[RunSummary]) -> list[RunSummary]:
        return [run for run in runs if run.service in self._names]

    def _within(self, wanted: RunFilter) -> RunFilter:
        return msgspec.structs.replace(wanted, services=self._names)

    # Runs

    def find(self, wanted: RunFilter, counted: dict[str, int]) -> Found:
        return self._all.find(self._within(wanted), counted)

    def matching(self, wanted: RunFilter, counted: dict[str, int]) -> Matching:
        return self._all.matching(self._within(wanted), counted)

    def count_matching(self, wanted: RunFilter, counted: dict[str, int], seconds: float) -> tuple[int, bool]:
        return self._all.count_matching(self._within(wanted), counted, seconds)

    def waiting_count(self, counted: dict[str, int]) -> int | None:
        return None

    def invocation(self, invocation_id: bytes) -> Invocation | None:
        found = self._all.invocation(invocation_id)
        self._known[invocation_id] = found is not None and found.target.service in self._names
        return found if self._known[invocation_id] else None

    def summary(self, invocation_id: bytes) -> RunSummary | None:
        found = self._all.summary(invocation_id)
        return found if found is not None and found.service in self._names else None

    def runs_of_key(self, service: str, key: str, limit: int) -> list[RunSummary]:
        return self._all.runs_of_key(service, key, limit) if service in self._names else []

    def restarts_of(self, invocation_id: bytes, limit: int = 20) -> list[RunSummary]:
        return self._those_of(self._all.restarts_of(invocation_id, limit))

    def open_counts(self) -> dict[str, int]:
        """None is counted: counting the runs of some services would read all of them."""
        return {status: 0 for status in STATUSES if status not in ("succeeded", "failed")}

    def ended_counts(self) -> dict[str, int]:
        return {"succeeded": 0, "failed": 0}

    def with_inputs(self, found: list[RunSummary]) -> list[RunSummary]:
        return self._all.with_inputs(self._those_of(found))

    # Journals

    def entries(
        self, invocation_id: bytes, *, with_payload: bool = False, low: int = 0, high: int | None = None
    ) -> list[EntryRow]:
        if not self._has(invocation_id):
            return []
        return self._all.entries(invocation_id, with_payload=with_payload, low=low, high=high)

    def payloads(self, invocation_id: bytes, indexes: list[int]) -> dict[int, bytes]:
        return self._all.payloads(invocation_id, indexes) if self._has(invocation_id) else {}

    def payloads_within(
        self, invocation_id: bytes, indexes: list[int], *, each_max: int, all_max: int
    ) -> tuple[dict[int, bytes], bool]:
        if not self._has(invocation_id):
            return {}, True
        return self._all.payloads_within(invocation_id, indexes, each_max=each_max, all_max=all_max)

    def short_payloads(self, invocation_id: bytes, first: int, last: int, bytes_max: int) -> dict[int, bytes]:
        return self._all.short_payloads(invocation_id, first, last, bytes_max) if self._has(invocation_id) else {}

    def mentions(self, invocation_id: bytes, text: str, after: int, bytes_max: int) -> list[tuple[int, bytes]]:
        return self._all.mentions(invocation_id, text, after, bytes_max) if self._has(invocation_id) else []

    def signals(self, invocation_id: bytes) -> set[int | str]:
        return self._all.signals(invocation_id) if self._has(invocation_id) else set()

    def earlier_results(self, service: str, handler: str, step: str) -> list[tuple[bytes, int]]:
        return self._all.earlier_results(service, handler, step) if service in self._names else []

    def entry_count(self, invocation_id: bytes) -> int:
        return self._all.entry_count(invocation_id) if self._has(invocation_id) else 0

    def events(self, invocation_id: bytes, limit: int = 500) -> list[EventFact]:
        return self._all.events(invocation_id, limit) if self._has(invocation_id) else []

    def waiting_runs(self, invocation_id: bytes) -> list[RunSummary]:
        return self._those_of(self._all.waiting_runs(invocation_id))

    def promise_waiters(self, service: str, key: str, name: str) -> list[RunSummary]:
        return self._those_of(self._all.promise_waiters(service, key, name))

    # Keys and state

    def state(self, service: str, key: str) -> dict[bytes, bytes]:
        return self._all.state(service, key) if service in self._names else {}

    def state_value(self, service: str, key: str, name: bytes) -> bytes | None:
        return self._all.state_value(service, key, name) if service in self._names else None

    def asking_keys(self, service: str, after: tuple[str, str], limit: int) -> list[tuple[str, str, bytes]]:
        found: list[tuple[str, str, bytes]] = []
        for name in self._names:
            if service in ("", name) and name >= after[0]:
                begin = after if name == after[0] else ("", "")
                found += self._all.asking_keys(name, begin, limit - len(found))
            if len(found) >= limit:
                break
        return found

    def asking_count(self, limit: int) -> int:
        return len(self.asking_keys("", ("", ""), limit))

    def keys_with_state(self, service: str, *, after: str, contains: str, limit: int) -> list[tuple[str, int, int]]:
        if service not in self._names:
            return []
        return self._all.keys_with_state(service, after=after, contains=contains, limit=limit)

    def keys_at_work(self, service: str, limit: int) -> dict[str, tuple[int, int]]:
        return self._all.keys_at_work(service, limit) if service in self._names else {}

    def open_runs_of_key(self, service: str, key: str, limit: int = 200) -> list[RunSummary]:
        return self._all.open_runs_of_key(service, key, limit) if service in self._names else []

    def promises(self, service: str, key: str) -> list[tuple[str, int | None, str | None, bytes | None]]:
        return self._all.promises(service, key) if service in self._names else []

    # Registry

    def services(self) -> list[ServiceSchema]:
        return [service for service in self._all.services() if service.name in self._names]

    def deployments(self) -> list[Deployment]:
        """Those with a covered service, as the choice for a restart."""
        return [each for each in self._all.deployments() if not set(each.services).isdisjoint(self._names)]

    def pinned_counts(self, deployment_ids: list[str]) -> dict[str, int]:
        return dict.fromkeys(deployment_ids, 0)
