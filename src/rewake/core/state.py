"""The live state: structs in memory, the changes of the current batch, and its effects.

It loads through the Reader, collects the batch, and evicts. Memory is a cache: `committed` drops invocations that do
not run and have no uncommitted writes. Transitions change structs in place, and then call `touch` (the row changed) or
`hold` (keep it until this batch is committed). The engine calls seal and committed.
"""

from __future__ import annotations

from collections import defaultdict, deque
from copy import copy
from typing import Final

from rewake.core.effects import Effect
from rewake.core.errors import EngineBug
from rewake.core.ids import Epoch, InvocationId
from rewake.core.model import (
    BY_URL,
    AttemptError,
    Deployment,
    HandlerOptions,
    Invocation,
    JournalSummary,
    KeyedInstance,
    Listener,
    Promise,
    Queued,
    ServiceSchema,
    StateMutation,
    Status,
    Target,
    Timer,
)
from rewake.core.reader import Reader
from rewake.core.settings import Settings
from rewake.core.writes import Batch, EntryRow
from rewake.protocol.codec import decode_message
from rewake.protocol.messages import CANCEL_SIGNAL, Failure, MessageType, OutputCommand, Success

NO_EPOCH: Final = Epoch(0)
PromiseKey = tuple[str, str, str]
InstanceKey = tuple[str, str]

COMPLETION_OF: dict[MessageType, MessageType] = {
    MessageType.GET_LAZY_STATE: MessageType.GET_LAZY_STATE_COMPLETION,
    MessageType.GET_LAZY_STATE_KEYS: MessageType.GET_LAZY_STATE_KEYS_COMPLETION,
    MessageType.GET_PROMISE: MessageType.GET_PROMISE_COMPLETION,
    MessageType.PEEK_PROMISE: MessageType.PEEK_PROMISE_COMPLETION,
    MessageType.COMPLETE_PROMISE: MessageType.COMPLETE_PROMISE_COMPLETION,
    MessageType.SLEEP: MessageType.SLEEP_COMPLETION,
    MessageType.CALL: MessageType.CALL_COMPLETION,
    MessageType.RUN: MessageType.RUN_COMPLETION,
    MessageType.ATTACH_INVOCATION: MessageType.ATTACH_INVOCATION_COMPLETION,
    MessageType.GET_INVOCATION_OUTPUT: MessageType.GET_INVOCATION_OUTPUT_COMPLETION,
}
"""Command -> type of the notification that completes its result."""


class State:
    """All that transitions read and change. Not thread-safe: one event loop applies commands."""

    def __init__(self, reader: Reader, settings: Settings | None = None, *, last_epoch: Epoch = NO_EPOCH) -> None:
        self.reader = reader
        self.last_epoch = last_epoch
        self.settings = settings or Settings()
        self.effects: list[Effect] = []
        self.batch = Batch(sequence=1)
        self.invocations: dict[InvocationId, Invocation] = {}
        self.instances: dict[InstanceKey, KeyedInstance] = {}
        self.promises: dict[PromiseKey, Promise] = {}
        self.deployments: dict[str, Deployment] = {item.id: item for item in reader.deployments()}
        self.services: dict[str, ServiceSchema] = {item.name: item for item in reader.services()}
        self._inbox_sequence = reader.last_sequence()
        self._dirty: dict[InvocationId, Invocation] = {}
        self._held: dict[InvocationId, int] = {}
        self._held_instances: dict[InstanceKey, int] = {}
        self._idle_instances: dict[InstanceKey, None] = {}  # by last use, oldest first
        self._held_promises: dict[PromiseKey, int] = {}
        self._batch_holds: dict[int, tuple[set[InvocationId], set[InstanceKey], set[PromiseKey]]] = defaultdict(
            lambda: (set(), set(), set())
        )
        self._sealed: dict[int, Batch] = {}
        self._callees: dict[InvocationId, set[InvocationId]] = defaultdict(set)  # by caller, of all listeners in memory
        self.ready: deque[InvocationId] = deque()
        """Invocations to begin at the end of the command: their await is resolved, or they got their key."""

        self.unstartable: deque[tuple[InvocationId, Epoch, AttemptError]] = deque()
        """Attempts that could not start. They fail one by one at the end of the command (see apply)."""

        self._forgotten_promises: dict[InstanceKey, int] = {}

    # Looking up, loading on a miss

    def invocation(self, invocation_id: InvocationId) -> Invocation | None:
        """The invocation, from memory or the store; None if unknown or deleted."""
        found = self.invocations.get(invocation_id)
        if found is None:
            if invocation_id in self._held:  # deleted in an uncommitted batch
                return None
            found = self.reader.invocation(invocation_id)
            if found is None:
                return None
            self.invocations[invocation_id] = found
            self.hold(found)
        return found

    def journal_of(self, invocation: Invocation) -> JournalSummary:
        """Facts of the journal's content, rebuilt from its rows if missing."""
        if invocation.journal is None:
            self.hold(invocation)
            is_just_input = invocation.journal_length == 1
            invocation.journal = (
                JournalSummary() if is_just_input else summarize(self.reader.journal_rows(invocation.id))
            )
        return invocation.journal

    def output_of(self, invocation: Invocation) -> Success | Failure | None:
        """The last Output in the journal, of this attempt or of one that died between Output and End."""
        journal = self.journal_of(invocation)
        if journal.output is None:
            for row in reversed(self.entries_of(invocation)):
                if row.type_id == MessageType.OUTPUT:
                    message = decode_message(row.type_id, row.payload, invocation.pinned_version or 6)
                    assert isinstance(message, OutputCommand)
                    journal.output = message.result
                    break
        return journal.output

    def entries_of(self, invocation: Invocation) -> list[EntryRow]:
        """The whole journal with payloads: the stored rows with all uncommitted changes."""
        rows = {row.index: row for row in self.reader.journal(invocation.id)}
        for batch in (*self._sealed.values(), self.batch):
            if invocation.id in batch.deletes or invocation.id in batch.journal_deletes:
                rows = {}
            rows.update((row.index, row) for row in batch.entries if row.invocation_id == invocation.id)
        return [rows[index] for index in sorted(rows)]

    def unstored_timers(self) -> list[Timer]:
        """Timers that are set in memory and not stored yet; some of them may have been deleted since."""
        batches = (*self._sealed.values(), self.batch)
        return [timer for batch in batches for timer, is_set in batch.timers.items() if is_set]

    def listeners_of(self, invocation: Invocation) -> list[Listener]:
        """Invocations that wait for this one's result."""
        if invocation.listeners is None:
            self.hold(invocation)
            invocation.listeners = self.reader.listeners(invocation.id)
            for listener in invocation.listeners:
                self._callees[listener.caller_id].add(invocation.id)
        return invocation.listeners

    def instance(self, service: str, key: str) -> KeyedInstance:
        """The key's holder, and its queue if loaded."""
        name = (service, key)
        found = self.instances.get(name)
        if found is None:
            holder = self.reader.key_holder(service, key)
            found = KeyedInstance(service, key, holder, None if holder else [])
            self.instances[name] = found
        else:
            self._idle_instances.pop(name, None)
        self._held_instances[name] = self.batch.sequence
        self._batch_holds[self.batch.sequence][1].add(name)
        return found

    def queue_of(self, instance: KeyedInstance) -> list[Queued]:
        """The queue of a key, in order; changed in place. It is loaded only if needed, not for each new member."""
        if instance.queue is None:
            skipped = instance.left.union(item for item in instance.late if not isinstance(item, StateMutation))
            changes = {item.sequence for item in instance.late if isinstance(item, StateMutation)}
            stored = self.reader.key_queue(instance.service, instance.key)
            instance.queue = [
                item
                for item in stored
                if not (item.sequence in changes if isinstance(item, StateMutation) else item in skipped)
            ]
            instance.queue += instance.late
            instance.late, instance.left = [], set()
        return instance.queue

    def values_of(self, service: str, key: str) -> dict[bytes, bytes]:
        """All state of a key. Use `put_value` for changes."""
        instance = self.instance(service, key)
        if instance.state is None:
            instance.state = self.reader.state(service, key)
        return instance.state

    def promise(self, service: str, key: str, name: str) -> Promise:
        """A workflow promise; a new one is not stored yet."""
        promise_key = (service, key, name)
        found = self.promises.get(promise_key)
        if found is None:
            found = self.reader.promise(service, key, name)
            if found is None or (found.result is not None and (service, key) in self._forgotten_promises):
                found = Promise(service, key, name)
            self.promises[promise_key] = found
        self._held_promises[promise_key] = self.batch.sequence
        self._batch_holds[self.batch.sequence][2].add(promise_key)
        return found

    @property
    def is_self_contained(self) -> bool:
        """Whether all handlers belong to the app: no deployment reached by URL is registered."""
        return all(deployment.kind != BY_URL for deployment in self.deployments.values())

    def options_of(self, target: Target) -> HandlerOptions:
        """Effective settings of a handler; the engine's defaults if it is no longer registered."""
        service = self.services.get(target.service)
        handler = service.handlers.get(target.handler) if service else None
        return handler.options if handler else self.settings.defaults

    # Recording changes

    def listen(self, callee: Invocation, listener: Listener) -> None:
        """Add one that waits for the result of an invocation."""
        self.listeners_of(callee).append(listener)
        self._callees[listener.caller_id].add(callee.id)
        self.hold(callee)
        self.batch.listeners.append((callee.id, listener))

    def take_listeners(self, invocation: Invocation) -> list[Listener]:
        """Remove and return all that wait for the result of an invocation."""
        listeners = self.listeners_of(invocation)
        if listeners:
            self._unindex_listeners(invocation)
            invocation.listeners = []
            self.batch.listeners = [row for row in self.batch.listeners if row[0] != invocation.id]
            self.batch.listener_deletes.append(invocation.id)
        return listeners

    def _unindex_listeners(self, invocation: Invocation) -> None:
        for listener in invocation.listeners or ():
            callees = self._callees.get(listener.caller_id)
            if callees is not None:
                callees.discard(invocation.id)
                if not callees:
                    del self._callees[listener.caller_id]

    def hold(self, invocation: Invocation) -> None:
        """Keep this invocation in memory at least until the current batch is committed."""
        self._held[invocation.id] = self.batch.sequence
        self._batch_holds[self.batch.sequence][0].add(invocation.id)

    def touch(self, invocation: Invocation) -> None:
        """The invocation's row changed; it is written once, with its values at the end of the batch."""
        self._dirty[invocation.id] = invocation
        self.hold(invocation)

    def add(self, invocation: Invocation) -> None:
        self.invocations[invocation.id] = invocation
        self.touch(invocation)

    def next_epoch(self) -> Epoch:
        """A number that no attempt in this process has had, not even one of an earlier invocation with the same id.

        A rebuilt state gets `last_epoch` from the old one, because old streams may still send messages.
        """
        self.last_epoch = Epoch(self.last_epoch + 1)
        return self.last_epoch

    def delete(self, invocation: Invocation) -> None:
        """Delete an invocation with its journal and events."""
        self.hold(invocation)
        self._dirty.pop(invocation.id, None)
        del self.invocations[invocation.id]
        self._unindex_listeners(invocation)
        self._drop_rows(invocation)
        self.batch.listeners = [row for row in self.batch.listeners if row[0] != invocation.id]
        if invocation.is_stored:
            self.batch.deletes.append(invocation.id)

    def drop_journal(self, invocation: Invocation) -> None:
        """Delete the journal and the events of a completed invocation."""
        self.touch(invocation)
        self._drop_rows(invocation)
        self.batch.journal_deletes.append(invocation.id)

    def _drop_rows(self, invocation: Invocation) -> None:
        batch = self.batch
        batch.entries = [row for row in batch.entries if row.invocation_id != invocation.id]
        batch.events = [row for row in batch.events if row.invocation_id != invocation.id]

    def abandon(self, invocation: Invocation) -> None:
        """Delete the timers and listeners of an invocation that ended while it waited.

        Its id may be used again, and the second invocation must not get the first one's notifications.
        """
        ended_id, batch = invocation.id, self.batch
        batch.abandoned.append(ended_id)
        batch.timers = {key: is_set for key, is_set in batch.timers.items() if key[1] != ended_id}
        batch.listeners = [row for row in batch.listeners if row[1].caller_id != ended_id]
        batch.promise_listeners = [row for row in batch.promise_listeners if row[1].caller_id != ended_id]
        for callee_id in self._callees.pop(ended_id, ()):
            callee = self.invocations[callee_id]
            callee.listeners = [item for item in callee.listeners or () if item.caller_id != ended_id]
        for promise in self.promises.values():
            promise.listeners = [item for item in promise.listeners if item.caller_id != ended_id]

    def forget_promises(self, service: str, key: str) -> None:
        """Delete the completed promises of a workflow key; listeners of open ones stay."""
        batch, name = self.batch, (service, key)
        for promise_key, promise in self.promises.items():
            if promise_key[:2] == name:
                promise.result = None
        batch.promises = {item: result for item, result in batch.promises.items() if result is None or item[:2] != name}
        batch.promise_deletes.append(name)
        self._forgotten_promises[name] = batch.sequence

    def put_value(self, service: str, key: str, name: bytes, value: bytes | None) -> None:
        """Set one state value, in memory and in the batch; None deletes it."""
        values = self.values_of(service, key)
        if value is None:
            values.pop(name, None)
        else:
            values[name] = value
        self.batch.state[(service, key, name)] = value

    def next_inbox_sequence(self) -> int:
        self._inbox_sequence += 1
        return self._inbox_sequence

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    # Batches

    @property
    def has_work(self) -> bool:
        """Whether the current batch has writes, effects, or held invocations."""
        return bool(self.effects or self._dirty or self.batch.sequence in self._batch_holds or not self.batch.is_empty)

    def seal(self) -> tuple[Batch, list[Effect]]:
        """Close the current batch: its writes, with copies of the rows, and its effects for after the commit.

        Raises EngineBug, with the invocation's id, if a row contradicts itself.
        """
        batch, effects = self.batch, self.effects
        for invocation in self._dirty.values():
            check(invocation)
            (batch.updates if invocation.is_stored else batch.inserts).append(copy(invocation))
            invocation.is_stored = True
        self._dirty = {}
        self.effects = []
        self._sealed[batch.sequence] = batch
        self.batch = Batch(sequence=batch.sequence + 1)
        return batch, effects

    def committed(self, sequence: int) -> None:
        """A batch is durable: drop what it held and memory no longer needs."""
        self._sealed.pop(sequence, None)
        self._forgotten_promises = {name: last for name, last in self._forgotten_promises.items() if last > sequence}
        invocations, instances, promises = self._batch_holds.pop(sequence, (set(), set(), set()))
        for invocation_id in invocations:
            if self._held[invocation_id] == sequence:
                del self._held[invocation_id]
                invocation = self.invocations.get(invocation_id)
                if invocation is not None and invocation.status is not Status.INVOKED:
                    self._evict(invocation)
        for promise_key in promises:
            if self._held_promises[promise_key] == sequence:
                del self._held_promises[promise_key]
                del self.promises[promise_key]
        for name in instances:
            if self._held_instances[name] == sequence:
                del self._held_instances[name]
                self._release_instance(name)

    def _release_instance(self, name: InstanceKey) -> None:
        """Evict a key, unless its holder runs; a free key stays for a while."""
        instance = self.instances[name]
        if instance.holder in self.invocations:
            return
        size = sum(map(len, (instance.state or {}).values()))
        if instance.holder is not None or size > self.settings.idle_state_bytes_max:
            del self.instances[name]
            return
        self._idle_instances[name] = None
        if len(self._idle_instances) > self.settings.idle_instances_max:
            oldest = next(iter(self._idle_instances))
            del self._idle_instances[oldest], self.instances[oldest]

    def _evict(self, invocation: Invocation) -> None:
        del self.invocations[invocation.id]
        self._unindex_listeners(invocation)
        if invocation.target.key is not None:
            name = (invocation.target.service, invocation.target.key)
            if name not in self._held_instances and name not in self._idle_instances:
                self.instances.pop(name, None)

    def check(self) -> None:
        """Assert the invariants after a transition. Used by tests, by the simulation, and after recovery."""
        assert not self.ready, self.ready
        assert not self.unstartable, self.unstartable
        for invocation_id, invocation in self.invocations.items():
            check(invocation)
            assert invocation.id == invocation_id, (invocation_id.hex(), invocation.id.hex())
            assert invocation.is_stored or invocation_id in self._dirty, invocation_id.hex()
            for listener in invocation.listeners or ():
                assert invocation_id in self._callees[listener.caller_id], invocation_id.hex()
        assert all(self._callees.values()), "callers that wait for nothing"
        for (service, key), instance in self.instances.items():
            holder = self.invocations.get(instance.holder) if instance.holder else None
            if holder is not None:
                assert holder.status in (Status.INVOKED, Status.SUSPENDED, Status.PAUSED), (service, key, holder.status)
            assert instance.holder is not None or not instance.queue, (service, key)
            assert instance.holder not in (instance.queue or ()), (service, key)


def check(invocation: Invocation) -> None:
    """Raise EngineBug if the fields of an invocation contradict its status. Cheap: called for every written row."""
    status, attempt = invocation.status, invocation.attempt
    is_right = (
        (invocation.awaiting is not None) == (status is Status.SUSPENDED)
        and (invocation.result is not None) == (status is Status.COMPLETED)
        and (attempt is None or status is Status.INVOKED)
        and (attempt is None or attempt.epoch == invocation.epoch)
        and (status is not Status.INVOKED or (attempt is None) == (invocation.next_retry_at_ms is not None))
    )
    if not is_right:
        raise EngineBug(invocation.id, f"an invocation that is {status.name} has what does not fit: {invocation}")


def summarize(rows: list[EntryRow]) -> JournalSummary:
    """The Journal of stored rows: pending results, signals and children."""
    journal = JournalSummary()
    for row in rows:
        if row.completion_id is not None:
            journal.last_id = max(journal.last_id, row.completion_id)
        if row.type_id >= 0x8000:
            if row.completion_id is not None:
                journal.pending.pop(row.completion_id, None)
            if row.signal == CANCEL_SIGNAL:
                journal.cancelled_at = row.index
            elif isinstance(row.signal, int):
                journal.signals.add(row.signal)
            if row.child is not None:
                journal.children.append(row.child)
        else:
            journal.cancelled_at = None
            if row.completion_id is not None:
                journal.pending[row.completion_id] = COMPLETION_OF[MessageType(row.type_id)]
    return journal
