"""StoreReader: the core's Reader on SQLite, and the engine's scans for timers, recovery and retention.

Every method makes one or two statements by primary key or index. It belongs to the thread that submits batches. While
no commit is in flight it uses the writing connection, whose page cache is warm: 3 us a row instead of 25, since another
connection drops its cache after every commit. Otherwise it uses its own connection, which sees committed batches only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import apsw

from rewake.core.ids import InvocationId
from rewake.core.model import (
    Deployment,
    Invocation,
    Listener,
    Promise,
    Queued,
    ServiceSchema,
    Status,
    Timer,
)
from rewake.core.writes import EntryRow
from rewake.store import rows
from rewake.store.large_values import load_value, whole

_INVOCATION: Final = f"select {rows.INVOCATION_COLUMNS} from invocation where id = ?"
_JOURNAL_FACTS: Final = (
    # With a single max(), SQLite takes the other columns from the same row: so this is the time of the last entry.
    "select count(*), count(*) filter (where type < 0x8000), appended_at_ms, max(idx) from journal_entry "
    "where invocation_id = ?"
)
_JOURNAL: Final = (
    "select value_at, value_id, (select field from source_line where id = line_id), "
    f"{rows.ENTRY_COLUMNS} from journal_entry where invocation_id = ? order by idx"
)
_ROW_COLUMNS: Final = rows.ENTRY_COLUMNS.replace("payload", "x''")
_JOURNAL_ROWS: Final = f"select {_ROW_COLUMNS} from journal_entry where invocation_id = ? order by idx"
_KEY_HOLDER: Final = (
    "select id from invocation where service = ? and key = ? and status < 5 and handler_kind = 1 and status > 1 "
    "order by inbox_sequence limit 1"
)
_KEY_WAITING: Final = (
    "select inbox_sequence, id from invocation "
    "where service = ? and key = ? and status < 5 and handler_kind = 1 and status = 1 order by inbox_sequence"
)


class StoreReader:
    """Reads of committed state. `connection` gives the connection to use now."""

    def __init__(self, connection: Callable[[], apsw.Connection]) -> None:
        self._connection = connection

    def invocation(self, invocation_id: bytes) -> Invocation | None:
        """The row, with facts of its journal: length, count of commands, time of the last entry."""
        execute = self._connection().execute
        row = execute(_INVOCATION, (invocation_id,)).fetchone()
        if row is None:
            return None
        found = rows.invocation_from(row)
        facts: tuple[int, int, int | None, int | None] = execute(_JOURNAL_FACTS, (invocation_id,)).get
        length, commands, stored_at_ms, _ = facts
        found.journal_length = length
        found.command_count = commands
        found.stored_at_ms = stored_at_ms or 0
        return found

    def journal_rows(self, invocation_id: bytes) -> list[EntryRow]:
        """All entries in index order, with empty payloads."""
        return [rows.entry_from(row) for row in self._connection().execute(_JOURNAL_ROWS, (invocation_id,))]

    def journal(self, invocation_id: bytes) -> list[EntryRow]:
        """All entries in index order, with payloads."""
        execute = self._connection().execute
        entries = []
        for value_at, value_id, line, *row in execute(_JOURNAL, (invocation_id,)):
            entry = rows.entry_from(row)
            if value_id is not None:
                entry.payload = whole(execute, entry.payload, value_at, value_id)
            elif line is not None:
                entry.payload += line
            entries.append(entry)
        return entries

    def listeners(self, invocation_id: bytes) -> list[Listener]:
        """Listeners of an invocation, in order of arrival."""
        found = self._connection().execute(
            "select caller_id, completion_id, type from listener where invocation_id = ? order by position",
            (invocation_id,),
        )
        return [rows.listener_from(row) for row in found]

    def key_holder(self, service: str, key: str) -> InvocationId | None:
        """The open exclusive invocation of a key that has begun; the index has it in front of the waiting ones."""
        for (id_,) in self._connection().execute(_KEY_HOLDER, (service, key)):
            holder: InvocationId = id_
            return holder
        return None

    def key_queue(self, service: str, key: str) -> list[Queued]:
        """Invocations that wait for a key, and state mutations among them, in order."""
        execute = self._connection().execute
        waiting: list[tuple[int, Queued]] = [*execute(_KEY_WAITING, (service, key))]
        mutations = execute(
            "select sequence, service, key, expected_version, new_state from state_mutation "
            "where service = ? and key = ?",
            (service, key),
        )
        waiting += [(row[0], rows.mutation_from(row)) for row in mutations]
        waiting.sort(key=lambda item: item[0])
        return [item for _, item in waiting]

    def state(self, service: str, key: str) -> dict[bytes, bytes]:
        """All state of a key, ordered by name."""
        execute = self._connection().execute
        found = execute(
            "select name, value_id, value from state_value where service = ? and key = ? order by name", (service, key)
        )
        return {name: value if value_id is None else load_value(execute, value_id) for name, value_id, value in found}

    def promise(self, service: str, key: str, name: str) -> Promise | None:
        """A workflow promise with its listeners in order of arrival."""
        execute = self._connection().execute
        promise_key = (service, key, name)
        row = execute(
            "select result_code, result_message, result_metadata, result_value from promise "
            "where service = ? and key = ? and name = ?",
            promise_key,
        ).fetchone()
        listeners = execute(
            "select caller_id, completion_id, type from promise_listener "
            "where service = ? and key = ? and name = ? order by position",
            promise_key,
        ).fetchall()
        if row is None and not listeners:
            return None
        result = row or (None, None, None, None)
        return rows.promise_from(promise_key, result, [rows.listener_from(item) for item in listeners])

    def deployments(self) -> list[Deployment]:
        found = self._connection().execute("select data from deployment order by created_at_ms, id")
        return [rows.deployment_from(data) for (data,) in found]

    def services(self) -> list[ServiceSchema]:
        """Latest revisions."""
        return [rows.service_from(data) for (data,) in self._connection().execute("select data from service")]

    def last_sequence(self) -> int:
        """The highest inbox sequence of anything that still waits or holds a key."""
        return self._number(
            "select max(last) from (select max(inbox_sequence) as last from invocation where status < 5 "
            "union all select max(sequence) from state_mutation)"
        )

    def due_timers(self, now_ms: int, limit: int, *, without: int | None = None) -> list[Timer]:
        """Timers at or before now as (fire_at_ms, invocation id, completion id), earliest first.

        without: a completion id to leave out.
        """
        found = self._connection().execute(
            "select fire_at_ms, invocation_id, completion_id from timer "
            "where fire_at_ms <= ? and completion_id is not ? "
            "order by fire_at_ms, invocation_id, completion_id limit ?",
            (now_ms, without, limit),
        )
        return list(found)

    def next_timer_at(self) -> int | None:
        """Time of the earliest timer."""
        found: int | None = self._connection().execute("select min(fire_at_ms) from timer").get
        return found

    def newest_ms(self) -> int:
        """The time of creation of the newest invocation, by the clock at that time; 0 in an empty database."""
        return self._number("select max(created_at_ms) from invocation")

    def open_invocation_ids(self, status: Status = Status.INVOKED) -> list[InvocationId]:
        """Open invocations with a status, for recovery. Reads the index of open ones only."""
        found = self._connection().execute(
            "select id from invocation indexed by invocation_open where status < 5 and status = ?", (status,)
        )
        return [id_ for (id_,) in found]

    def pinned_count(self, deployment_id: str) -> int:
        """Count of open invocations that are pinned to a deployment. Reads all open invocations."""
        return self._number(
            "select count(*) from invocation indexed by invocation_open where status < 5 and pinned_deployment_id = ?",
            (deployment_id,),
        )

    def expired_invocation_ids(self, now_ms: int, limit: int) -> list[InvocationId]:
        """Completed invocations whose result or journal is past its retention, oldest first."""
        found = self._connection().execute(
            "select id from invocation where sweep_at_ms is not null and sweep_at_ms <= ? and status = 5 "
            "order by sweep_at_ms limit ?",
            (now_ms, limit),
        )
        return [id_ for (id_,) in found]

    def open_counts(self) -> dict[Status, int]:
        """Counts of invocations by open status, for metrics."""
        found = self._connection().execute(
            "select status, count(*) from invocation indexed by invocation_open where status < 5 group by status"
        )
        return {Status(status): count for status, count in found}

    def _number(self, statement: str, bindings: tuple[str, ...] = ()) -> int:
        found: int | None = self._connection().execute(statement, bindings).get
        return found or 0
