"""The database as the UI reads it: raw tables by their keys and indexes, on a read-only connection of one request.

The public `sys_*` views are for people's SQL; a page of runs out of a million needs the indexes underneath. One
transaction a request, so a page never shows two moments. Every method is one or two statements by key or index.
Status here is what a person sees: `completed` is `succeeded` or `failed`, `invoked` is `running` or `backing-off`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from rewake.core import ids
from rewake.core.model import AttemptError, Deployment, Invocation, ServiceSchema, Status
from rewake.core.writes import EntryRow
from rewake.protocol.codec import decode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import InputCommand, MessageType
from rewake.store import rows
from rewake.store.connection import DATABASE_FILE, open_reader
from rewake.ui import formats

STATUSES: Final = (
    "running",
    "backing-off",
    "suspended",
    "paused",
    "pending",
    "scheduled",
    "failed",
    "succeeded",
)
OPEN_STATUSES: Final = STATUSES[:6]
INPUT_BYTES_MAX: Final = 4_096
_MMAP_BYTES: Final = 1 << 30

_decode_error = msgspec.json.Decoder(AttemptError).decode

STATUS_SQL: Final = (
    "case i.status when 0 then 'scheduled' when 1 then 'pending' when 3 then 'suspended' when 4 then 'paused' "
    "when 5 then case when i.result_code is null then 'succeeded' else 'failed' end "
    "else case when i.next_retry_at_ms > :now_ms then 'backing-off' else 'running' end end"
)

SUMMARY_COLUMNS: Final = (
    "i.id, i.service, i.handler, i.key, "
    f"{STATUS_SQL}, i.created_at_ms, i.running_at_ms, i.completed_at_ms, i.start_at_ms, i.retry_count, "
    "i.next_retry_at_ms, i.invoked_by, i.invoked_by_id, i.restarted_from, i.result_code, i.result_message, "
    "i.last_error, i.modified_at_ms"
)


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run as a row of a list shows it. Times in milliseconds; `problem` is its failure, or why it is retried."""

    id: str
    service: str
    handler: str
    key: str | None
    status: str
    created_at_ms: int
    running_at_ms: int | None
    completed_at_ms: int | None
    start_at_ms: int | None
    retry_count: int
    next_retry_at_ms: int | None
    invoked_by: str
    parent: str | None
    restarted_from: str | None
    problem: str | None
    modified_at_ms: int
    input: str = ""

    @property
    def target(self) -> str:
        key = "" if self.key is None else f"/{self.key}"
        return f"{self.service}{key}/{self.handler}"

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES


def summary_from(row: tuple[Any, ...]) -> RunSummary:
    """A row of SUMMARY_COLUMNS."""
    (
        id_, service, handler, key, status, created_at_ms, running_at_ms, completed_at_ms, start_at_ms, retry_count,
        next_retry_at_ms, invoked_by, invoked_by_id, restarted_from, result_code, result_message, last_error,
        modified_at_ms,
    ) = row  # fmt: skip
    problem = None
    if result_code is not None:
        problem = f"[{result_code}] {result_message}"
    elif last_error is not None and status in ("backing-off", "paused"):
        problem = _decode_error(last_error).message
    return RunSummary(
        id=ids.invocation_id_to_str(id_),
        service=service,
        handler=handler,
        key=key,
        status=status,
        created_at_ms=created_at_ms,
        running_at_ms=running_at_ms,
        completed_at_ms=completed_at_ms,
        start_at_ms=start_at_ms,
        retry_count=retry_count,
        next_retry_at_ms=next_retry_at_ms,
        invoked_by=invoked_by,
        parent=None if invoked_by_id is None else ids.invocation_id_to_str(invoked_by_id),
        restarted_from=None if restarted_from is None else ids.invocation_id_to_str(restarted_from),
        problem=problem,
        modified_at_ms=modified_at_ms,
    )


class EventFact(msgspec.Struct, frozen=True):
    """One journal event: a failed attempt or a pause. data: as `sys_journal_events.event_json`."""

    after_index: int
    at_ms: int
    kind: str
    data: dict[str, Any]


class Reading:
    """The queries of one request."""

    def __init__(self, connection: apsw.Connection, now_ms: int) -> None:
        self.execute = connection.execute
        self.now_ms = now_ms

    # Runs

    def invocation(self, invocation_id: bytes) -> Invocation | None:
        row = self.execute(
            f"select {rows.INVOCATION_COLUMNS} from invocation where id = ?", (invocation_id,)
        ).fetchone()
        return None if row is None else rows.invocation_from(row)

    def summary(self, invocation_id: bytes) -> RunSummary | None:
        row = self.execute(
            f"select {SUMMARY_COLUMNS} from invocation i where i.id = :id",
            {"id": invocation_id, "now_ms": self.now_ms},
        ).fetchone()
        return None if row is None else summary_from(row)

    def runs_of_key(self, service: str, key: str, limit: int) -> list[RunSummary]:
        """The runs of one object or workflow key, newest first. They share a prefix of the primary key."""
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
        """Runs started from this one; like it they begin with its partition key."""
        prefix = invocation_id[:8]
        found = self.execute(
            f"select {SUMMARY_COLUMNS} from invocation i where i.id >= :low and i.id < :high "
            "and i.restarted_from = :id order by i.created_at_ms limit :limit",
            {"low": prefix, "high": _after(prefix), "id": invocation_id, "limit": limit, "now_ms": self.now_ms},
        )
        return [summary_from(row) for row in found]

    def open_counts(self) -> dict[str, int]:
        """How many open runs there are of each status a person sees."""
        counts = dict.fromkeys(OPEN_STATUSES, 0)
        names = {0: "scheduled", 1: "pending", 2: "running", 3: "suspended", 4: "paused"}
        for status, count in self.execute(
            "select status, count(*) from invocation indexed by invocation_open where status < 5 group by status"
        ):
            counts[names[status]] = count
        if counts["running"]:
            backing_off: int = self.execute(
                "select count(*) from invocation i where i.id in "
                "(select id from invocation indexed by invocation_open where status < 5 and status = ?) "
                "and i.next_retry_at_ms > ?",
                (Status.INVOKED, self.now_ms),
            ).get
            counts["running"] -= backing_off
            counts["backing-off"] = backing_off
        return counts

    def ended_counts(self) -> dict[str, int]:
        """How many completed runs are kept, by outcome."""
        total: int = self.execute("select count(*) from invocation").get
        is_open: int = self.execute("select count(*) from invocation indexed by invocation_open where status < 5").get
        failed: int = self.execute(
            "select count(*) from invocation indexed by invocation_failed where result_code is not null"
        ).get
        return {"failed": failed, "succeeded": total - is_open - failed}

    def input_line(self, run_id: str) -> str:
        """What a run was asked, on one line; empty when that is long or gone."""
        row = self.execute(
            "select payload from journal where invocation_id = ? and idx = 0 and length(payload) <= ?",
            (ids.invocation_id_from_str(run_id), INPUT_BYTES_MAX),
        ).fetchone()
        if row is None:
            return ""
        try:
            message = decode_message(MessageType.INPUT, row[0], 6)
        except ProtocolViolation:
            return ""
        return formats.line(message.value, 140) if isinstance(message, InputCommand) else ""

    def with_inputs(self, runs: list[RunSummary]) -> list[RunSummary]:
        """The runs, each with what it was asked."""
        return [msgspec.structs.replace(run, input=self.input_line(run.id)) for run in runs]

    # Journals

    def entries(
        self, invocation_id: bytes, *, with_payload: bool = False, low: int = 0, high: int | None = None
    ) -> list[EntryRow]:
        """Entries low <= index < high; payloads are left empty unless asked for."""
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
        return [EventFact(after, at_ms, kind, msgspec.json.decode(data)) for after, at_ms, kind, data in found[::-1]]

    # Keys and state

    def state(self, service: str, key: str) -> dict[bytes, bytes]:
        return dict(
            self.execute("select name, value from state where service = ? and key = ? order by name", (service, key))
        )

    def keys_with_state(self, service: str, *, after: str, contains: str, limit: int) -> list[tuple[str, int, int]]:
        """Keys in order, with how many values and bytes they hold."""
        return list(
            self.execute(
                "select key, count(*), sum(length(value)) from state where service = ? and key > ? "
                "and (? = '' or instr(key, ?)) group by key order by key limit ?",
                (service, after, contains, contains, limit),
            )
        )

    def keys_at_work(self, service: str, limit: int) -> dict[str, tuple[int, int]]:
        """Keys with open runs: (holding, waiting)."""
        found = self.execute(
            "select key, sum(status != 1), sum(status = 1) from invocation indexed by invocation_open "
            "where status < 5 and service = ? and key is not null group by key limit ?",
            (service, limit),
        )
        return {key: (holding, waiting) for key, holding, waiting in found}

    def open_runs_of_key(self, service: str, key: str, limit: int = 200) -> list[RunSummary]:
        """Open runs of a key in order of arrival."""
        found = self.execute(
            f"select {SUMMARY_COLUMNS} from invocation i indexed by invocation_open "
            "where i.status < 5 and i.service = :service and i.key = :key order by i.inbox_sequence limit :limit",
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
        return [rows.service_from(data) for (data,) in self.execute("select data from service order by name")]

    def deployments(self) -> list[Deployment]:
        found = self.execute("select data from deployment order by created_at_ms desc, id")
        return [rows.deployment_from(data) for (data,) in found]

    def pinned_counts(self, deployment_ids: list[str]) -> dict[str, int]:
        """Open runs that must finish on each deployment."""
        counts = dict.fromkeys(deployment_ids, 0)
        for deployment_id, count in self.execute(
            "select pinned_deployment_id, count(*) from invocation where id in "
            "(select id from invocation indexed by invocation_open where status < 5) "
            "and pinned_deployment_id is not null group by pinned_deployment_id"
        ):
            counts[deployment_id] = count
        return counts


@contextmanager
def reading(directory: Path, now_ms: int) -> Iterator[Reading]:
    """The database at one moment. For a thread beside the event loop."""
    connection = open_reader(directory / DATABASE_FILE)
    try:
        connection.execute(f"pragma mmap_size = {_MMAP_BYTES}")
        connection.execute("begin")
        yield Reading(connection, now_ms)
    finally:
        connection.close()


def _after(prefix: bytes) -> bytes:
    """The first key that does not begin with `prefix`."""
    return prefix + b"\xff" * 17
