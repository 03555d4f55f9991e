"""What a journal shows about a mismatch."""

from __future__ import annotations

import pytest

from rewake.core.ids import CompletionId, EntryIndex, InvocationId
from rewake.core.writes import EntryRow
from rewake.engine.mismatch import explain
from rewake.protocol.messages import Error, MessageType

RUN, RUN_DONE = MessageType.RUN, MessageType.RUN_COMPLETION


def journal(*entries: str | int) -> list[EntryRow]:
    """Entries by name: a run, or the completion (a number) of the run with that completion id, from 1."""
    rows = [EntryRow(InvocationId(b""), EntryIndex(0), MessageType.INPUT, b"", 0)]
    runs = 0
    for entry in entries:
        if isinstance(entry, str):
            runs += 1
            rows.append(
                EntryRow(
                    InvocationId(b""), EntryIndex(len(rows)), RUN, b"", 0, name=entry, completion_id=CompletionId(runs)
                )
            )
        else:
            rows.append(
                EntryRow(InvocationId(b""), EntryIndex(len(rows)), RUN_DONE, b"", 0, completion_id=CompletionId(entry))
            )
    return rows


def mismatch(index: int | None, name: str | None) -> Error:
    return Error(570, "Mismatch.", related_command_index=index, related_command_name=name, related_command_type=RUN)


def test_an_await_that_other_tasks_went_past() -> None:
    error = explain(mismatch(1, "a"), journal("a", "b", 2, "c", 3))
    assert error.message == (
        "The journal has Run a as command 1; the code asked for Run a.\nMismatch.\n"
        "Two tasks of this handler use the context side by side: 'a' (command 1) had no result when other"
        " tasks made the commands after it. At a replay tasks come in another order. Do not share the context between"
        " tasks (asyncio.gather, TaskGroup): start durable futures and wait for them with restate.gather, or make a"
        " handler of each task. See 'Parallel work in a handler' in the documentation."
    )


def test_a_command_that_was_made_beside_an_open_one() -> None:
    error = explain(mismatch(3, "a2"), journal("a", "b", 2, "b2", 1, "a2"))
    assert error.message.startswith(
        "The journal has Run b2 as command 3; the code asked for Run a2.\nMismatch.\n"
        "Command 3 of the journal was made while 'a' was open: two tasks of this handler use the context"
        " side by side and come in another order at a replay, or the code was changed. Do not share"
    )


@pytest.mark.parametrize(
    ("error", "entries"),
    [
        (mismatch(2, "other"), journal("a", 1, "b", 2)),  # one after another: the code was changed
        (mismatch(2, "b"), journal("a", 1, "b")),  # nothing was made after it
        (mismatch(9, "b"), journal("a", 1, "b")),
        (mismatch(None, None), journal("a", "b")),
    ],
)
def test_a_journal_that_shows_no_race_has_the_usual_causes(error: Error, entries: list[EntryRow]) -> None:
    sides, _, causes = explain(error, entries).message.splitlines()
    assert sides.startswith("The journal has ")
    assert causes.startswith("Usual causes: The code was changed while the run was open.")


def test_both_sides_and_the_line() -> None:
    trace = 'Traceback (most recent call last):\n  File "/app/desk.py", line 7, in give\n    await ctx.sleep(a)\n'
    asked = Error(570, "Mismatch.", trace, related_command_index=2, related_command_type=MessageType.SLEEP)
    assert explain(asked, journal("a", 1, "b", 2)).message.splitlines()[0] == (
        "The journal has Run b as command 2; the code asked for Sleep at app/desk.py:7 in give: await ctx.sleep(a)."
    )
