"""Virtual objects: one exclusive handler per key in arrival order, and the state of a key.

The holder keeps its key from start to end: while running, suspended, backing off and paused. Shared handlers do not use
this file. Operators' changes of state wait in the same queue. A handler's write to state takes effect with its command,
not at the handler's end. Called by lifecycle.py and sdk_commands.py.
"""

from __future__ import annotations

import base64
import hashlib

from rewake.core.commands import MutateState
from rewake.core.effects import Note, Reply, ReplyStatus
from rewake.core.model import Invocation, KeyedInstance, Queued, StateMutation, Status
from rewake.core.state import State


def acquire(state: State, invocation: Invocation) -> bool:
    """Take the key for this invocation; or add it to the end of the queue and return False."""
    instance = _instance_of(state, invocation)
    assert instance.holder != invocation.id
    if instance.holder is None:
        instance.holder = invocation.id
        return True
    invocation.inbox_sequence = state.next_inbox_sequence()
    _append(instance, invocation.id)
    return False


def _append(instance: KeyedInstance, waiting: Queued) -> None:
    (instance.late if instance.queue is None else instance.queue).append(waiting)


def holds_key(state: State, invocation: Invocation) -> bool:
    return _instance_of(state, invocation).holder == invocation.id


def release(state: State, invocation: Invocation) -> None:
    """Free the key and give it to the next invocation in the queue; state changes before that one are applied."""
    instance = _instance_of(state, invocation)
    assert instance.holder == invocation.id, (instance.holder, invocation.id)
    queue = state.queue_of(instance)
    instance.holder = None
    while queue and instance.holder is None:
        following = queue.pop(0)
        if isinstance(following, StateMutation):
            state.batch.mutations[following.sequence] = None
            _replace(state, following)
            continue
        waiting = state.invocation(following)
        assert waiting is not None and waiting.status is Status.INBOXED, following.hex()
        instance.holder = following
        state.ready.append(following)


def leave(state: State, invocation: Invocation) -> None:
    """Give up a place in the queue, or a key that the invocation got within this command and has not used."""
    instance = _instance_of(state, invocation)
    if instance.holder == invocation.id:
        release(state, invocation)
    elif instance.queue is not None:
        instance.queue.remove(invocation.id)
    else:
        instance.late = [item for item in instance.late if item != invocation.id]
        instance.left.add(invocation.id)  # its row may be stored by now, even if it came late


def _instance_of(state: State, invocation: Invocation) -> KeyedInstance:
    assert invocation.target.key is not None
    return state.instance(invocation.target.service, invocation.target.key)


def clear_values(state: State, service: str, key: str) -> None:
    for name in list(state.values_of(service, key)):
        state.put_value(service, key, name, None)


def on_mutate(state: State, command: MutateState) -> None:
    """Replace the state of a key now, or queue the change behind the running handler."""
    instance = state.instance(command.service, command.key)
    sequence = state.next_inbox_sequence()
    mutation = StateMutation(command.service, command.key, sequence, command.new_state, command.expected_version)
    if instance.holder is None:
        _replace(state, mutation)
    else:
        state.batch.mutations[sequence] = mutation
        _append(instance, mutation)
    state.emit(Reply(command.token, ReplyStatus.ACCEPTED))


def _replace(state: State, mutation: StateMutation) -> None:
    values = state.values_of(mutation.service, mutation.key)
    if mutation.expected_version is not None and mutation.expected_version != state_version(values):
        facts: dict[str, object] = {"service": mutation.service, "key": mutation.key}
        state.emit(Note("state_change_dropped_version_differs", None, facts, is_warning=True))
        return
    clear_values(state, mutation.service, mutation.key)
    for name, value in mutation.new_state.items():
        state.put_value(mutation.service, mutation.key, name, value)


def state_version(values: dict[bytes, bytes]) -> str:
    """Version of a key's state, for compare-and-set through the admin API (http-api.md 2.3)."""
    digest = hashlib.sha256()
    for index, (name, value) in enumerate(sorted(values.items())):
        digest.update(index.to_bytes(8, "big") + b"\x01" + name + b"\x02" + value + b"\x03")
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
