"""Runs and journals of another server, each fetched once per request: the caching base of reading.py.

One statement fetches a short journal with its payloads. For a long journal the payloads are fetched in stretches, since
pages read a journal in order. Rows become values in rows.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from rewake.clients.admin import AdminClient, sql_text
from rewake.core import ids
from rewake.core.writes import EntryRow
from rewake.protocol.messages import GetPromiseCommand, MessageType
from rewake.runs.elsewhere import rows
from rewake.runs.facts import EventFact, RunSummary
from rewake.runs.reading import Reading
from rewake.runs.steps import DEFAULT_VERSION, Step, decoded, mentioning, steps_of

SHORT_BYTES_MAX: Final = 4_096
"""Payloads up to this size are fetched together with others."""

SHORT_JOURNAL_MAX: Final = 1_000
STRETCH: Final = 200
AHEAD_MAX: Final = 200
WAITERS_MAX: Final = 20
EARLIER_RUNS_MAX: Final = 40
_RESULT_BYTES_MAX: Final = 20_000


class _Journal(msgspec.Struct):
    """Entries without payloads by index, the lengths of all payloads, and the fetched payloads."""

    entries: dict[int, EntryRow]
    lengths: dict[int, int]
    payloads: dict[int, bytes]


class JournalReading(Reading):
    """The runs and journals of one request, cached.

    is_rewake: the server is another Rewake, whose SQL has other functions.
    """

    def __init__(self, admin: AdminClient, now_ms: int, *, is_rewake: bool) -> None:
        super().__init__(now_ms)
        self.admin = admin
        self.is_rewake = is_rewake
        self._invocations: dict[str, rows.Row | None] = {}
        self._ahead: set[str] = set()
        self._journals: dict[bytes, _Journal] = {}

    def query(self, sql: str) -> list[dict[str, Any]]:
        return self.admin.query(sql)

    def remember(self, found: list[rows.Row]) -> None:
        """Add rows of `sys_invocation` to the cache."""
        self._invocations |= {row["id"]: row for row in found}

    def row(self, run_id: str) -> rows.Row | None:
        """A run's row. Rows of the runs it called are fetched with it, as they are usually needed next."""
        if run_id not in self._invocations:
            wanted = {run_id, *list(self._ahead)[:AHEAD_MAX]}
            self._ahead -= wanted
            self._invocations |= dict.fromkeys(wanted)
            condition = f"id = {sql_text(run_id)}" if len(wanted) == 1 else f"id in ({listed(wanted)})"
            self.remember([*self.query(f"select {rows.INVOCATION_COLUMNS} from sys_invocation where {condition}")])
        return self._invocations[run_id]

    def rows_of(self, run_ids: list[str]) -> list[rows.Row]:
        """The rows of some runs, in this order; deleted runs are left out."""
        if not run_ids:
            return []
        condition = f"id in ({listed(run_ids)})"
        self.remember([*self.query(f"select {rows.INVOCATION_COLUMNS} from sys_invocation where {condition}")])
        return [row for run_id in run_ids if (row := self._invocations.get(run_id)) is not None]

    # Journals

    def entries(
        self, invocation_id: bytes, *, with_payload: bool = False, low: int = 0, high: int | None = None
    ) -> list[EntryRow]:
        entries = self._journal(invocation_id).entries
        found = [item for index, item in entries.items() if low <= index and (high is None or index < high)]
        if not with_payload:
            return found
        payloads = self.payloads(invocation_id, [item.index for item in found])
        return [msgspec.structs.replace(item, payload=payloads[item.index]) for item in found if item.index in payloads]

    def payloads(self, invocation_id: bytes, indexes: list[int]) -> dict[int, bytes]:
        journal = self._journal(invocation_id)
        missing = [index for index in indexes if index in journal.entries and index not in journal.payloads]
        if missing:
            self._fetch(invocation_id, f"index in ({', '.join(map(str, missing))})")
        return {index: journal.payloads[index] for index in indexes if index in journal.payloads}

    def payloads_within(
        self, invocation_id: bytes, indexes: list[int], *, each_max: int, all_max: int
    ) -> tuple[dict[int, bytes], bool]:
        lengths = self._journal(invocation_id).lengths
        wanted, size = [], 0
        for index in indexes:
            if lengths.get(index, each_max + 1) <= each_max:
                size += lengths[index]
                if size > all_max:
                    break
                wanted.append(index)
        found: dict[int, bytes] = {}
        for start in range(0, len(wanted), STRETCH):
            found |= self.payloads(invocation_id, wanted[start : start + STRETCH])
        return found, size <= all_max

    def short_payloads(self, invocation_id: bytes, first: int, last: int, bytes_max: int) -> dict[int, bytes]:
        journal = self._journal(invocation_id)
        wanted = [index for index, length in journal.lengths.items() if first <= index <= last and length <= bytes_max]
        if not all(index in journal.payloads for index in wanted):
            self._fetch(invocation_id, f"index >= {first} and index <= {last} and raw_length <= {bytes_max}")
        return {index: journal.payloads[index] for index in wanted if index in journal.payloads}

    def mentions(self, invocation_id: bytes, text: str, after: int, bytes_max: int) -> list[tuple[int, bytes]]:
        journal = self._journal(invocation_id)
        indexes = [index for index, length in journal.lengths.items() if index > after and length < bytes_max]
        payloads = self.payloads(invocation_id, indexes)
        known = [(journal.entries[index].type_id, payloads[index]) for index in indexes if index in payloads]
        return mentioning(text, known)

    def signals(self, invocation_id: bytes) -> set[int | str]:
        return {item.signal for item in self.entries(invocation_id) if item.signal is not None}

    def entry_count(self, invocation_id: bytes) -> int:
        return len(self._journal(invocation_id).entries)

    def events(self, invocation_id: bytes, limit: int = 500) -> list[EventFact]:
        told = self.query(
            "select after_journal_entry_index, appended_at, event_type, event_json from sys_journal_events "
            f"where {is_run(invocation_id)} order by appended_at desc limit {limit}"
        )
        return [rows.event_from(row) for row in told[::-1]]

    def earlier_results(self, service: str, handler: str, step: str) -> list[tuple[bytes, int]]:
        latest = self.query(
            "select id, pinned_service_protocol_version as version from sys_invocation_status "
            f"where target_service_name = {sql_text(service)} and target_handler_name = {sql_text(handler)} "
            f"order by created_at desc limit {EARLIER_RUNS_MAX}"
        )
        if not latest:
            return []
        versions = {row["id"]: row.get("version") or DEFAULT_VERSION for row in latest}
        told = self.query(
            f"select {rows.ENTRY_COLUMNS}, raw from sys_journal where id in ({listed(versions)}) and index < 60 "
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

    def _journal(self, invocation_id: bytes) -> _Journal:
        known = self._journals.get(invocation_id)
        if known is not None:
            return known
        row = self.row(ids.invocation_id_to_str(invocation_id))
        is_short = row is not None and row.get("journal_size", 0) <= SHORT_JOURNAL_MAX
        bytes_max = SHORT_BYTES_MAX if is_short else -1
        told = self.query(
            f"select {rows.ENTRY_COLUMNS}, raw_length, case when raw_length <= {bytes_max} "
            "or entry_type = 'Notification: CallInvocationId' then raw end as raw "
            f"from sys_journal where {is_run(invocation_id)} order by index"
        )
        found = _Journal({}, {}, {})
        for row in told:
            entry = rows.entry_from(row)
            found.lengths[entry.index] = row["raw_length"]
            if len(entry.payload) == row["raw_length"]:
                found.payloads[entry.index] = entry.payload
            entry.payload = b""
            found.entries[entry.index] = entry
        self._journals[invocation_id] = found
        called = {ids.invocation_id_to_str(item.child) for item in found.entries.values() if item.child is not None}
        self._ahead |= called - self._invocations.keys()
        return found

    def _fetch(self, invocation_id: bytes, condition: str) -> None:
        told = self.query(f"select index, raw from sys_journal where {is_run(invocation_id)} and {condition}")
        self._journals[invocation_id].payloads |= {row["index"]: bytes.fromhex(row["raw"]) for row in told}

    # Who waits

    def waiting_runs(self, invocation_id: bytes) -> list[RunSummary]:
        """The caller, if it waits. No table has the runs that attached."""
        row = self.row(ids.invocation_id_to_str(invocation_id))
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
        asked = [
            decoded(MessageType.GET_PROMISE, payload, DEFAULT_VERSION)
            for payload in self.payloads(invocation_id, asking).values()
        ]
        return any(isinstance(message, GetPromiseCommand) and message.key == promise for message in asked)


def is_run(invocation_id: bytes) -> str:
    return f"id = {sql_text(ids.invocation_id_to_str(invocation_id))}"


def listed(texts: Iterable[str]) -> str:
    return ", ".join(map(sql_text, texts))


def _is_open_promise(step: Step) -> bool:
    return step.type is MessageType.GET_PROMISE and not step.is_done
