"""The journal: appending commands and notifications, and waking who waits for a notification.

Entries are only ever appended. A notification goes into the journal, then to the live attempt's stream, or to the
resume rule of a suspended invocation, which is ready to run again once the rule holds. At most one notification
completes a completion id.
Called by every transition that has news for an invocation. Read next: lifecycle.py.
"""

from __future__ import annotations

from rewake.core.effects import Forward
from rewake.core.ids import CompletionId, EntryIndex, InvocationId
from rewake.core.model import Invocation, Notified, Status
from rewake.core.state import COMPLETION_OF, State
from rewake.core.writes import EntryRow, EventRow
from rewake.protocol.awaiting import Outcome, is_resolved, waiting_completions, waiting_signals
from rewake.protocol.codec import encode_message
from rewake.protocol.messages import (
    CANCEL_SIGNAL,
    FIRST_USER_SIGNAL,
    Completion,
    Failure,
    Future,
    MessageType,
    Signal,
    SignalResult,
)


def append_command(
    state: State,
    invocation: Invocation,
    type_id: MessageType,
    payload: bytes,
    *,
    now_ms: int,
    name: str,
    completion_id: CompletionId | None = None,
) -> None:
    """Store a command verbatim; its completion id, if it has one, is pending from now on."""
    known = state.journal_of(invocation)
    known.cancelled_at = None
    if completion_id is not None and (completion := COMPLETION_OF.get(type_id)) is not None:
        known.pending[completion_id] = completion
    _append(state, invocation, type_id, payload, now_ms, name=name, completion_id=completion_id)
    invocation.command_count += 1
    if invocation.retry_count or invocation.command_retry_count or invocation.kill_count:
        invocation.retry_count = invocation.command_retry_count = invocation.kill_count = 0
        state.touch(invocation)


def append_completion(
    state: State,
    invocation: Invocation,
    completion: Completion,
    *,
    now_ms: int,
    child: InvocationId | None = None,
    forward: bool = True,
) -> None:
    """Store the result of a command and pass it on, unless nothing waits for it (done before, or ended).

    forward: False when the live attempt knows the result, as it proposed it; then only an acknowledgement is due.
    """
    if not invocation.is_open:
        return
    completion_id = CompletionId(completion.completion_id)
    pending = state.journal_of(invocation).pending
    if child is None and pending.pop(completion_id, None) is None:
        return
    is_failure = isinstance(completion.result, Failure)
    entry = _append(
        state,
        invocation,
        completion.type,
        encode_message(completion, invocation.pinned_version or 6),
        now_ms,
        completion_id=completion_id,
        is_failure=is_failure,
        child=child,
    )
    notified = Notified(entry.index, completion_id, False, is_failure)
    _pass_on(state, invocation, notified, entry if forward else None)


def append_signal(
    state: State, invocation: Invocation, signal: int | str, result: SignalResult, *, now_ms: int
) -> bool:
    """Store a signal and pass it on. False for an ended invocation or an awakeable that is already completed."""
    if not invocation.is_open:
        return False
    known = state.journal_of(invocation)
    if isinstance(signal, int) and signal >= FIRST_USER_SIGNAL:
        if signal in known.signals:
            return False
        known.signals.add(signal)
    elif signal == CANCEL_SIGNAL:
        known.cancelled_at = EntryIndex(invocation.journal_length)
    payload = encode_message(Signal(signal, result), invocation.pinned_version or 6)
    is_failure = isinstance(result, Failure)
    entry = _append(state, invocation, MessageType.SIGNAL, payload, now_ms, signal=signal, is_failure=is_failure)
    _pass_on(state, invocation, Notified(entry.index, signal, True, is_failure), entry)
    return True


def copy_entry(state: State, invocation: Invocation, row: EntryRow, now_ms: int) -> None:
    """Append an entry of another invocation's journal as it is; what it completes there is completed here."""
    known = state.journal_of(invocation)
    type_id = MessageType(row.type_id)
    if row.completion_id is not None and type_id in COMPLETION_OF:
        known.pending[row.completion_id] = COMPLETION_OF[type_id]
    elif row.completion_id is not None and type_id >= MessageType.GET_LAZY_STATE_COMPLETION and row.child is None:
        known.pending.pop(row.completion_id, None)
    if row.signal == CANCEL_SIGNAL:
        known.cancelled_at = EntryIndex(invocation.journal_length)
    elif isinstance(row.signal, int):
        known.signals.add(row.signal)
    _append(
        state,
        invocation,
        type_id,
        row.payload,
        now_ms,
        name=row.name,
        completion_id=row.completion_id,
        signal=row.signal,
        is_failure=row.is_failure,
    )
    if row.is_command:
        known.cancelled_at = None
        invocation.command_count += 1


def append_event(state: State, invocation: Invocation, event_type: str, data: str, now_ms: int) -> None:
    """Record something operators should see beside the journal (`sys_journal_events`)."""
    state.hold(invocation)
    after_index = EntryIndex(max(invocation.journal_length - 1, 0))
    state.batch.events.append(EventRow(invocation.id, after_index, now_ms, event_type, data))


def _append(
    state: State,
    invocation: Invocation,
    type_id: MessageType,
    payload: bytes,
    now_ms: int,
    *,
    name: str | None = None,
    completion_id: CompletionId | None = None,
    signal: int | str | None = None,
    is_failure: bool = False,
    child: InvocationId | None = None,
) -> EntryRow:
    index = EntryIndex(invocation.journal_length)
    entry = EntryRow(invocation.id, index, type_id, payload, now_ms, name, completion_id, signal, is_failure, child)
    state.hold(invocation)
    state.batch.entries.append(entry)
    invocation.journal_length = index + 1
    invocation.stored_at_ms = now_ms
    if child is not None:
        state.journal_of(invocation).children.append(child)
    return entry


def _pass_on(state: State, invocation: Invocation, notified: Notified, forwarded: EntryRow | None) -> None:
    if invocation.status is Status.SUSPENDED:
        known = notified_of(state, invocation)
        known.append(notified)
        assert invocation.awaiting is not None
        if await_resolved(invocation.awaiting, known):
            state.ready.append(invocation.id)
    elif invocation.attempt is not None and invocation.notified is not None:
        invocation.notified.append(notified)
        if forwarded is not None:
            type_id, payload = forwarded.type_id, forwarded.payload
            state.emit(Forward(invocation.id, invocation.epoch, notified.index, type_id, payload))


def notified_of(state: State, invocation: Invocation) -> list[Notified]:
    """Notifications a suspended invocation has got since its handler stopped listening, and earlier ones it names."""
    if invocation.notified is None:
        assert invocation.awaiting is not None
        rows = state.reader.journal_rows(invocation.id)
        named = _named_once(invocation.awaiting)
        invocation.notified = [
            item for item in _notified_in(rows) if item.index >= invocation.awaiting_from or _once_id(item) in named
        ]
    return invocation.notified


def given_before(state: State, invocation: Invocation, awaiting: Future, missed: list[Notified]) -> list[Notified]:
    """What the handler had been given when it suspended, and still names in its await.

    Only what comes once: a cancel or a named signal may be awaited anew.   missed: what it had not been given.
    """
    known = state.journal_of(invocation)
    named = _named_once(awaiting).difference(map(_once_id, missed))
    if all(item not in known.signals if is_signal else item in known.pending for is_signal, item in named):
        return []
    return [item for item in _notified_in(state.entries_of(invocation)) if _once_id(item) in named]


def _named_once(awaiting: Future) -> set[tuple[bool, int | str]]:
    """Completions and awakeables in an await, as (is_signal, id)."""
    signals = [item for item in waiting_signals(awaiting) if isinstance(item, int) and item >= FIRST_USER_SIGNAL]
    return {*((True, item) for item in signals), *((False, item) for item in waiting_completions(awaiting))}


def _once_id(item: Notified) -> tuple[bool, int | str]:
    return item.is_signal, item.id


def _notified_in(rows: list[EntryRow]) -> list[Notified]:
    return [
        Notified(row.index, _identity_of(row), row.signal is not None, row.is_failure)
        for row in rows
        if row.type_id >= MessageType.GET_LAZY_STATE_COMPLETION
    ]


def _identity_of(row: EntryRow) -> int | str:
    if row.signal is not None:
        return row.signal
    assert row.completion_id is not None
    return row.completion_id


def await_resolved(awaiting: Future, notified: list[Notified]) -> bool:
    """The resume rule over these notifications only (service-protocol.md 5.4)."""
    outcomes = {(item.is_signal, item.id): item.is_failure for item in notified}

    def lookup(identity: int | str, is_signal: bool) -> Outcome:
        failed = outcomes.get((is_signal, identity))
        if failed is None:
            return Outcome.PENDING
        return Outcome.FAILURE if failed else Outcome.SUCCESS

    return is_resolved(awaiting, lookup)
