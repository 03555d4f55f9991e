"""The mismatch report (RT0016): the journal's entry beside the code's request at a replay, and the line of code.

It is made from the facts of a failed attempt and the steps of its journal. So the CLI, the pages, the log and the
replayer show the same report, for runs of any server. There are two kinds: an entry that differs, and an await without
a result in the journal. Source: the SDK's messages, read in restate-sdk 1.3.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from rewake import formats
from rewake.core.writes import EntryRow
from rewake.deployments.mismatch_trace import TRACE
from rewake.protocol.line_field import line_in
from rewake.protocol.messages import Error, MessageType
from rewake.runs.stacktrace import SourceLine, source_line
from rewake.runs.steps import Step

JOURNAL_MISMATCH: Final = 570
MADE_AT: Final = "The entry of the journal was made at:\n"
"""In front of a failure's stack trace, and of the line that made the entry, where the journal has it."""

SIDE_BY_SIDE: Final = "tasks of this handler use the context side by side"
"""A phrase that engine/mismatch.py adds to an error's message when two tasks of one handler caused it."""

AWAIT_NOT_REPLAYED: Final = "'await' could not be replayed"
_DIFFERENCE: Final = re.compile(r"^ *- Difference:\n((?: {3,}.*\n?)+)", re.MULTILINE)
_TITLES: Final = {
    "OneWayCall": "Send",
    "GetLazyState": "GetState",
    "GetEagerState": "GetState",
    "GetLazyStateKeys": "GetStateKeys",
    "GetEagerStateKeys": "GetStateKeys",
}
_CHANGED: Final = (
    "The code was changed while the run was open. Let open runs end on the old code, or restart them as new."
)
_UNSTABLE: Final = (
    "A clock, a random number, the order of a set or a variable of the process decides which step comes next, or what"
    " it is called. Take it from a step, or from ctx.time(), ctx.random() and ctx.uuid()."
)
_TASKS: Final = (
    "Tasks use the context side by side (asyncio.gather, TaskGroup) and come in another order. Start durable futures"
    " and wait for them with restate.gather."
)
_MUTATED: Final = "A value that is sent was changed after it was made: a list or a dict that another step also writes."
_AWAITS: Final = "An await was added, or moved in front of a step that came before it."


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """One mismatch. index: of the command in the journal; the input has 0.   recorded: the journal's command there.

    asked: what the code asked for, or awaits.   made: the app's line that made the entry, if lines are kept.
    differences: `field: recorded != asked`.   source: the app's line now.   causes: the usual ones, in sentences.
    """

    kind: Literal["entry", "await"]
    index: int | None
    recorded: str
    asked: str
    made: SourceLine | None = None
    differences: tuple[str, ...] = ()
    source: SourceLine | None = None
    causes: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The app's line: file, number, function and text; empty if it is not known."""
        return "" if self.source is None else line_words(self.source)

    def facts(self) -> list[tuple[str, str | None]]:
        """The report as names and values."""
        place = "" if self.index is None else f" as command {self.index}"
        return [
            ("the journal has", f"{self.recorded}{place}{self._state}"),
            ("made at", line_words(self.made) if self.made is not None else None),
            ("the code asked for", self.asked),
            ("at", self.line or None),
            ("differences", "\n".join(self.differences) or None),
            ("usual causes", "\n".join(f"- {cause}" for cause in self.causes) or None),
        ]

    def lines(self) -> list[str]:
        """The report as lines in two columns."""
        facts = [(name, value) for name, value in self.facts() if value]
        width = max(len(name) for name, _ in facts)
        lines = []
        for name, value in facts:
            first, *more = value.splitlines()
            lines += [f"{name:<{width}}  {first}", *(f"{'':<{width}}  {line}" for line in more)]
        return lines

    def sentence(self) -> str:
        """The same in one sentence, without the causes."""
        place = "" if self.index is None else f" as command {self.index}"
        line = f" at {self.line}" if self.line else ""
        made = f", made at {line_words(self.made)}" if self.made is not None else ""
        fields = f" ({'; '.join(self.differences)})" if self.differences else ""
        return (
            f"The journal has {self.recorded}{place}{self._state}{made}; the code asked for {self.asked}{fields}{line}."
        )

    @property
    def _state(self) -> str:
        return ", without a result" if self.kind == "await" else ""


def mismatch_of(failure: Mapping[str, Any], steps: Sequence[Step]) -> Mismatch | None:
    """The report of a failed attempt; None if it failed for another reason.

    failure: facts in the form of `sys_journal_events.event_json`.   steps: of the journal, named if possible.
    """
    if failure.get("error_code") != JOURNAL_MISMATCH:
        return None
    message = str(failure.get("error_message") or "")
    index = failure.get("related_command_index")
    step = next((each for each in steps if each.ordinal is not None and each.ordinal == index), None)
    is_await = AWAIT_NOT_REPLAYED in message
    made, trace = _traces(str(failure.get("error_stacktrace") or ""))
    asked = _asked(failure)
    return Mismatch(
        kind="await" if is_await else "entry",
        index=index if isinstance(index, int) else None,
        recorded="no such entry" if step is None else words_of(step),
        asked=f"the result of {asked}" if is_await else asked,
        made=None if is_await else source_line(made),
        differences=differences_in(message),
        source=source_line(trace),
        causes=_causes(message, is_await=is_await),
    )


def with_made_line(error: Error, entries: Sequence[EntryRow]) -> Error:
    """A mismatch whose stack trace begins with the line that made the entry, where the journal has it.

    entries: the journal in order, with payloads.
    """
    commands = [entry for entry in entries if entry.is_command]
    index, trace = error.related_command_index, error.stacktrace
    line = None if index is None or index >= len(commands) else line_in(commands[index].payload)
    if line is None or trace.startswith(MADE_AT):
        return error
    place, function, text = [*line.split("\n"), "", ""][:3]
    file, _, number = place.rpartition(":")
    made = f'{MADE_AT}  File "{file}", line {number}, in {function}\n    {text}\n'
    return msgspec.structs.replace(error, stacktrace=made + (trace if trace.startswith(TRACE) else TRACE + trace))


def differences_in(message: str) -> tuple[str, ...]:
    """The differing fields in the SDK's message."""
    found = _DIFFERENCE.search(message)
    return () if found is None else tuple(formats.safe(line.strip()) for line in found[1].splitlines() if line.strip())


def words_of(step: Step) -> str:
    """A step in words, as `Run pick` or `Call Clerk/file`."""
    title = "".join(part.capitalize() for part in step.type.name.split("_"))
    return formats.safe(f"{_TITLES.get(title, title)} {step.name or step.subject}".strip())


def line_words(source: SourceLine) -> str:
    """A line of code in words."""
    function = f" in {source.function}" if source.function else ""
    return f"{source.file}:{source.line}{function}" + (f": {source.text}" if source.text else "")


def _traces(text: str) -> tuple[str, str]:
    """The stack trace of the line that made the entry, if it is known, and that of the current line."""
    if not text.startswith(MADE_AT):
        return "", text
    made, _, trace = text.removeprefix(MADE_AT).partition(TRACE)
    return made, trace


def _asked(failure: Mapping[str, Any]) -> str:
    title = str(failure.get("related_command_type") or "something else")
    if title == "".join(part.capitalize() for part in MessageType.OUTPUT.name.split("_")):
        return "the end of the handler"
    name = failure.get("related_command_name")
    return formats.safe(f"{_TITLES.get(title, title)} {name or ''}".strip())


def _causes(message: str, *, is_await: bool) -> tuple[str, ...]:
    if SIDE_BY_SIDE in message:
        return (_TASKS,)
    if is_await:
        return (_AWAITS, _TASKS, _CHANGED)
    sent = any(line.startswith(("parameter", "value", "headers")) for line in differences_in(message))
    return (_MUTATED, _UNSTABLE, _CHANGED) if sent else (_CHANGED, _UNSTABLE, _TASKS)
