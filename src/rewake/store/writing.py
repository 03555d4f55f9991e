"""Writing: a Batch becomes statements on the writing connection.

core/writes.py defines the order of the statements: a batch may delete an invocation and create it again, or answer all
listeners and add a new one. Listeners and events have an ever growing position as their order of arrival.
Called by store.py inside a transaction; it does not begin or commit one. rows.py has the rows.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import apsw
from msgspec import structs

from rewake.core.ids import InvocationId
from rewake.core.model import Invocation
from rewake.core.writes import Batch, EntryRow
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.line_field import line_start
from rewake.protocol.messages import Success
from rewake.store import rows
from rewake.store.large_values import LARGE_BYTES_MIN, LargeValues, span_of_value
from rewake.store.source_lines import SourceLines

_INSERT_INVOCATION: Final = (
    f"insert into invocation ({', '.join(rows.INVOCATION_FIXED + rows.INVOCATION_CHANGING)}) "
    f"values ({', '.join('?' * len(rows.INVOCATION_FIXED + rows.INVOCATION_CHANGING))})"
)
_UPDATE_INVOCATION: Final = (
    f"update invocation set {', '.join(f'{name} = ?' for name in rows.INVOCATION_CHANGING)} where id = ?"
)
_INSERT_ENTRY: Final = (
    f"insert into journal_entry ({rows.ENTRY_COLUMNS}, line_id) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_LARGE_ENTRY: Final = (
    f"insert into journal_entry ({rows.ENTRY_COLUMNS}, value_at, value_id) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

_ABANDON: Final = (
    "delete from timer where invocation_id = ?",
    "delete from listener where caller_id = ?",
    "delete from promise_listener where caller_id = ?",
)
_DELETE_INVOCATION: Final = (
    "delete from invocation where id = ?",
    "delete from listener where invocation_id = ?",
    "delete from journal_entry where invocation_id = ?",
    "delete from event where invocation_id = ?",
)
_DELETE_JOURNAL: Final = (
    "delete from journal_entry where invocation_id = ?",
    "delete from event where invocation_id = ?",
)
_VALUES_OF_JOURNAL: Final = "select value_id from journal_entry where invocation_id = ? and value_id is not null"
_VALUE_OF_RESULT: Final = "select result_value_id from invocation where id = ? and result_value_id is not null"
_VALUE_OF_STATE: Final = (
    "select value_id from state_value where service = ? and key = ? and name = ? and value_id is not null"
)


class BatchRefused(RewakeError):
    """A batch has rows that cannot be stored: a number too large for a column, text that is not Unicode, a key twice.

    faulty: the reason by id of the invocation with these rows; empty if no single one was found.
    """

    def __init__(self, error: BaseException, faulty: dict[InvocationId, str]) -> None:
        super().__init__(
            ErrorCode.VALUE_NOT_STORABLE,
            f"A value cannot be stored.\n{_reason(error)}.",
            "Correct the value; `rewake explain RW3005` says what can be stored.",
        )
        self.faulty = faulty


def is_about_content(error: BaseException) -> bool:
    """Whether a write failed because of the rows themselves, and not because of the disk."""
    if isinstance(error, apsw.Error):
        return isinstance(error, apsw.ConstraintError | apsw.MismatchError | apsw.TooBigError)
    return not isinstance(error, OSError | MemoryError | RewakeError)


class BatchWriter:
    """Writes batches to `connection`. Not thread-safe, like the connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._many = connection.executemany
        self._values = LargeValues(connection)
        self._lines = SourceLines(connection)
        self._unused: set[int] = set()
        self._position = _last_position(connection)

    def write(self, batch: Batch) -> None:
        """Write all rows of a batch."""
        if batch.abandoned or batch.deletes or batch.journal_deletes:
            self._forget(batch)
        many = self._many
        if batch.inserts:
            many(_INSERT_INVOCATION, [self._with_result(rows.invocation_row(item), item) for item in batch.inserts])
        if batch.updates:
            many(
                _UPDATE_INVOCATION,
                [(*self._with_result(rows.invocation_changing(item), item), item.id) for item in batch.updates],
            )
        if batch.state:
            self._write_state(batch)
        if batch.entries:
            many(_INSERT_ENTRY, [self._entry_row(item) for item in self._small_of(batch.entries)])
        if batch.timers:
            self._write_timers(batch)
        if batch.events or batch.listeners or batch.listener_deletes:
            self._write_events_and_listeners(batch)
        if batch.promises or batch.promise_listeners or batch.promise_listener_deletes or batch.promise_deletes:
            self._write_promises(batch)
        if batch.mutations or batch.deployments or batch.services:
            self._write_rare(batch)
        if self._unused:
            self._values.forget_unused(self._unused)

    def undone(self) -> None:
        """The transaction was rolled back."""
        self._unused.clear()
        self._values.clear_cache()
        self._lines.undone()

    def _with_result(self, row: rows.Row, item: Invocation) -> rows.Row:
        result = item.result
        if type(result) is Success and len(result.content) >= LARGE_BYTES_MIN:
            return rows.with_large_result(row, self._values.store(result.content))
        return row

    def _entry_row(self, item: EntryRow) -> rows.Row:
        """The row of an entry, with the line that made it stored apart. The input has none: it is the caller's."""
        row = rows.entry_row(item)
        at = line_start(item.payload) if item.index and item.is_command else None
        line_id = None if at is None else self._lines.id_of(item.payload[at:])
        if line_id is None:
            return (*row, None)
        return (*row[: rows.PAYLOAD_AT], item.payload[:at], *row[rows.PAYLOAD_AT + 1 :], line_id)

    def _small_of(self, entries: list[EntryRow]) -> list[EntryRow]:
        """Write the entries with large values, and return the others."""
        large = [item for item in entries if len(item.payload) >= LARGE_BYTES_MIN]
        if not large:
            return entries
        small = [item for item in entries if len(item.payload) < LARGE_BYTES_MIN]
        for item in large:
            start, end = span_of_value(item.payload) or (0, 0)
            if end - start < LARGE_BYTES_MIN:
                small.append(item)
                continue
            value_id = self._values.store(item.payload[start:end])
            row = structs.replace(item, payload=item.payload[:start] + item.payload[end:])
            self._connection.execute(_INSERT_LARGE_ENTRY, (*rows.entry_row(row), start, value_id))
        return small

    def faulty(self, batch: Batch) -> dict[InvocationId, str]:
        """The invocations whose rows are refused even alone, each with the reason; a new one counts for its caller.

        Used for a refused batch, inside a transaction that the caller rolls back.
        """
        found: dict[InvocationId, str] = {}
        callers = {item.id: item.invoked_by_id for item in batch.inserts}
        for invocation_id, part in _parts(batch).items():
            self._connection.execute("savepoint part")
            try:
                self.write(part)
            except Exception as error:  # noqa: BLE001  whatever it is, it is the reason
                found[callers.get(invocation_id) or invocation_id] = _reason(error)
            self._connection.execute("rollback to part")
            self.undone()
        return found

    def _forget(self, batch: Batch) -> None:
        for statements, ids in (
            (_ABANDON, batch.abandoned),
            (_DELETE_INVOCATION, batch.deletes),
            (_DELETE_JOURNAL, batch.journal_deletes),
        ):
            if ids and self._values.is_used and statements is not _ABANDON:
                self._note_values(_VALUES_OF_JOURNAL, [(id_,) for id_ in ids])
                if statements is _DELETE_INVOCATION:
                    self._note_values(_VALUE_OF_RESULT, [(id_,) for id_ in ids])
            for statement in statements if ids else ():
                self._many(statement, [(id_,) for id_ in ids])

    def _note_values(self, statement: str, bindings: list[rows.Row]) -> None:
        """Note large values of rows that will be deleted or replaced; the end checks for other references."""
        self._unused.update(value_id for (value_id,) in self._many(statement, bindings))

    def _write_timers(self, batch: Batch) -> None:
        added = [timer for timer, is_set in batch.timers.items() if is_set]
        removed = [timer for timer, is_set in batch.timers.items() if not is_set]
        self._many("insert or replace into timer (fire_at_ms, invocation_id, completion_id) values (?, ?, ?)", added)
        self._many("delete from timer where fire_at_ms = ? and invocation_id = ? and completion_id = ?", removed)

    def _write_state(self, batch: Batch) -> None:
        if self._values.is_used:
            self._note_values(_VALUE_OF_STATE, list(batch.state))
        self._many(
            "insert or replace into state_value (service, key, name, value, value_id) values (?, ?, ?, ?, ?)",
            [self._state_row(name, value) for name, value in batch.state.items() if value is not None],
        )
        self._many(
            "delete from state_value where service = ? and key = ? and name = ?",
            [name for name, value in batch.state.items() if value is None],
        )

    def _state_row(self, name: tuple[str, str, bytes], value: bytes) -> rows.Row:
        if len(value) < LARGE_BYTES_MIN:
            return (*name, value, None)
        before = self._connection.execute(_VALUE_OF_STATE, name).get
        return (*name, None, self._values.store(value, similar_to=before))

    def _write_events_and_listeners(self, batch: Batch) -> None:
        self._many("delete from listener where invocation_id = ?", [(item,) for item in batch.listener_deletes])
        self._many(
            "insert into listener (invocation_id, position, caller_id, completion_id, type) values (?, ?, ?, ?, ?)",
            [rows.listener_row(id_, self._next_position(), item) for id_, item in batch.listeners],
        )
        self._many(
            "insert into event (invocation_id, position, after_index, appended_at_ms, event_type, data) "
            "values (?, ?, ?, ?, ?, ?)",
            [rows.event_row(self._next_position(), item) for item in batch.events],
        )

    def _write_promises(self, batch: Batch) -> None:
        many = self._many
        many(
            "delete from promise where service = ? and key = ? "
            "and (result_code is not null or result_value is not null)",
            batch.promise_deletes,
        )
        many(
            "insert or replace into promise "
            "(service, key, name, result_code, result_message, result_metadata, result_value) "
            "values (?, ?, ?, ?, ?, ?, ?)",
            [rows.promise_row(key, result) for key, result in batch.promises.items() if result is not None],
        )
        # A row exists as soon as somebody waits; a later waiter must not remove a result.
        waiting = [key for key, result in batch.promises.items() if result is None]
        many("insert or ignore into promise (service, key, name) values (?, ?, ?)", waiting)
        many("delete from promise_listener where service = ? and key = ? and name = ?", batch.promise_listener_deletes)
        many(
            "insert into promise_listener (service, key, name, position, caller_id, completion_id, type) "
            "values (?, ?, ?, ?, ?, ?, ?)",
            [rows.promise_listener_row(key, self._next_position(), item) for key, item in batch.promise_listeners],
        )

    def _write_rare(self, batch: Batch) -> None:
        many = self._many
        many(
            "insert or replace into state_mutation (sequence, service, key, expected_version, new_state) "
            "values (?, ?, ?, ?, ?)",
            [rows.mutation_row(item) for item in batch.mutations.values() if item is not None],
        )
        many(
            "delete from state_mutation where sequence = ?",
            [(sequence,) for sequence, item in batch.mutations.items() if item is None],
        )
        many(
            "insert or replace into deployment (id, created_at_ms, data) values (?, ?, ?)",
            [rows.deployment_row(item) for item in batch.deployments.values() if item is not None],
        )
        many("delete from deployment where id = ?", [(id_,) for id_, item in batch.deployments.items() if item is None])
        many(
            "insert or replace into service (name, data) values (?, ?)",
            [rows.service_row(item) for item in batch.services.values() if item is not None],
        )
        many("delete from service where name = ?", [(name,) for name, item in batch.services.items() if item is None])

    def _next_position(self) -> int:
        self._position += 1
        return self._position


def _parts(batch: Batch) -> dict[InvocationId, Batch]:
    """The rows of each invocation as a separate batch, without rows of services, keys and promises."""
    parts: defaultdict[InvocationId, Batch] = defaultdict(Batch)
    for name in ("inserts", "updates"):
        for item in getattr(batch, name):
            getattr(parts[item.id], name).append(item)
    for name in ("abandoned", "deletes", "journal_deletes"):
        for invocation_id in getattr(batch, name):
            getattr(parts[invocation_id], name).append(invocation_id)
    for entry in batch.entries:
        parts[entry.invocation_id].entries.append(entry)
    for event in batch.events:
        parts[event.invocation_id].events.append(event)
    for timer, is_set in batch.timers.items():
        parts[timer[1]].timers[timer] = is_set
    for listener_row in batch.listeners:
        parts[listener_row[1].caller_id].listeners.append(listener_row)
    for promise_row in batch.promise_listeners:
        parts[promise_row[1].caller_id].promise_listeners.append(promise_row)
    return parts


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _last_position(connection: apsw.Connection) -> int:
    """The highest position so far. The three tables are small: they hold open or recent rows only."""
    highest: int | None = connection.execute(
        "select max(last) from (select max(position) as last from listener union all "
        "select max(position) from promise_listener union all select max(position) from event)"
    ).get
    return highest or 0
