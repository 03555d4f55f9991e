"""What a journal shows about a mismatch (570): whether tasks of the handler raced for their places in it.

The SDK reports that the code took another path, and blames the code. Tasks that use the context side by side take
another path without any change of the code, and the SDK's text does not mention that cause. Read by live_attempts.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from rewake.core.writes import EntryRow
from rewake.protocol.messages import Error

LEFT_OPEN: Final = (
    "Two tasks of this handler use the context side by side: {name!r} (command {index}) had no result when other tasks"
    " made the commands after it. At a replay tasks come in another order."
)
MADE_BESIDE: Final = (
    "Command {index} of the journal was made while {other!r} was open: two tasks of this handler use the context side"
    " by side and come in another order at a replay, or the code was changed."
)
REMEDY: Final = (
    "Do not share the context between tasks (asyncio.gather, TaskGroup): start durable futures and wait for them with"
    " restate.gather, or make a handler of each task. See 'Parallel work in a handler' in the documentation."
)


def explain(error: Error, entries: Sequence[EntryRow]) -> Error:
    """The error with a sentence on racing tasks, if the journal shows them. entries: the journal in order."""
    cause = _cause(error, entries)
    return error if cause is None else msgspec.structs.replace(error, message=f"{error.message}\n{cause} {REMEDY}")


def _cause(error: Error, entries: Sequence[EntryRow]) -> str | None:
    index = error.related_command_index
    commands = [entry for entry in entries if entry.is_command]
    if index is None or index >= len(commands):
        return None
    found, name = commands[index], error.related_command_name or ""
    if (found.type_id, found.name or "") == (error.related_command_type, name):
        is_left_open = found is not commands[-1] and found in _open_at_the_end(entries)
        return LEFT_OPEN.format(name=name, index=index) if is_left_open else None
    others = _open_at_the_end(entries[: found.index])
    return MADE_BESIDE.format(index=index, other=others[-1].name or "another entry") if others else None


def _open_at_the_end(entries: Sequence[EntryRow]) -> list[EntryRow]:
    """Commands that wait for a result when the last of the entries is made."""
    completed = {entry.completion_id for entry in entries if not entry.is_command}
    return [
        entry for entry in entries if entry.is_command and entry.completion_id not in completed and entry.completion_id
    ]
