"""What must be true of committed history, checked batch by batch beside the store.

Knows: the result of every completion, who holds each key and who was admitted last, the state every handler's commands
add up to, the result of every invocation. `observe` is called with each batch as it is committed.
"""

from __future__ import annotations

from tests.simulation.memory_store import MemoryStore
from tests.simulation.sdk_model import Violation

from rewake.core.effects import Completed, Effect, Reply, ReplyStatus
from rewake.core.ids import InvocationId
from rewake.core.model import HOLDS_KEY, Invocation, Status
from rewake.core.writes import Batch, EntryRow
from rewake.protocol import messages as m
from rewake.protocol.codec import decode_message

InstanceName = tuple[str, str]
ALREADY_INVOKED = "the workflow method was already invoked"


class Model:
    """The few facts that the engine must never contradict."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.completions: dict[tuple[bytes, int], bytes] = {}
        self.awakeables: set[tuple[bytes, int]] = set()
        self.wake_times: dict[tuple[bytes, int], int] = {}
        self.results: dict[bytes, m.Outcome] = {}
        self.values: dict[InstanceName, dict[bytes, bytes]] = {}
        self.admitted: dict[InstanceName, int] = {}
        self.changed_by_operators: set[InstanceName] = set()
        self.forgotten: set[bytes] = set()

    def commit(self, batch: Batch, effects: list[Effect]) -> None:
        """Apply the batch to the store and check what it did."""
        before = {item.id: self.store.invocations.get(item.id) for item in batch.updates}
        waiting = [item for item in self.store.invocations.values() if item.status is Status.INBOXED]
        gone = [self.store.invocations[item] for item in batch.deletes]
        self.store.apply(batch)
        self._forget(gone)
        for invocation in [*batch.inserts, *batch.updates]:
            self._check_move(before.get(invocation.id), invocation)
        copied = {item.id for item in batch.inserts if item.restarted_from is not None}
        own_entries = [entry for entry in batch.entries if entry.invocation_id not in copied]
        for entry in batch.entries:
            self._check_entry(entry)
        for entry in own_entries:
            self._check_completion(entry, gone_ids=set(batch.deletes))
        self._check_holders(batch, before, waiting)
        self._check_state(batch, own_entries)
        self._check_answers(batch, effects)

    def _forget(self, gone: list[Invocation]) -> None:
        for item in gone:
            self.forgotten.add(item.id)
            self.results.pop(item.id, None)
            self.completions = {key: value for key, value in self.completions.items() if key[0] != item.id}
            self.awakeables = {awakeable for awakeable in self.awakeables if awakeable[0] != item.id}
            if item.target.is_workflow_run and item.status is Status.COMPLETED:
                self._forget_workflow(item)

    def _forget_workflow(self, item: Invocation) -> None:
        name = (item.target.service, item.target.key or "")
        self.values[name] = {}
        is_running_again = item.id in self.store.invocations
        if not is_running_again and self.store.state(*name):
            raise Violation(f"state outlives the workflow run {name}")

    def _check_move(self, before: Invocation | None, after: Invocation) -> None:
        was_completed = before is not None and before.status is Status.COMPLETED
        if before is not None and was_completed and (after.status, after.result) != (before.status, before.result):
            raise Violation(f"a completed invocation changed: {before} to {after}")
        if after.result is not None:
            self.results[after.id] = after.result

    def _check_entry(self, entry: EntryRow) -> None:
        key = (entry.invocation_id, entry.completion_id or 0)
        if entry.type_id == m.MessageType.SLEEP:
            sleep = decode_message(entry.type_id, entry.payload, 7)
            assert isinstance(sleep, m.SleepCommand)
            self.wake_times[key] = sleep.wake_up_at_ms
        elif entry.type_id == m.MessageType.SIGNAL:
            if isinstance(entry.signal, int) and entry.signal >= m.FIRST_USER_SIGNAL:
                if (entry.invocation_id, entry.signal) in self.awakeables:
                    raise Violation(f"awakeable completed twice: {entry}")
                self.awakeables.add((entry.invocation_id, entry.signal))
        elif entry.type_id >= 0x8000:
            if key in self.completions:
                raise Violation(f"completed twice: {entry}")
            self.completions[key] = entry.payload

    def _check_completion(self, entry: EntryRow, gone_ids: set[bytes]) -> None:
        if entry.type_id == m.MessageType.SLEEP_COMPLETION:
            if entry.appended_at_ms < self.wake_times[entry.invocation_id, entry.completion_id or 0]:
                raise Violation(f"woken too early: {entry}")
        elif entry.type_id == m.MessageType.CALL_COMPLETION:
            self._check_call(entry, gone_ids)

    def _check_call(self, entry: EntryRow, gone_ids: set[bytes]) -> None:
        """A caller gets what the callee completed with."""
        assert entry.completion_id is not None
        rows = self.store.entries[entry.invocation_id]
        (call,) = [
            row for row in rows if row.type_id == m.MessageType.CALL and row.completion_id == entry.completion_id
        ]
        command = decode_message(call.type_id, call.payload, 7)
        assert isinstance(command, m.CallCommand)
        known = [row.child for row in rows if row.child and row.completion_id == command.invocation_id_completion_id]
        if not known or known[0] in gone_ids:
            return  # the call was copied by a restart, or the callee may already be the next one with its id
        told = decode_message(entry.type_id, entry.payload, 7)
        assert isinstance(told, m.Completion)
        expected = self.results.get(known[0])
        if expected is not None and _plain(told.result) != _plain(expected) and not _is_conflict(told.result):
            raise Violation(f"caller got {told.result}, callee has {expected}")

    def _check_holders(
        self, batch: Batch, before: dict[InvocationId, Invocation | None], waiting: list[Invocation]
    ) -> None:
        for item in [*batch.inserts, *batch.updates]:
            if not item.target.is_exclusive or item.status not in HOLDS_KEY:
                continue
            earlier = before.get(item.id)
            if earlier is not None and earlier.status in HOLDS_KEY:
                continue
            name = (item.target.service, item.target.key or "")
            self.store.keyed_instance(*name)  # asserts that there is one holder only
            if item.inbox_sequence and item.inbox_sequence < self.admitted.get(name, 0):
                raise Violation(f"{item} was admitted after one that came later")
            self.admitted[name] = max(self.admitted.get(name, 0), item.inbox_sequence)
            for other in waiting:
                still = self.store.invocations.get(other.id)
                if still is None or still.status is not Status.INBOXED or other.created_at_ms != still.created_at_ms:
                    continue
                is_same_key = (other.target.service, other.target.key) == name
                if is_same_key and (not item.inbox_sequence or other.inbox_sequence < item.inbox_sequence):
                    raise Violation(f"{item} overtook {other}")

    def _check_state(self, batch: Batch, own_entries: list[EntryRow]) -> None:
        """State is what the handlers' commands add up to; an operator's change is taken as it is."""
        if not batch.state:
            return
        for entry in own_entries:
            target = self.store.invocations[entry.invocation_id].target
            if target.key is not None:
                self._take(self.values.setdefault((target.service, target.key), {}), entry)
        for name in {key[:2] for key in batch.state}:
            if self.values.get(name, {}) != self.store.state(*name) and not self._is_excused(name, batch):
                raise Violation(f"state of {name} is {self.store.state(*name)}, commands give {self.values.get(name)}")
            self.values[name] = self.store.state(*name)

    def _take(self, values: dict[bytes, bytes], entry: EntryRow) -> None:
        if entry.type_id == m.MessageType.CLEAR_ALL_STATE:
            values.clear()
        elif entry.type_id in (m.MessageType.SET_STATE, m.MessageType.CLEAR_STATE):
            message = decode_message(entry.type_id, entry.payload, 7)
            if isinstance(message, m.SetStateCommand):
                values[message.key] = message.value
            elif isinstance(message, m.ClearStateCommand):
                values.pop(message.key, None)

    def _is_excused(self, name: InstanceName, batch: Batch) -> bool:
        """Entries of what was forgotten in the same batch are not there to add up, nor are operators' changes.

        Nor is the state that a fork begins a branch of its key with: no command wrote it there.
        """
        forks = {(item.target.service, item.target.key) for item in batch.inserts if item.branch_of}
        return bool(batch.deletes or batch.journal_deletes) or name in self.changed_by_operators or name in forks

    def _check_answers(self, batch: Batch, effects: list[Effect]) -> None:
        gone = set(batch.deletes)
        for effect in effects:
            if isinstance(effect, Completed):
                if effect.invocation is not None and effect.invocation.status is not Status.COMPLETED:
                    continue  # forgotten before it began; what has its id now is another one
                told: m.Outcome | None = effect.result
            elif isinstance(effect, Reply) and effect.status is ReplyStatus.COMPLETED:
                told = effect.result
            else:
                continue
            known = self.results.get(effect.invocation_id or b"")
            if known is not None and effect.invocation_id not in gone and told != known and not _is_conflict(told):
                raise Violation(f"answered {told} for {effect.invocation_id!r}, which has {known}")


def _plain(result: object) -> object:
    """Without what protocol version 5 cannot say."""
    return (result.code, result.message) if isinstance(result, m.Failure) else result


def _is_conflict(result: object) -> bool:
    return isinstance(result, m.Failure) and result.message == ALREADY_INVOKED
