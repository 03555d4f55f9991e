"""Writes: the rows that a batch changes. The store applies a batch in one transaction, the simulation to dicts.

Each list has rows of one table, in order of creation. For keyed rows a value of None deletes, and the last write of a
key wins; but in `promises` None means "exists, not completed". Invocations appear at most once per batch, with their
final values. Apply in this order: abandoned (all timers of these invocations, and their listeners and promise listeners
by `caller_id`), deletes (the invocation with its journal, events and listeners), journal_deletes, promise_deletes (the
completed promises of a workflow key), deletes of listeners and promise listeners before new ones, then everything else
in any order.
"""

from __future__ import annotations

import msgspec

from rewake.core.ids import CompletionId, EntryIndex, InvocationId
from rewake.core.model import Deployment, Invocation, Listener, ServiceSchema, StateMutation, Timer
from rewake.protocol.messages import Failure, MessageType, Success


class EntryRow(msgspec.Struct):
    """One journal entry. completion_id: of a command's result, or the one that a notification completes.

    signal: index or name of a Signal.   child: id of the callee in a CallInvocationId notification.
    """

    invocation_id: InvocationId
    index: EntryIndex
    type_id: int
    payload: bytes
    appended_at_ms: int
    name: str | None = None
    completion_id: CompletionId | None = None
    signal: int | str | None = None
    is_failure: bool = False
    child: InvocationId | None = None

    @property
    def is_command(self) -> bool:
        return self.type_id < MessageType.GET_LAZY_STATE_COMPLETION


class EventRow(msgspec.Struct):
    """One row of `sys_journal_events`. data: the event as JSON text."""

    invocation_id: InvocationId
    after_index: EntryIndex
    appended_at_ms: int
    event_type: str
    data: str


class Batch(msgspec.Struct):
    """All writes of one commit."""

    sequence: int = 0
    inserts: list[Invocation] = []
    updates: list[Invocation] = []
    abandoned: list[InvocationId] = []
    deletes: list[InvocationId] = []
    journal_deletes: list[InvocationId] = []
    entries: list[EntryRow] = []
    events: list[EventRow] = []
    timers: dict[Timer, bool] = {}
    listeners: list[tuple[InvocationId, Listener]] = []
    listener_deletes: list[InvocationId] = []
    state: dict[tuple[str, str, bytes], bytes | None] = {}
    promises: dict[tuple[str, str, str], Success | Failure | None] = {}
    promise_listeners: list[tuple[tuple[str, str, str], Listener]] = []
    promise_listener_deletes: list[tuple[str, str, str]] = []
    promise_deletes: list[tuple[str, str]] = []
    mutations: dict[int, StateMutation | None] = {}
    deployments: dict[str, Deployment | None] = {}
    services: dict[str, ServiceSchema | None] = {}

    @property
    def is_empty(self) -> bool:
        return not (
            self.inserts
            or self.updates
            or self.entries
            or self.abandoned
            or self.deletes
            or self.journal_deletes
            or self.events
            or self.timers
            or self.listeners
            or self.listener_deletes
            or self.state
            or self.promises
            or self.promise_listeners
            or self.promise_listener_deletes
            or self.promise_deletes
            or self.mutations
            or self.deployments
            or self.services
        )
