"""Branches: a fork of an earlier turn gets a copy of its key, so that later turns are not lost.

A fork goes on from the state that its kept entries read. If later runs have changed the key, or are about to, writes of
the fork would set the key back to the earlier state. So the fork gets its own key, with the earlier state. Its handler
still sees the first key, which the kept entries were made with. Called by restart.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from rewake.core import ids
from rewake.core.effects import Note
from rewake.core.model import Invocation, Target
from rewake.core.state import State
from rewake.core.writes import EntryRow
from rewake.protocol.codec import decode_message
from rewake.protocol.messages import (
    ClearAllStateCommand,
    ClearStateCommand,
    Completion,
    GetEagerStateCommand,
    GetLazyStateCommand,
    MessageType,
    SetStateCommand,
    Success,
)

SUFFIX_CHARS = 8
"""Characters of the new invocation's id at the end of the key's name."""

Values = dict[bytes, bytes | None]

_ABOUT_STATE = frozenset(
    {
        MessageType.GET_EAGER_STATE,
        MessageType.GET_LAZY_STATE,
        MessageType.GET_LAZY_STATE_COMPLETION,
        MessageType.SET_STATE,
        MessageType.CLEAR_STATE,
        MessageType.CLEAR_ALL_STATE,
    }
)


def is_needed(state: State, old: Invocation, kept: list[EntryRow], rows: list[EntryRow]) -> bool:
    """Whether a fork of `old` would continue from a state that other runs of the key have changed or may change."""
    target = old.target
    if target.key is None or not target.can_write_state:
        return False
    version = old.pinned_version or 6
    if not values_known(kept, version):
        return False
    instance = state.instance(target.service, target.key)
    if instance.holder not in (None, old.id) or state.queue_of(instance):
        return True
    return _is_outdated(kept, rows, state.values_of(target.service, target.key), version)


def make(state: State, old: Invocation, kept: list[EntryRow], new_id: ids.InvocationId) -> Target:
    """The target of the fork: a new key. Its state comes from the kept entries; other values are the current ones."""
    service, key = old.target.service, old.target.key
    assert key is not None
    suffix = ids.invocation_id_to_str(new_id)[-SUFFIX_CHARS:]
    branch = structs.replace(old.target, key=f"{key.partition(ids.BRANCH_MARK)[0]}{ids.BRANCH_MARK}{suffix}")
    assert branch.key is not None
    values = {**state.values_of(service, key), **values_known(kept, old.pinned_version or 6)}
    for name, value in values.items():
        if value is not None:
            state.put_value(service, branch.key, name, value)
    facts: dict[str, object] = {"service": service, "key": key, "branch": branch.key}
    state.emit(Note("forked_on_a_branch_of_the_key", new_id, facts))
    return branch


def values_known(rows: list[EntryRow], version: int) -> Values:
    """Each value that these entries read or wrote, by the last such entry; None for a deleted one."""
    values: Values = {}
    asked: dict[int, bytes] = {}
    for row in rows:
        if row.type_id not in _ABOUT_STATE:
            continue
        match decode_message(row.type_id, row.payload, version):
            case GetEagerStateCommand(key=name, result=result):
                values[name] = result.content if isinstance(result, Success) else None
            case GetLazyStateCommand(key=name, completion_id=completion_id):
                asked[completion_id] = name
            case Completion(completion_id=completion_id, result=result) if completion_id in asked:
                values[asked[completion_id]] = result.content if isinstance(result, Success) else None
            case SetStateCommand(key=name, value=value):
                values[name] = value
            case ClearStateCommand(key=name):
                values[name] = None
            case ClearAllStateCommand():
                values = dict.fromkeys(values)
    return values


def _is_outdated(kept: list[EntryRow], rows: list[EntryRow], current: Mapping[bytes, bytes], version: int) -> bool:
    """Whether a value in the kept entries has changed since the whole journal was written."""
    left = values_known(rows, version)
    return any(left.get(name) != current.get(name) for name in values_known(kept, version))
