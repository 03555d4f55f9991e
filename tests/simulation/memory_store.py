"""The store on dicts: what a batch means, as plainly as it can be said, and the Reader of the core.

Applies a Batch in the order core/writes.py gives, and refuses what SQLite would refuse (a second row of a key) and
more (a gap in a journal). It shares nothing with live structs, so a forgotten `touch` shows as a lost change.
Used by the simulation and by the unit tests of the core.
"""

from __future__ import annotations

from copy import copy

from rewake.core.ids import Epoch, InvocationId
from rewake.core.model import (
    HOLDS_KEY,
    Deployment,
    Invocation,
    KeyedInstance,
    Listener,
    Promise,
    Queued,
    ServiceSchema,
    StateMutation,
    Status,
    Timer,
)
from rewake.core.writes import Batch, EntryRow, EventRow

FIRST_NOTIFICATION = 0x8000


class MemoryStore:
    """Committed state. `apply` is one commit."""

    def __init__(self) -> None:
        self.invocations: dict[InvocationId, Invocation] = {}
        self.entries: dict[bytes, list[EntryRow]] = {}
        self.events: list[EventRow] = []
        self.timers: set[Timer] = set()
        self.listener_rows: dict[bytes, list[Listener]] = {}
        self.values: dict[tuple[str, str], dict[bytes, bytes]] = {}
        self.promises: dict[tuple[str, str, str], Promise] = {}
        self.promise_listeners: dict[tuple[str, str, str], list[Listener]] = {}
        self.mutations: dict[int, StateMutation] = {}
        self.deployment_rows: dict[str, Deployment] = {}
        self.service_rows: dict[str, ServiceSchema] = {}

    # Writing

    def apply(self, batch: Batch) -> None:
        """All writes of a batch."""
        for ended_id in batch.abandoned:
            self._abandon(ended_id)
        for gone_id in batch.deletes:
            del self.invocations[gone_id]
            self.listener_rows.pop(gone_id, None)
            self._drop_journal(gone_id)
        for gone_id in batch.journal_deletes:
            self._drop_journal(gone_id)
        self._apply_promises(batch)
        for callee_id in batch.listener_deletes:
            self.listener_rows.pop(callee_id, None)
        for callee_id, listener in batch.listeners:
            self.listener_rows.setdefault(callee_id, []).append(listener)
        for invocation in batch.inserts:
            assert invocation.id not in self.invocations, f"inserted twice: {invocation.id.hex()}"
            self._put(invocation)
        for invocation in batch.updates:
            assert invocation.id in self.invocations, f"updated, but not there: {invocation.id.hex()}"
            self._put(invocation)
        for row in batch.entries:
            rows = self.entries.setdefault(row.invocation_id, [])
            assert row.invocation_id in self.invocations, f"entry of nothing: {row}"
            assert row.index == len(rows), f"journal has {len(rows)} entries, next is {row}"
            rows.append(row)
        self.events.extend(batch.events)
        for timer, is_set in batch.timers.items():
            (self.timers.add if is_set else self.timers.discard)(timer)
        self._apply_rare(batch)

    def _put(self, invocation: Invocation) -> None:
        row = copy(invocation)
        row.attempt = row.journal = row.listeners = row.notified = None
        row.journal_length = row.command_count = row.stored_at_ms = row.epoch = Epoch(0)
        self.invocations[row.id] = row

    def _abandon(self, ended_id: bytes) -> None:
        self.timers = {timer for timer in self.timers if timer[1] != ended_id}
        for listeners in [*self.listener_rows.values(), *self.promise_listeners.values()]:
            listeners[:] = [item for item in listeners if item.caller_id != ended_id]

    def _drop_journal(self, invocation_id: bytes) -> None:
        self.entries.pop(invocation_id, None)
        self.events = [row for row in self.events if row.invocation_id != invocation_id]

    def _apply_promises(self, batch: Batch) -> None:
        for name in batch.promise_deletes:
            self.promises = {key: item for key, item in self.promises.items() if key[:2] != name or item.result is None}
        for promise_key, result in batch.promises.items():
            promise = self.promises.setdefault(promise_key, Promise(*promise_key))
            promise.result = result or promise.result
        for promise_key in batch.promise_listener_deletes:
            self.promise_listeners.pop(promise_key, None)
        for promise_key, listener in batch.promise_listeners:
            self.promise_listeners.setdefault(promise_key, []).append(listener)

    def _apply_rare(self, batch: Batch) -> None:
        for (service, key, name), value in batch.state.items():
            values = self.values.setdefault((service, key), {})
            if value is None:
                values.pop(name, None)
            else:
                values[name] = value
        for sequence, mutation in batch.mutations.items():
            if mutation is None:
                self.mutations.pop(sequence, None)
            else:
                self.mutations[sequence] = mutation
        for deployment_id, deployment in batch.deployments.items():
            if deployment is None:
                self.deployment_rows.pop(deployment_id, None)
            else:
                self.deployment_rows[deployment_id] = deployment
        for service_name, schema in batch.services.items():
            if schema is None:
                self.service_rows.pop(service_name, None)
            else:
                self.service_rows[service_name] = schema

    # core.reader.Reader

    def invocation(self, invocation_id: InvocationId) -> Invocation | None:
        row = self.invocations.get(invocation_id)
        if row is None:
            return None
        found = copy(row)
        rows = self.entries.get(invocation_id, ())
        found.is_stored = True
        found.journal_length = len(rows)
        found.command_count = sum(entry.type_id < FIRST_NOTIFICATION for entry in rows)
        found.stored_at_ms = rows[-1].appended_at_ms if rows else 0
        return found

    def journal_rows(self, invocation_id: bytes) -> list[EntryRow]:
        rows = [copy(row) for row in self.entries.get(invocation_id, ())]
        for row in rows:
            row.payload = b""
        return rows

    def journal(self, invocation_id: bytes) -> list[EntryRow]:
        return list(map(copy, self.entries.get(invocation_id, ())))

    def listeners(self, invocation_id: bytes) -> list[Listener]:
        return list(self.listener_rows.get(invocation_id, ()))

    def keyed_instance(self, service: str, key: str) -> KeyedInstance:
        instance = KeyedInstance(service, key)
        waiting: list[tuple[int, InvocationId | StateMutation]] = []
        for item in self.invocations.values():
            target = item.target
            if target.service == service and target.key == key and target.is_exclusive:
                if item.status in HOLDS_KEY:
                    assert instance.holder is None, f"two holders of {service}/{key}"
                    instance.holder = item.id
                elif item.status is Status.INBOXED:
                    waiting.append((item.inbox_sequence, item.id))
        waiting += [
            (item.sequence, item) for item in self.mutations.values() if (item.service, item.key) == (service, key)
        ]
        instance.queue = [item for _, item in sorted(waiting, key=lambda pair: pair[0])]
        return instance

    def key_holder(self, service: str, key: str) -> InvocationId | None:
        return self.keyed_instance(service, key).holder

    def key_queue(self, service: str, key: str) -> list[Queued]:
        return self.keyed_instance(service, key).queue or []

    def state(self, service: str, key: str) -> dict[bytes, bytes]:
        return dict(self.values.get((service, key), ()))

    def promise(self, service: str, key: str, name: str) -> Promise | None:
        row = self.promises.get((service, key, name))
        if row is None:
            return None
        return Promise(service, key, name, row.result, list(self.promise_listeners.get((service, key, name), ())))

    def deployments(self) -> list[Deployment]:
        return list(self.deployment_rows.values())

    def services(self) -> list[ServiceSchema]:
        return list(self.service_rows.values())

    def last_sequence(self) -> int:
        sequences = [item.inbox_sequence for item in self.invocations.values()]
        return max([0, *sequences, *self.mutations])

    # What the engine asks of a store besides

    def due_timers(self, now_ms: int) -> list[Timer]:
        return sorted(timer for timer in self.timers if timer[0] <= now_ms)

    def ids_with(self, *statuses: Status) -> list[InvocationId]:
        return [item.id for item in self.invocations.values() if item.status in statuses]
