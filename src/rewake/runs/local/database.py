"""The Reading of the engine's own database, for one request.

The public `sys_*` views are for people's SQL; a page from a million runs needs the tables' keys and indexes. A request
is one transaction, so a page shows one moment. Every method makes one or two statements by key or index. The list of
runs is in listing.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import apsw
import msgspec

from rewake import formats
from rewake.agents.kept import OPEN
from rewake.core import ids
from rewake.core.model import Deployment, Invocation, ServiceSchema, Status
from rewake.core.writes import EntryRow
from rewake.disclosure import SEALED, shown_content, shown_result, shown_value
from rewake.protocol.codec import decode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import Future, InputCommand, MessageType
from rewake.runs.facts import OPEN_STATUSES, EventFact, Found, Matching, RunSummary
from rewake.runs.filters import RunFilter
from rewake.runs.local import listing
from rewake.runs.local.statements import Statements
from rewake.runs.local.statuses import IS_OPEN, OPEN_NAMES
from rewake.runs.local.summaries import SUMMARY_COLUMNS, summary_from
from rewake.runs.steps import DEFAULT_VERSION, mentioning
from rewake.runs.waits import answerable, awaits_person
from rewake.store import rows
from rewake.store.connection import DATABASE_FILE, as_rewake_error, open_reader

INPUT_BYTES_MAX: Final = 4_096
WAITING_RUNS_MAX: Final = 1_000
WAITING_RUNNING_MAX: Final = 20
EARLIER_RUNS_MAX: Final = 40
LATEST_RUNS_MAX: Final = 5_000
_MMAP_BYTES: Final = 1 << 30

decode_future = msgspec.json.Decoder(Future).decode


class DatabaseReading(Statements):
    """The queries of one request."""

    def __init__(
        self, connection: apsw.Connection, now_ms: int, services: Mapping[str, ServiceSchema] | None = None
    ) -> None:
        """services: in force now. The stored ones may come from other settings."""
        super().__init__(connection, now_ms)
        self._services = services

    # Runs

    def find(self, wanted: RunFilter, counted: dict[str, int]) -> Found:
        return listing.find(self, wanted, counted)

    def matching(self, wanted: RunFilter, counted: dict[str, int]) -> Matching:
        return listing.matching(self, wanted, counted)

    def count_matching(self, wanted: RunFilter, counted: dict[str, int], seconds: float) -> tuple[int, bool]:
        told = listing.count_matching(self, wanted, counted, seconds)
        return super().count_matching(wanted, counted, seconds) if told is None else told

    def waiting_count(self, counted: dict[str, int]) -> int | None:
        found: list[tuple[Any, ...]] = self.execute(
            "select id, status, awaiting from invocation where id in "
            f"(select id from invocation indexed by invocation_open where {IS_OPEN} and status in (?, ?)) limit ?",
            (Status.INVOKED, Status.SUSPENDED, WAITING_RUNS_MAX + 1),
        ).fetchall()
        running = [id_ for id_, status, _ in found if status == Status.INVOKED]
        if len(found) > WAITING_RUNS_MAX or len(running) > WAITING_RUNNING_MAX:
            return None
        waiting = {id_ for id_, _, awaiting in found if awaiting is not None and awaits_person(decode_future(awaiting))}
        waiting |= {id_ for id_ in running if answerable(self, id_)}
        return len(waiting | {id_ for (id_,) in self.execute("select distinct caller_id from promise_listener")})

    def invocation(self, invocation_id: bytes) -> Invocation | None:
        row = self.execute(
            f"select {rows.INVOCATION_COLUMNS} from invocation where id = ?", (invocation_id,)
        ).fetchone()
        if row is None:
            return None
        found = rows.invocation_from(row)
        found.result = shown_result(found.result)
        return found

    def summary(self, invocation_id: bytes) -> RunSummary | None:
        row = self.execute(
            f"select {SUMMARY_COLUMNS} from invocation i where i.id = :id",
            {"id": invocation_id, "now_ms": self.now_ms},
        ).fetchone()
        return None if row is None else summary_from(row)

    def runs_of_key(self, service: str, key: str, limit: int) -> list[RunSummary]:
        """The runs of one object or workflow key, newest first. Their ids share a prefix."""
        prefix = ids.partition_key(key, service)
        found = self.execute(
            f"select {SUMMARY_COLUMNS} from invocation i where i.id >= :low and i.id < :high "
            "and i.service = :service and i.key = :key order by i.created_at_ms desc, i.id desc limit :limit",
            {
                "low": prefix,
                "high": _after(prefix),
                "service": service,
                "key": key,
                "limit": limit,
                "now_ms": self.now_ms,
            },
        )
        return [summary_from(row) for row in found]

    def restarts_of(self, invocation_id: bytes, limit: int = 20) -> list[RunSummary]:
        """Runs started from this one. Their ids begin with its partition key."""
        prefix = invocation_id[:8]
        found = self.execute(
            f"select {SUMMARY_COLUMNS} from invocation i where i.id >= :low and i.id < :high "
            "and i.restarted_from = :id order by i.created_at_ms limit :limit",
            {"low": prefix, "high": _after(prefix), "id": invocation_id, "limit": limit, "now_ms": self.now_ms},
        )
        return [summary_from(row) for row in found]

    def open_counts(self) -> dict[str, int]:
        """Counts of open runs by the status that a person sees."""
        counts = dict.fromkeys(OPEN_STATUSES, 0)
        for status, count in self.execute(
            f"select status, count(*) from invocation indexed by invocation_open where {IS_OPEN} group by status"
        ):
            counts[OPEN_NAMES[status]] = count
        if counts["running"]:
            backing_off: int = self.execute(
                "select count(*) from invocation i where i.id in "
                f"(select id from invocation indexed by invocation_open where {IS_OPEN} and status = ?) "
                "and i.next_retry_at_ms > ?",
                (Status.INVOKED, self.now_ms),
            ).get
            counts["running"] -= backing_off
            counts["backing-off"] = backing_off
        return counts

    def ended_counts(self) -> dict[str, int]:
        """How many completed runs are kept, by outcome."""
        total: int = self.execute("select count(*) from invocation").get
        is_open: int = self.execute(f"select count(*) from invocation indexed by invocation_open where {IS_OPEN}").get
        failed: int = self.execute(
            "select count(*) from invocation indexed by invocation_failed where result_code is not null"
        ).get
        return {"failed": failed, "succeeded": total - is_open - failed}

    def _input_line(self, run_id: str) -> str:
        """A run's input, on one line; empty if it is long or deleted."""
        row = self.execute(
            "select payload from journal where invocation_id = ? and idx = 0 and payload_bytes <= ?",
            (ids.invocation_id_from_str(run_id), INPUT_BYTES_MAX),
        ).fetchone()
        if row is None:
            return ""
        try:
            message = decode_message(MessageType.INPUT, row[0], DEFAULT_VERSION)
        except ProtocolViolation:
            return ""
        return formats.line(message.value, 140) if isinstance(message, InputCommand) else ""

    def with_inputs(self, found: list[RunSummary]) -> list[RunSummary]:
        return [msgspec.structs.replace(run, input=self._input_line(run.id)) for run in found]

    # Journals

    def entries(
        self, invocation_id: bytes, *, with_payload: bool = False, low: int = 0, high: int | None = None
    ) -> list[EntryRow]:
        """Entries with low <= index < high. Their payloads are empty unless `with_payloads`."""
        columns = rows.ENTRY_COLUMNS if with_payload else rows.ENTRY_COLUMNS.replace("payload", "x''")
        found = self.execute(
            f"select {columns} from journal where invocation_id = ? and idx >= ? and idx < ? order by idx",
            (invocation_id, low, 1 << 40 if high is None else high),
        )
        return [rows.entry_from(row) for row in found]

    def payloads(self, invocation_id: bytes, indexes: list[int]) -> dict[int, bytes]:
        """The payloads of some entries."""
        found = {}
        for index in indexes:
            row = self.execute(
                "select payload from journal where invocation_id = ? and idx = ?", (invocation_id, index)
            ).fetchone()
            if row is not None:
                found[index] = row[0]
        return found

    def payloads_within(
        self, invocation_id: bytes, indexes: list[int], *, each_max: int, all_max: int
    ) -> tuple[dict[int, bytes], bool]:
        found: dict[int, bytes] = {}
        size = 0
        for index in indexes:
            row = self.execute(
                "select payload from journal where invocation_id = ? and idx = ? and payload_bytes <= ?",
                (invocation_id, index, each_max),
            ).fetchone()
            if row is not None:
                size += len(row[0])
                if size > all_max:
                    return found, False
                found[index] = row[0]
        return found, True

    def short_payloads(self, invocation_id: bytes, first: int, last: int, bytes_max: int) -> dict[int, bytes]:
        return dict(
            self.execute(
                "select idx, payload from journal where invocation_id = ? and idx >= ? and idx <= ? "
                "and payload_bytes <= ?",
                (invocation_id, first, last, bytes_max),
            )
        )

    def mentions(self, invocation_id: bytes, text: str, after: int, bytes_max: int) -> list[tuple[int, bytes]]:
        found = self.execute(
            "select type, payload from journal where invocation_id = ? and idx > ? "
            "and payload_bytes < ? and (instr(payload, cast(? as blob)) or instr(payload, ?)) order by idx",
            (invocation_id, after, bytes_max, text, SEALED),
        )
        return mentioning(text, found)

    def signals(self, invocation_id: bytes) -> set[int | str]:
        found = self.execute(
            "select signal from journal where invocation_id = ? and type = ?", (invocation_id, MessageType.SIGNAL)
        )
        return {signal for (signal,) in found}

    def earlier_results(self, service: str, handler: str, step: str) -> list[tuple[bytes, int]]:
        found = self.execute(
            "select n.payload, i.pinned_version from (select l.id, l.pinned_version from (select id, pinned_version, "
            "service, handler from invocation indexed by invocation_created order by created_at_ms desc limit ?) l "
            "where l.service = ? and l.handler = ? limit ?) i "
            "join journal c on c.invocation_id = i.id and c.idx < 40 and c.type = ? and c.name = ? "
            "join journal n on n.invocation_id = i.id and n.idx > c.idx and n.idx < c.idx + 20 "
            "and n.type = ? and n.completion_id = c.completion_id and n.payload_bytes < 20000 limit ?",
            (
                LATEST_RUNS_MAX,
                service,
                handler,
                EARLIER_RUNS_MAX,
                MessageType.RUN,
                step,
                MessageType.RUN_COMPLETION,
                EARLIER_RUNS_MAX * 2,
            ),
        )
        return [(payload, version or DEFAULT_VERSION) for payload, version in found]

    def entry_count(self, invocation_id: bytes) -> int:
        count: int = self.execute("select count(*) from journal where invocation_id = ?", (invocation_id,)).get
        return count

    def events(self, invocation_id: bytes, limit: int = 500) -> list[EventFact]:
        """The last events of a run, oldest first."""
        found: list[tuple[Any, ...]] = self.execute(
            "select after_index, appended_at_ms, event_type, data from event where invocation_id = ? "
            "order by position desc limit ?",
            (invocation_id, limit),
        ).fetchall()
        return [
            EventFact(after, at_ms, kind, shown_value(msgspec.json.decode(data)))
            for after, at_ms, kind, data in found[::-1]
        ]

    def waiting_runs(self, invocation_id: bytes) -> list[RunSummary]:
        found = self.execute(
            f"select {SUMMARY_COLUMNS} from listener l join invocation i on i.id = l.caller_id "
            "where l.invocation_id = :id order by l.position limit 20",
            {"id": invocation_id, "now_ms": self.now_ms},
        )
        return [summary_from(row) for row in found]

    def promise_waiters(self, service: str, key: str, name: str) -> list[RunSummary]:
        found = self.execute(
            f"select {SUMMARY_COLUMNS} from promise_listener l join invocation i on i.id = l.caller_id "
            "where l.service = :service and l.key = :key and l.name = :name order by l.position limit 20",
            {"service": service, "key": key, "name": name, "now_ms": self.now_ms},
        )
        return [summary_from(row) for row in found]

    # Keys and state

    def state(self, service: str, key: str) -> dict[bytes, bytes]:
        return dict(
            self.execute("select name, value from state where service = ? and key = ? order by name", (service, key))
        )

    def state_value(self, service: str, key: str, name: bytes) -> bytes | None:
        found = self.execute("select value from state where service = ? and key = ? and name = ?", (service, key, name))
        return next((shown_content(value) for (value,) in found), None)

    def asking_keys(self, service: str, after: tuple[str, str], limit: int) -> list[tuple[str, str, bytes]]:
        # The name as a literal: only so does the partial index fit.
        found = self.execute(
            f"select service, key, value from state where name = x'{OPEN.hex()}' and (service, key) > (?, ?) "
            "and (? = '' or service = ?) order by service, key limit ?",
            (*after, service, service, limit),
        )
        return [(of, key, shown_content(value)) for of, key, value in found]

    def asking_count(self, limit: int) -> int:
        ((count,),) = self.execute(
            f"select count(*) from (select 1 from state_value where name = x'{OPEN.hex()}' limit ?)", (limit,)
        )
        return int(count)

    def keys_with_state(self, service: str, *, after: str, contains: str, limit: int) -> list[tuple[str, int, int]]:
        """Keys in order: (key, count of values, bytes)."""
        return list(
            self.execute(
                "select key, count(*), sum(value_bytes) from state where service = ? and key > ? "
                "and (? = '' or instr(key, ?)) group by key order by key limit ?",
                (service, after, contains, contains, limit),
            )
        )

    def keys_at_work(self, service: str, limit: int) -> dict[str, tuple[int, int]]:
        """Keys with open runs: (runs that hold the key, runs that wait for it)."""
        found = self.execute(
            f"select key, sum(status != {Status.INBOXED:d}), sum(status = {Status.INBOXED:d}) "
            f"from invocation indexed by invocation_open where {IS_OPEN} "
            "and service = ? and key is not null group by key limit ?",
            (service, limit),
        )
        return {key: (holding, waiting) for key, holding, waiting in found}

    def open_runs_of_key(self, service: str, key: str, limit: int = 200) -> list[RunSummary]:
        """Open runs of a key in order of arrival."""
        found = self.execute(
            f"select {SUMMARY_COLUMNS} from invocation i indexed by invocation_open "
            f"where i.{IS_OPEN} and i.service = :service and i.key = :key order by i.inbox_sequence limit :limit",
            {"service": service, "key": key, "limit": limit, "now_ms": self.now_ms},
        )
        return [summary_from(row) for row in found]

    def promises(self, service: str, key: str) -> list[tuple[Any, ...]]:
        """(name, result code, result message, result value) of each promise of a workflow."""
        return list(
            self.execute(
                "select name, result_code, result_message, result_value from promise "
                "where service = ? and key = ? order by name",
                (service, key),
            )
        )

    # Registry

    def services(self) -> list[ServiceSchema]:
        if self._services is not None:
            return [service for _, service in sorted(self._services.items())]
        return [rows.service_from(data) for (data,) in self.execute("select data from service order by name")]

    def deployments(self) -> list[Deployment]:
        found = self.execute("select data from deployment order by created_at_ms desc, id")
        return [rows.deployment_from(data) for (data,) in found]

    def pinned_counts(self, deployment_ids: list[str]) -> dict[str, int]:
        """Open runs that must finish on each deployment."""
        counts = dict.fromkeys(deployment_ids, 0)
        for deployment_id, count in self.execute(
            "select pinned_deployment_id, count(*) from invocation where id in "
            f"(select id from invocation indexed by invocation_open where {IS_OPEN}) "
            "and pinned_deployment_id is not null group by pinned_deployment_id"
        ):
            counts[deployment_id] = count
        return counts


@contextmanager
def local_reading(
    directory: Path, now_ms: int, services: Mapping[str, ServiceSchema] | None = None
) -> Iterator[DatabaseReading]:
    """The database at one moment. Use it on a thread beside the event loop. Raises RewakeError if it cannot be read."""
    path = directory / DATABASE_FILE
    try:
        connection = open_reader(path)
        try:
            connection.execute(f"pragma mmap_size = {_MMAP_BYTES}")
            connection.execute("begin")
            yield DatabaseReading(connection, now_ms, services)
        finally:
            connection.close()
    except apsw.Error as error:
        raise as_rewake_error(error, directory) from error


class HasDatabase(Protocol):
    """An engine of this process."""

    @property
    def path(self) -> Path: ...

    @property
    def services(self) -> Mapping[str, ServiceSchema]: ...

    def now_ms(self) -> int: ...


def reading_of(engine: HasDatabase) -> AbstractContextManager[DatabaseReading]:
    """The database of an engine in this process, with its current services."""
    return local_reading(engine.path, engine.now_ms(), dict(engine.services))


@contextmanager
def connected(directory: Path) -> Iterator[Callable[[], DatabaseReading]]:
    """The same for a thread that reads repeatedly: each reading sees all earlier commits."""
    connection = open_reader(directory / DATABASE_FILE)
    try:
        yield lambda: DatabaseReading(connection, time.time_ns() // 1_000_000)
    finally:
        connection.close()


def _after(prefix: bytes) -> bytes:
    """The first key that does not begin with `prefix`."""
    return prefix + b"\xff" * 17
