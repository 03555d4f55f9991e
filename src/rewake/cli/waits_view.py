"""What a run waits for, as lines of `rewake invocations show`: what is asked, by whom, and how to answer it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rewake.cli.durations import spoken_duration
from rewake.cli.tables import one_line, shortened
from rewake.runs.turns import OpenCall
from rewake.runs.waits import Wait

_ASKED_CHARS: Final = 300


def wait_lines(waiting: Sequence[Wait], calls: Sequence[OpenCall], now_ms: int) -> list[str]:
    """The lines, empty when it waits for nothing. calls: model calls that no step answers yet."""
    lines = [line for item in waiting for line in _lines_of(item, now_ms)]
    told = {item.question.tool for item in waiting if item.question is not None}
    lines += [
        f"  {one_line(call.agent)} asked for {one_line(call.tool)}, which has no step yet: "
        f"{shortened(call.arguments, _ASKED_CHARS)}"
        for call in calls
        if call.tool not in told
    ]
    return ["", "waits for", *lines] if lines else []


def wait_text(waiting: Sequence[Wait], now_ms: int) -> str:
    """The first one in a few words, and how many more; empty when it waits for nothing."""
    if not waiting:
        return ""
    more = f", and {len(waiting) - 1} more" if len(waiting) > 1 else ""
    return f"waits for: {one_line(waiting[0].title)}{_due(waiting[0], now_ms)}{more}"


def left_lines(questions: Sequence[Wait], now_ms: int) -> list[str]:
    """The same for the questions of a run that has ended and asks between turns."""
    lines = [line for item in questions for line in _lines_of(item, now_ms)]
    return ["", "has ended, and asks between turns", *lines] if lines else []


def _lines_of(item: Wait, now_ms: int) -> Iterator[str]:
    since = "" if item.since_ms is None else f", since {spoken_duration(max(now_ms - item.since_ms, 0))}"
    yield f"  {one_line(item.title)}{since}{_due(item, now_ms)}"
    if asked := asked_in(item):
        yield f"    {shortened(asked, _ASKED_CHARS)}"
    if item.run_id is not None:
        yield f"    rewake invocations show {item.run_id}"
    if item.approval is not None:
        yield f"    rewake approvals approve {item.approval}"
        yield f"    rewake approvals deny {item.approval} --why REASON"
    elif item.awakeable is not None:
        yield f"    rewake awakeables resolve {item.awakeable} JSON"
        yield f"    rewake awakeables reject {item.awakeable} REASON"
    if item.promise is not None:
        yield f"    rewake promises resolve {' '.join(map(_quoted, item.promise))} JSON"


def _due(item: Wait, now_ms: int) -> str:
    return "" if item.due_at_ms is None else f", {spoken_duration(max(item.due_at_ms - now_ms, 0))} more"


def asked_in(item: Wait) -> str:
    """The question and who asks: the model's call, the text sent out with the id, or the step before."""
    question = item.question
    if item.approval is not None:
        return item.asked
    if question is not None and question.tool:
        return f"{question.agent or 'A model'} asked for {question.tool}({question.arguments})"
    if item.asked or question is None or not question.after:
        return item.asked
    return f"after {question.after}: {question.text}" if question.text else f"after {question.after}"


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(one_line(text))
