"""The journal: appends commands and notifications, and wakes invocations that wait for a notification.

Entries are only appended. A notification is stored in the journal and then sent to the live attempt's stream. If the
invocation is suspended, the resume rule is evaluated instead, and decides whether it can run again. At most one
notification completes a completion id. Called by every transition with a result for an invocation. Read next:
lifecycle.py.
"""

from __future__ import annotations

from rewake.core.effects import Forward
from rewake.core.ids import CompletionId, EntryIndex, InvocationId
from rewake.core.model import Invocation, Notified, Status
from rewake.core.state import COMPLETION_OF, State
from rewake.core.writes import EntryRow, EventRow
from rewake.protocol.awaiting import Lookup, Outcome, is_resolved, waiting_completions, waiting_signals
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
    """Store a command unchanged; its completion id, if it has one, is pending from now on."""
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
    """Store the result of a command and forward it. Does nothing if the command is completed or the invocation ended.

    forward: False if the live attempt proposed the result itself; then it only gets an acknowledgement.
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
    """Store a signal and forward it. False if the invocation has ended or the awakeable is already completed."""
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
    """Append an unchanged entry of another invocation's journal. The copy gets all results of its commands as well."""
    known = state.journal_of(invocation)
    if row.signal == CANCEL_SIGNAL:
        known.cancelled_at = EntryIndex(invocation.journal_length)
    elif isinstance(row.signal, int):
        known.signals.add(row.signal)
    _append(
        state,
        invocation,
        row.type_id,
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
    """Store an event for operators beside the journal (`sys_journal_events`)."""
    after_index = EntryIndex(max(invocation.journal_length - 1, 0))
    state.batch.events.append(EventRow(invocation.id, after_index, now_ms, event_type, data))


def _append(
    state: State,
    invocation: Invocation,
    type_id: int,
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
    known = state.journal_of(invocation)
    state.batch.entries.append(entry)
    invocation.journal_length = index + 1
    invocation.stored_at_ms = now_ms
    if child is not None:
        known.children.append(child)
    if completion_id is not None:
        if completion_id > known.last_id:
            known.last_id = completion_id
        if known.taken is not None:
            known.taken.add(completion_id)
    return entry


def is_taken(state: State, invocation: Invocation, completion_id: CompletionId) -> bool:
    """Whether this id names a result of an earlier command. SDKs count upwards, so the journal is rarely read."""
    known = state.journal_of(invocation)
    if completion_id > known.last_id:
        return False
    if known.taken is None:
        known.taken = {row.completion_id for row in state.entries_of(invocation)}
    return completion_id in known.taken


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
    """Notifications that arrived after a suspended handler stopped reading, and earlier ones that its await names."""
    if invocation.notified is None:
        assert invocation.awaiting is not None
        rows = state.reader.journal_rows(invocation.id)
        named = _named_once(invocation.awaiting)
        invocation.notified = [
            item for item in _notified_in(rows) if item.index >= invocation.awaiting_from or _once_id(item) in named
        ]
    return invocation.notified


def given_before(state: State, invocation: Invocation, awaiting: Future, missed: list[Notified]) -> list[Notified]:
    """Notifications that the handler had before it suspended, but that its await still names.

    Only those that come once: a cancel or a named signal may be awaited again.   missed: those it had not got.
    """
    known = state.journal_of(invocation)
    named = _named_once(awaiting).difference(map(_once_id, missed))
    if all(item not in known.signals if is_signal else item in known.pending for is_signal, item in named):
        return []
    return [item for item in _notified_in(state.entries_of(invocation)) if _once_id(item) in named]


def never_coming(state: State, invocation: Invocation, awaiting: Future, notified: list[Notified]) -> list[int]:
    """Completions without which the await cannot be resolved, and which nothing will bring while nobody executes it.

    Such are ids that no command has, and steps without a result.   notified: what was given of what it names.
    """
    pending = state.journal_of(invocation).pending
    given = {_once_id(item): item.is_failure for item in notified}
    stuck = [
        item
        for item in waiting_completions(awaiting)
        if (False, item) not in given
        and pending.get(CompletionId(item), MessageType.RUN_COMPLETION) is MessageType.RUN_COMPLETION
    ]

    def hoped(outcome: Outcome) -> Lookup:
        """What comes in the end, if all that may come is of this outcome. A cancel is nothing to wait for."""

        def lookup(identity: int | str, is_signal: bool) -> Outcome:
            if (is_signal, identity) in given:
                return Outcome.FAILURE if given[is_signal, identity] else Outcome.SUCCESS
            is_stuck = identity == CANCEL_SIGNAL if is_signal else identity in stuck
            return Outcome.PENDING if is_stuck else outcome

        return lookup

    if stuck and any(is_resolved(awaiting, hoped(outcome)) for outcome in (Outcome.SUCCESS, Outcome.FAILURE)):
        return []
    return stuck


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
        if not row.is_command
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
