"""The UI's Reading on another server: its public `sys_*` tables and its registry, over the admin API.

Works with a Restate server, a cluster and another Rewake. There is no snapshot across statements, so what a page found
once it keeps: a run's row and its journal are asked for once a request. The list of runs is in remote_runs.py, rows
become values in remote_rows.py and remote_services.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from rewake.admin.client import AdminClient, sql_text
from rewake.core import ids
from rewake.core.model import Deployment, Invocation, ServiceSchema
from rewake.core.writes import EntryRow
from rewake.protocol.codec import decode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import GetPromiseCommand, InputCommand, MessageType, OutputCommand, Success
from rewake.ui import formats, remote_runs
from rewake.ui import remote_rows as rows
from rewake.ui.reading import OPEN_STATUSES, STATUSES, EventFact, Reading, RunSummary
from rewake.ui.remote_services import service_from
from rewake.ui.runs import Counts, RunFilter, RunPage
from rewake.ui.steps import Step, steps_of

REQUEST_S: Final = 10.0
"""How long one statement may take."""

INPUT_BYTES_MAX: Final = 4_096
SHORT_BYTES_MAX: Final = 4_096
"""Payloads up to here come with their journal, if that is short too."""

SHORT_JOURNAL_MAX: Final = 1_000
EARLIER_RUNS_MAX: Final = 40
AHEAD_MAX: Final = 200
WAITERS_MAX: Final = 20
_COUNTING_S: Final = 0.2
_RESULT_BYTES_MAX: Final = 20_000
_LAST_FAILURES: Final = ("TransientError", "Paused")


class Memory:
    """What requests leave to those after them: counts, for a while if counting takes long."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._good_until_s = 0.0

    def counts(self, count: Callable[[], dict[str, int]]) -> dict[str, int]:
        started_s = time.monotonic()
        if started_s >= self._good_until_s:
            self._counts = count()
            ended_s = time.monotonic()
            took_s = ended_s - started_s
            self._good_until_s = ended_s + 5 * took_s if took_s > _COUNTING_S else 0.0
        return self._counts


class RemoteReading(Reading):
    """The queries of one request. is_rewake: the server is another Rewake, whose SQL has other functions."""

    def __init__(self, admin: AdminClient, now_ms: int, *, is_rewake: bool, memory: Memory | None = None) -> None:
        super().__init__(now_ms)
        self.admin = admin
        self.is_rewake = is_rewake
        self._memory = memory or Memory()
        self._invocations: dict[str, rows.Row | None] = {}
        self._ahead: set[str] = set()
        self._journals: dict[bytes, list[EntryRow]] = {}
        self._lengths: dict[bytes, dict[int, int]] = {}
        self._services: dict[str, ServiceSchema] | None = None
        self._counts: dict[str, int] | None = None

    def query(self, sql: str) -> list[dict[str, Any]]:
        return self.admin.query(sql)

    # Runs

    def run_page(self, wanted: RunFilter, counts: Counts) -> RunPage:
        return remote_runs.run_page(self, wanted, counts)

    def count_matching(self, wanted: RunFilter, counts: Counts, seconds: float) -> tuple[int, bool]:
        counted = remote_runs.count_matching(self, wanted)
        return super().count_matching(wanted, counts, seconds) if counted is None else (counted, True)

    def invocation(self, invocation_id: bytes) -> Invocation | None:
        row = self._row(ids.invocation_id_to_str(invocation_id))
        if row is None:
            return None
        is_known = row.get("target_service_ty") == "service"
        found = rows.invocation_from(row, {} if is_known else self._known_services())
        if row.get("completion_result") == "success":
            found.result = self._output(invocation_id)
        return found

    def summary(self, invocation_id: bytes) -> RunSummary | None:
        row = self._row(ids.invocation_id_to_str(invocation_id))
        return None if row is None else self.summaries([row])[0]

    def summaries(self, found: list[rows.Row]) -> list[RunSummary]:
        """Rows of `sys_invocation` as a list shows them."""
        troubled = [row["id"] for row in found if row["status"] in ("backing-off", "paused")]
        failures = self._last_failures(troubled)
        return [rows.summary_from(row, failures.get(row["id"])) for row in found]

    def runs_of_key(self, service: str, key: str, limit: int) -> list[RunSummary]:
        return self._runs(f"{_of_key(service, key)} order by created_at desc, id desc limit {limit}")

    def restarts_of(self, invocation_id: bytes, limit: int = 20) -> list[RunSummary]:
        origin = sql_text(ids.invocation_id_to_str(invocation_id))
        return self._runs(f"restarted_from = {origin} order by created_at limit {limit}")

    def open_runs_of_key(self, service: str, key: str, limit: int = 200) -> list[RunSummary]:
        found = self._runs(f"{_of_key(service, key)} and status <> 'completed' order by created_at, id limit {limit}")
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
            f"select id, raw from sys_journal where id in ({_listed(run.id for run in found)}) and index = 0 "
            f"and raw_length <= {INPUT_BYTES_MAX}"
        )
        inputs = {row["id"]: _input_line(bytes.fromhex(row["raw"])) for row in told}
        return [msgspec.structs.replace(run, input=inputs.get(run.id, "")) for run in found]

    def _runs(self, condition: str) -> list[RunSummary]:
        return self.summaries([*self.query(f"select {rows.INVOCATION_COLUMNS} from sys_invocation where {condition}")])

    def _row(self, run_id: str) -> rows.Row | None:
        """A run's row; those it is known to have called come with it, as they are asked for next."""
        if run_id not in self._invocations:
            wanted = {run_id, *list(self._ahead)[:AHEAD_MAX]}
            self._ahead -= wanted
            self._invocations |= dict.fromkeys(wanted)
            condition = f"id = {sql_text(run_id)}" if len(wanted) == 1 else f"id in ({_listed(wanted)})"
            for row in self.query(f"select {rows.INVOCATION_COLUMNS} from sys_invocation where {condition}"):
                self._invocations[row["id"]] = row
        return self._invocations[run_id]

    def remember(self, found: list[rows.Row]) -> None:
        """Rows that are known already."""
        self._invocations |= {row["id"]: row for row in found}

    def _last_failures(self, run_ids: list[str]) -> dict[str, rows.Row]:
        """What the last failed attempt of each run said."""
        if not run_ids:
            return {}
        found: dict[str, rows.Row] = {}
        for row in self.query(
            f"select id, event_json from sys_journal_events where id in ({_listed(run_ids)}) "
            f"and event_type in ({_listed(_LAST_FAILURES)}) order by appended_at"
        ):
            event = msgspec.json.decode(row["event_json"])
            failure = event.get("last_failure") if event.get("ty") == "Paused" else event
            if failure is not None:
                found[row["id"]] = failure
        return found

    def _counted(self) -> dict[str, int]:
        if self._counts is None:
            self._counts = self._memory.counts(self._count)
        return self._counts

    def _count(self) -> dict[str, int]:
        counts = dict.fromkeys(STATUSES, 0)
        for row in self.query(
            "select status, completion_result, count(*) as n from sys_invocation group by status, completion_result"
        ):
            counts[rows.status_of(row)] += row["n"]
        return counts

    def _output(self, invocation_id: bytes) -> Success | None:
        """The value a run returned; None when its journal is gone."""
        last = next((item for item in self._journal(invocation_id)[::-1] if item.type_id == MessageType.OUTPUT), None)
        payload = None if last is None else self.payloads(invocation_id, [last.index]).get(last.index)
        message = None if payload is None else _decoded(MessageType.OUTPUT, payload)
        if isinstance(message, OutputCommand) and isinstance(message.result, Success):
            return message.result
        return None

    # Journals

    def entries(
        self, invocation_id: bytes, *, with_payload: bool = False, low: int = 0, high: int | None = None
    ) -> list[EntryRow]:
        found = [
            item for item in self._journal(invocation_id) if low <= item.index and (high is None or item.index < high)
        ]
        if not with_payload:
            return [msgspec.structs.replace(item, payload=b"") for item in found]
        payloads = self.payloads(invocation_id, [item.index for item in found])
        return [msgspec.structs.replace(item, payload=payloads[item.index]) for item in found if item.index in payloads]

    def entry(self, invocation_id: bytes, index: int, bytes_max: int) -> EntryRow | None:
        found = next((item for item in self._journal(invocation_id) if item.index == index), None)
        if found is None or self._lengths[invocation_id][index] > bytes_max:
            return None
        payload = self.payloads(invocation_id, [index]).get(index)
        return None if payload is None else msgspec.structs.replace(found, payload=payload)

    def payloads(self, invocation_id: bytes, indexes: list[int]) -> dict[int, bytes]:
        lengths = self._known_lengths(invocation_id)
        known = {item.index: item.payload for item in self._journal(invocation_id)}
        found = {index: known[index] for index in indexes if len(known.get(index, b"")) == lengths.get(index)}
        missing = [index for index in indexes if index in lengths and index not in found]
        if missing:
            found |= self._asked(invocation_id, f"index in ({', '.join(map(str, missing))})")
        return found

    def short_payloads(self, invocation_id: bytes, first: int, last: int, bytes_max: int) -> dict[int, bytes]:
        lengths = self._known_lengths(invocation_id)
        wanted = [index for index, length in lengths.items() if first <= index <= last and length <= bytes_max]
        known = {item.index: item.payload for item in self._journal(invocation_id)}
        if all(len(known[index]) == lengths[index] for index in wanted):
            return {index: known[index] for index in wanted}
        return self._asked(invocation_id, f"index >= {first} and index <= {last} and raw_length <= {bytes_max}")

    def mentions(self, invocation_id: bytes, text: str, after: int, bytes_max: int) -> list[tuple[int, bytes]]:
        lengths = self._known_lengths(invocation_id)
        indexes = [index for index, length in lengths.items() if index > after and length < bytes_max]
        payloads, part = self.payloads(invocation_id, indexes), text.encode()
        types = {item.index: item.type_id for item in self._journal(invocation_id)}
        return [(types[index], payloads[index]) for index in indexes if part in payloads.get(index, b"")]

    def signals(self, invocation_id: bytes) -> set[int | str]:
        return {item.signal for item in self._journal(invocation_id) if item.signal is not None}

    def earlier_results(self, service: str, handler: str, step: str) -> list[tuple[bytes, int]]:
        latest = self.query(
            "select id, pinned_service_protocol_version as version from sys_invocation_status "
            f"where target_service_name = {sql_text(service)} and target_handler_name = {sql_text(handler)} "
            f"order by created_at desc limit {EARLIER_RUNS_MAX}"
        )
        if not latest:
            return []
        versions = {row["id"]: row.get("version") or rows.DEFAULT_VERSION for row in latest}
        told = self.query(
            f"select {rows.ENTRY_COLUMNS}, raw from sys_journal where id in ({_listed(versions)}) and index < 60 "
            f"and (entry_type = 'Notification: Run' or (entry_type = 'Command: Run' and name = {sql_text(step)})) "
            f"and raw_length < {_RESULT_BYTES_MAX} order by id, index"
        )
        found, asked = [], set[tuple[bytes, int | None]]()
        for row in told:
            entry = rows.entry_from(row)
            place = (entry.invocation_id, entry.completion_id)
            if entry.type_id == MessageType.RUN:
                asked.add(place)
            elif place in asked:
                found.append((entry.payload, versions[row["id"]]))
        return found[: 2 * EARLIER_RUNS_MAX]

    def entry_count(self, invocation_id: bytes) -> int:
        return len(self._journal(invocation_id))

    def events(self, invocation_id: bytes, limit: int = 500) -> list[EventFact]:
        told = self.query(
            "select after_journal_entry_index, appended_at, event_type, event_json from sys_journal_events "
            f"where {_is(invocation_id)} order by appended_at desc limit {limit}"
        )
        return [rows.event_from(row) for row in told[::-1]]

    def waiting_runs(self, invocation_id: bytes) -> list[RunSummary]:
        """The caller, if it waits: who has attached to a run no table tells."""
        row = self._row(ids.invocation_id_to_str(invocation_id))
        caller = None if row is None else row.get("invoked_by_id")
        if caller is None:
            return []
        steps = steps_of(self.entries(ids.invocation_id_from_str(caller)))
        waits = any(step.child == invocation_id and step.kind == "call" and not step.is_done for step in steps)
        summary = self.summary(ids.invocation_id_from_str(caller)) if waits else None
        return [] if summary is None else [summary]

    def promise_waiters(self, service: str, key: str, name: str) -> list[RunSummary]:
        return [run for run in self.open_runs_of_key(service, key, WAITERS_MAX) if self._waits_for(run.id, name)]

    def _waits_for(self, run_id: str, promise: str) -> bool:
        invocation_id = ids.invocation_id_from_str(run_id)
        asking = [step.index for step in steps_of(self.entries(invocation_id)) if _is_open_promise(step)]
        payloads = self.payloads(invocation_id, asking)
        asked = [_decoded(MessageType.GET_PROMISE, payload) for payload in payloads.values()]
        return any(isinstance(message, GetPromiseCommand) and message.key == promise for message in asked)

    def _journal(self, invocation_id: bytes) -> list[EntryRow]:
        """All entries in order, with the payloads of a short journal."""
        if invocation_id not in self._journals:
            row = self._row(ids.invocation_id_to_str(invocation_id))
            bytes_max = SHORT_BYTES_MAX if row is not None and row.get("journal_size", 0) <= SHORT_JOURNAL_MAX else -1
            told = self.query(
                f"select {rows.ENTRY_COLUMNS}, raw_length, case when raw_length <= {bytes_max} "
                "or entry_type = 'Notification: CallInvocationId' then raw end as raw "
                f"from sys_journal where {_is(invocation_id)} order by index"
            )
            found = [rows.entry_from(row) for row in told]
            self._journals[invocation_id] = found
            self._lengths[invocation_id] = {row["index"]: row["raw_length"] for row in told}
            called = {ids.invocation_id_to_str(item.child) for item in found if item.child is not None}
            self._ahead |= called - self._invocations.keys()
        return self._journals[invocation_id]

    def _known_lengths(self, invocation_id: bytes) -> dict[int, int]:
        self._journal(invocation_id)
        return self._lengths[invocation_id]

    def _asked(self, invocation_id: bytes, condition: str) -> dict[int, bytes]:
        told = self.query(f"select index, raw from sys_journal where {_is(invocation_id)} and {condition}")
        return {row["index"]: bytes.fromhex(row["raw"]) for row in told}

    # Keys and state

    def state(self, service: str, key: str) -> dict[bytes, bytes]:
        told = self.query(
            f"select key, value from state where service_name = {sql_text(service)} "
            f"and service_key = {sql_text(key)} order by key"
        )
        return {row["key"].encode(): bytes.fromhex(row.get("value", "")) for row in told}

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
def remote_reading(url: str, *, is_rewake: bool, memory: Memory | None = None) -> Iterator[RemoteReading]:
    """The server at one moment, nearly. For a thread beside the event loop. Raises RewakeError."""
    with AdminClient(url, timeout_s=REQUEST_S) as admin:
        yield RemoteReading(admin, time.time_ns() // 1_000_000, is_rewake=is_rewake, memory=memory)


def _is(invocation_id: bytes) -> str:
    return f"id = {sql_text(ids.invocation_id_to_str(invocation_id))}"


def _of_key(service: str, key: str) -> str:
    return f"target_service_name = {sql_text(service)} and target_service_key = {sql_text(key)}"


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(map(sql_text, texts))


def _input_line(payload: bytes) -> str:
    message = _decoded(MessageType.INPUT, payload)
    return formats.line(message.value, 140) if isinstance(message, InputCommand) else ""


def _is_open_promise(step: Step) -> bool:
    return step.type is MessageType.GET_PROMISE and not step.is_done


def _decoded(type_: MessageType, payload: bytes) -> Any:
    try:
        return decode_message(type_, payload, rows.DEFAULT_VERSION)
    except ProtocolViolation:
        return None
