"""The Reading of another server: its public `sys_*` tables and its registry, over the admin API.

It works with a Restate server, a cluster and another Rewake. Statements share no snapshot, so a page caches all that it
has read (journals.py). The list of runs is in listing.py; rows become values in rows.py and services.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar, cast

import msgspec

from rewake import formats
from rewake.agents.kept import OPEN
from rewake.clients.admin import AdminClient, sql_text
from rewake.core import ids
from rewake.core.model import Deployment, Invocation, ServiceSchema
from rewake.disclosure import shown_content
from rewake.protocol.messages import InputCommand, MessageType, OutputCommand, Success
from rewake.runs.elsewhere import listing, rows
from rewake.runs.elsewhere.journals import JournalReading, listed
from rewake.runs.elsewhere.services import service_from
from rewake.runs.facts import OPEN_STATUSES, STATUSES, Found, RunSummary
from rewake.runs.filters import RunFilter
from rewake.runs.steps import DEFAULT_VERSION, decoded

REQUEST_S: Final = 10.0
"""Timeout of one statement."""

INPUT_BYTES_MAX: Final = 4_096
_COUNTING_S: Final = 0.2
_IS_OPEN: Final = f"key_length = {len(OPEN)} and key = {sql_text(OPEN.decode())}"
"""Condition for the values of `state` that are open questions. No server has an index for it; lengths compare fast."""

_LAST_FAILURES: Final = ("TransientError", "Paused")


_Found = TypeVar("_Found")


class Memory:
    """Slow counts, kept for a while for later requests."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Any]] = {}

    def recall(self, name: str, find: Callable[[], _Found]) -> _Found:
        started_s = time.monotonic()
        good_until_s, known = self._known.get(name, (0.0, None))
        if started_s < good_until_s:
            return cast("_Found", known)
        found = find()
        ended_s = time.monotonic()
        took_s = ended_s - started_s
        self._known[name] = (ended_s + 5 * took_s if took_s > _COUNTING_S else 0.0, found)
        return found


class ReadingElsewhere(JournalReading):
    """The queries of one request."""

    def __init__(self, admin: AdminClient, now_ms: int, *, is_rewake: bool, memory: Memory | None = None) -> None:
        super().__init__(admin, now_ms, is_rewake=is_rewake)
        self.memory = memory or Memory()
        self._services: dict[str, ServiceSchema] | None = None
        self._counts: dict[str, int] | None = None

    # Runs

    def find(self, wanted: RunFilter, counted: dict[str, int]) -> Found:
        found = listing.find(self, wanted)
        return Found(self.summaries(found.rows), found.next_cursor, found.looked_until_ms)

    def count_matching(self, wanted: RunFilter, counted: dict[str, int], seconds: float) -> tuple[int, bool]:
        told = listing.count_matching(self, wanted)
        return super().count_matching(wanted, counted, seconds) if told is None else (told, True)

    def waiting_count(self, counted: dict[str, int]) -> int | None:
        return self.memory.recall("waiting", lambda: listing.waiting_count(self, counted["suspended"]))

    def invocation(self, invocation_id: bytes) -> Invocation | None:
        row = self.row(ids.invocation_id_to_str(invocation_id))
        if row is None:
            return None
        is_known = row.get("target_service_ty") == "service"
        found = rows.invocation_from(row, {} if is_known else self._known_services())
        if row.get("completion_result") == "success":
            found.result = self._output(invocation_id)
        return found

    def summary(self, invocation_id: bytes) -> RunSummary | None:
        row = self.row(ids.invocation_id_to_str(invocation_id))
        return None if row is None else self.summaries([row])[0]

    def summaries(self, found: list[rows.Row]) -> list[RunSummary]:
        """Rows of `sys_invocation` as summaries."""
        troubled = [row["id"] for row in found if row["status"] in ("backing-off", "paused")]
        failures = self._last_failures(troubled)
        return [rows.summary_from(row, failures.get(row["id"])) for row in found]

    def runs_of_key(self, service: str, key: str, limit: int) -> list[RunSummary]:
        condition = f"{_of_key(service, key)} order by created_at desc, id desc limit {limit}"
        return self._runs_near(ids.partition_key(key, service), condition)

    def restarts_of(self, invocation_id: bytes, limit: int = 20) -> list[RunSummary]:
        origin = sql_text(ids.invocation_id_to_str(invocation_id))
        return self._runs_near(invocation_id[:8], f"restarted_from = {origin} order by created_at limit {limit}")

    def open_runs_of_key(self, service: str, key: str, limit: int = 200) -> list[RunSummary]:
        condition = f"{_of_key(service, key)} and status <> 'completed' order by created_at, id limit {limit}"
        found = self._runs_near(ids.partition_key(key, service), condition)
        told = self.query(
            f"select id, sequence_number from sys_inbox where service_name = {sql_text(service)} "
            f"and service_key = {sql_text(key)} limit {limit}"
        )
        places = {row["id"]: row.get("sequence_number", 0) for row in told}
        return sorted(found, key=lambda run: places.get(run.id, -1))

    def open_counts(self) -> dict[str, int]:
        counted = self._counted()
        return {status: counted[status] for status in OPEN_STATUSES}

    def ended_counts(self) -> dict[str, int]:
        counted = self._counted()
        return {status: counted[status] for status in ("failed", "succeeded")}

    def with_inputs(self, found: list[RunSummary]) -> list[RunSummary]:
        if not found:
            return []
        told = self.query(
            f"select id, raw from sys_journal where id in ({listed(run.id for run in found)}) and index = 0 "
            f"and raw_length <= {INPUT_BYTES_MAX}"
        )
        inputs = {row["id"]: _input_line(bytes.fromhex(row["raw"])) for row in told}
        return [msgspec.structs.replace(run, input=inputs.get(run.id, "")) for run in found]

    def _runs(self, condition: str) -> list[RunSummary]:
        return self.summaries([*self.query(f"select {rows.INVOCATION_COLUMNS} from sys_invocation where {condition}")])

    def _runs_near(self, partition_key: bytes, condition: str) -> list[RunSummary]:
        """Runs with a partition key. A public server finds them without a scan."""
        if self.is_rewake:
            return self._runs(condition)
        number = int.from_bytes(partition_key, "big")
        told = self.query(f"select id from sys_invocation_status where partition_key = {number} and {condition}")
        return self.summaries(self.rows_of([row["id"] for row in told]))

    def _last_failures(self, run_ids: list[str]) -> dict[str, rows.Row]:
        """Each run's last failed attempt."""
        if not run_ids:
            return {}
        found: dict[str, rows.Row] = {}
        for row in self.query(
            f"select id, event_json from sys_journal_events where id in ({listed(run_ids)}) "
            f"and event_type in ({listed(_LAST_FAILURES)}) order by appended_at"
        ):
            event = msgspec.json.decode(row["event_json"])
            failure = event.get("last_failure") if event.get("ty") == "Paused" else event
            if failure is not None:
                found[row["id"]] = failure
        return found

    def _counted(self) -> dict[str, int]:
        if self._counts is None:
            self._counts = self.memory.recall("counts", self._count)
        return self._counts

    def _count(self) -> dict[str, int]:
        counts = dict.fromkeys(STATUSES, 0)
        for row in self.query(
            "select status, completion_result, count(*) as n from sys_invocation group by status, completion_result"
        ):
            counts[rows.status_of(row)] += row["n"]
        return counts

    def _output(self, invocation_id: bytes) -> Success | None:
        """The value a run returned; None if its journal is deleted."""
        last = max(
            (item.index for item in self.entries(invocation_id) if item.type_id == MessageType.OUTPUT), default=-1
        )
        payload = self.payloads(invocation_id, [last]).get(last)
        message = None if payload is None else decoded(MessageType.OUTPUT, payload, DEFAULT_VERSION)
        if isinstance(message, OutputCommand) and isinstance(message.result, Success):
            return message.result
        return None

    # Keys and state

    def state(self, service: str, key: str) -> dict[bytes, bytes]:
        told = self.query(
            f"select key, value from state where service_name = {sql_text(service)} "
            f"and service_key = {sql_text(key)} order by key"
        )
        return {row["key"].encode(): bytes.fromhex(row.get("value", "")) for row in told}

    def state_value(self, service: str, key: str, name: bytes) -> bytes | None:
        told = self.query(
            f"select value from state where service_name = {sql_text(service)} and service_key = {sql_text(key)} "
            f"and key = {sql_text(name.decode())}"
        )
        return next((shown_content(bytes.fromhex(row.get("value", ""))) for row in told), None)

    def asking_keys(self, service: str, after: tuple[str, str], limit: int) -> list[tuple[str, str, bytes]]:
        of, key = map(sql_text, after)
        only = f" and service_name = {sql_text(service)}" if service else ""
        told = self.query(
            f"select service_name, service_key, value from state where {_IS_OPEN}{only} "
            f"and (service_name > {of} or (service_name = {of} and service_key > {key})) "
            f"order by service_name, service_key limit {limit}"
        )
        return [
            (row["service_name"], row["service_key"], shown_content(bytes.fromhex(row.get("value", ""))))
            for row in told
        ]

    def asking_count(self, limit: int) -> int:
        def count() -> int:
            found: int = self.query(f"select count(*) as n from state where {_IS_OPEN}")[0]["n"]
            return found

        return min(self.memory.recall("asking", count), limit)

    def keys_with_state(self, service: str, *, after: str, contains: str, limit: int) -> list[tuple[str, int, int]]:
        matching = f" and contains(service_key, {sql_text(contains)})" if contains else ""
        told = self.query(
            "select service_key, count(*) as value_count, sum(value_length) as size from state "
            f"where service_name = {sql_text(service)} and service_key > {sql_text(after)}{matching} "
            f"group by service_key order by service_key limit {limit}"
        )
        return [(row["service_key"], row["value_count"], row["size"]) for row in told]

    def keys_at_work(self, service: str, limit: int) -> dict[str, tuple[int, int]]:
        told = self.query(
            "select target_service_key as service_key, "
            "sum(case when status = 'inboxed' then 0 else 1 end) as holding, "
            "sum(case when status = 'inboxed' then 1 else 0 end) as waiting from sys_invocation_status "
            f"where status <> 'completed' and target_service_name = {sql_text(service)} "
            f"and target_service_key is not null group by target_service_key limit {limit}"
        )
        return {row["service_key"]: (row["holding"], row["waiting"]) for row in told}

    def promises(self, service: str, key: str) -> list[tuple[str, int | None, str | None, bytes | None]]:
        told = self.query(
            "select key, completion_success_value, completion_failure from sys_promise "
            f"where service_name = {sql_text(service)} and service_key = {sql_text(key)} order by key"
        )
        found = []
        for row in told:
            failure, value = rows.failure_of(row.get("completion_failure")), row.get("completion_success_value")
            code, message = (None, None) if failure is None else (failure.code, failure.message)
            found.append((row["key"], code, message, None if value is None else bytes.fromhex(value)))
        return found

    # Registry

    def services(self) -> list[ServiceSchema]:
        return [service for _, service in sorted(self._known_services().items())]

    def deployments(self) -> list[Deployment]:
        kinds = {row["id"]: row.get("ty", "") for row in self.query("select id, ty from sys_deployment")}
        told = self.admin.get("/deployments")["deployments"]
        found = [rows.deployment_from(item, kinds.get(item["id"], "")) for item in told]
        return sorted(found, key=lambda item: (-item.created_at_ms, item.id))

    def pinned_counts(self, deployment_ids: list[str]) -> dict[str, int]:
        told = self.query(
            "select pinned_deployment_id, count(*) as n from sys_invocation_status where status <> 'completed' "
            "and pinned_deployment_id is not null group by pinned_deployment_id"
        )
        return dict.fromkeys(deployment_ids, 0) | {row["pinned_deployment_id"]: row["n"] for row in told}

    def _known_services(self) -> dict[str, ServiceSchema]:
        if self._services is None:
            self._services = {item["name"]: service_from(item) for item in self.admin.get("/services")["services"]}
        return self._services


@contextmanager
def reading_elsewhere(url: str, *, is_rewake: bool, memory: Memory | None = None) -> Iterator[ReadingElsewhere]:
    """A Reading of the server, without a snapshot. Use it on a thread beside the event loop. Raises RewakeError."""
    with AdminClient(url, timeout_s=REQUEST_S) as admin:
        yield ReadingElsewhere(admin, time.time_ns() // 1_000_000, is_rewake=is_rewake, memory=memory)


def _of_key(service: str, key: str) -> str:
    return f"target_service_name = {sql_text(service)} and target_service_key = {sql_text(key)}"


def _input_line(payload: bytes) -> str:
    message = decoded(MessageType.INPUT, payload, DEFAULT_VERSION)
    return formats.line(message.value, 140) if isinstance(message, InputCommand) else ""
