"""Explains a mismatch (570) from the journal: the entry beside the code's request, and whether tasks raced.

The SDK reports that the code took another path, and blames a change of the code. But tasks that use the context side by
side can take another path without any change, which the SDK's text does not mention. Used by live_attempts.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from rewake.core.failures import error_of, facts_of
from rewake.core.writes import EntryRow
from rewake.protocol.messages import Error
from rewake.runs.mismatch import mismatch_of, with_made_line
from rewake.runs.steps import DEFAULT_VERSION, named_steps

USUAL_CAUSES: Final = "Usual causes: "

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
    """The error with a sentence on both sides, and one on racing tasks (if the journal shows them) or usual causes.

    The line that made the entry goes in front of its stack trace, where pages and the CLI look for it.

    entries: the journal in order, with payloads.
    """
    error = with_made_line(error, entries)
    report = mismatch_of(facts_of(error_of(error)), named_steps(entries, DEFAULT_VERSION))
    assert report is not None, error.code
    cause = _cause(error, entries)
    why = f"{cause} {REMEDY}" if cause is not None else USUAL_CAUSES + " ".join(report.causes)
    return msgspec.structs.replace(error, message=f"{report.sentence()}\n{error.message}\n{why}")


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
    """Commands without a result at the time of the last entry."""
    completed = {entry.completion_id for entry in entries if not entry.is_command}
    return [
        entry for entry in entries if entry.is_command and entry.completion_id not in completed and entry.completion_id
    ]
