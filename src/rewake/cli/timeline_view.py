"""A run tree drawn as text: one bar for each invocation and each of its steps, to scale, and who handed over to whom.

Draws only: the tree and the handoffs are read in rewake.runs, as the web UI has them. Steps that take no time (state,
input, output) have no bar. Called by `rewake invocations show` and `watch`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rewake.cli.durations import spoken_duration
from rewake.cli.tables import one_line, shortened
from rewake.core.model import Invocation
from rewake.runs.agents import agent_trace
from rewake.runs.reading import Reading
from rewake.runs.steps import Step
from rewake.runs.tree import Branch, fetch_tree
from rewake.runs.turns import Handoff

STEPS_MAX: Final = 60
"""Bars of one invocation; the rest is a count."""

NAME_CHARS_MAX: Final = 38
BAR_CHARS_MIN: Final = 20
WIDTH_CHARS: Final = 100

_SOLID, _OPEN, _FAILED = "━", "╌", "✗"
_PLAIN: Final = str.maketrans(
    {"━": "=", "╌": "-", "✗": "x", "├": "|", "└": "`", "│": "|", "─": "-", "→": ">", "…": "~"}
)


def picture_lines(reading: Reading, invocation: Invocation) -> list[str]:
    """The timeline of a run, and below it who handed over to whom."""
    root = fetch_tree(reading, invocation.id)
    if root is None:
        return []
    encoding = sys.stdout.encoding or "ascii"
    width = shutil.get_terminal_size((WIDTH_CHARS, 24)).columns if sys.stdout.isatty() else WIDTH_CHARS
    lines = timeline_lines(root, reading.now_ms, width_chars=width, encoding=encoding)
    handoffs = handoff_lines(agent_trace(reading, invocation).handoffs, root.run.created_at_ms, encoding)
    return [*lines, "", *handoffs] if handoffs else lines


def timeline_lines(root: Branch, now_ms: int, *, width_chars: int = WIDTH_CHARS, encoding: str = "utf-8") -> list[str]:
    """The tree with its bars, the scale above."""
    bars = list(_bars(root, "", ""))
    start_ms = root.run.created_at_ms
    end_ms = max([start_ms + 1, *(now_ms if bar.end_ms is None else bar.end_ms for bar in bars)])
    names = max(len(bar.name) for bar in bars)
    room = max(width_chars - names - 26, BAR_CHARS_MIN)
    lines = [f"{'':<{names}}  0{spoken_duration(end_ms - start_ms):>{room - 1}}"]
    lines += [bar.line(start_ms, end_ms, names, room) for bar in bars]
    return [_encodable(line, encoding) for line in lines]


def handoff_lines(handoffs: list[Handoff], start_ms: int, encoding: str = "utf-8") -> list[str]:
    """Who handed over to whom, in order; nothing when nobody did."""
    width = max((len(one_line(item.source)) for item in handoffs), default=0)
    taker = max((len(one_line(item.target)) for item in handoffs), default=0)
    return [
        _encodable(
            f"{one_line(item.source):>{width}} ──→ {one_line(item.target):<{taker}}  {item.kind}, "
            f"+{(item.at_ms - start_ms) / 1_000:.3f} s",
            encoding,
        )
        for item in handoffs
    ]


@dataclass(slots=True)
class _Bar:
    name: str
    start_ms: int
    end_ms: int | None
    remark: str
    is_failed: bool

    def line(self, first_ms: int, last_ms: int, names: int, room: int) -> str:
        scale = room / (last_ms - first_ms)
        begin = min(int((self.start_ms - first_ms) * scale), room - 1)
        end = room if self.end_ms is None else int((self.end_ms - first_ms) * scale)
        length = max(min(end, room) - begin, 1)
        body = (_OPEN if self.end_ms is None else _SOLID) * length
        if self.is_failed:
            body = body[:-1] + _FAILED
        took = "" if self.end_ms is None else spoken_duration(max(self.end_ms - self.start_ms, 0))
        told = "  ".join(part for part in (took, self.remark) if part)
        return f"{self.name:<{names}}  {' ' * begin + body:<{room}}  {told}".rstrip()


def _bars(branch: Branch, first: str, rest: str) -> Iterator[_Bar]:
    """The bars of an invocation: its own, its steps, and below a call the callee's."""
    run = branch.run
    remark = "" if run.status == "succeeded" else run.status
    name = shortened(first + run.target, NAME_CHARS_MAX)
    yield _Bar(name, run.created_at_ms, run.completed_at_ms, remark, is_failed=run.status == "failed")
    timed = [step for step in branch.steps if step.display.is_timed]
    shown, others = timed[:STEPS_MAX], list(branch.children)
    for index, step in enumerate(shown):
        child = next((item for item in others if item.id == step.child), None)
        if child is not None:
            others.remove(child)
        is_last = index == len(shown) - 1 and not others
        yield _step_bar(step, rest + ("└ " if is_last else "├ "), run.completed_at_ms)
        if child is not None:
            below = rest + ("  " if is_last else "│ ")
            yield from _bars(child, below + "└ ", below + "  ")
    for index, child in enumerate(others):
        is_last = index == len(others) - 1
        yield from _bars(child, rest + ("└ " if is_last else "├ "), rest + ("  " if is_last else "│ "))
    if len(timed) > STEPS_MAX:
        left_out = f"{rest}  {len(timed) - STEPS_MAX} steps more"
        yield _Bar(left_out, timed[STEPS_MAX].start_ms, run.completed_at_ms, "", is_failed=False)


def _step_bar(step: Step, prefix: str, owner_end_ms: int | None) -> _Bar:
    named, word = step.name or step.subject, step.display.word
    if step.kind in ("call", "send", "wait"):
        named = f"{word} {named}"
    name = shortened(prefix + (named or word or step.title.lower()), NAME_CHARS_MAX)
    is_cut_off = step.end_ms is None and owner_end_ms is not None
    end_ms = owner_end_ms if is_cut_off else step.end_ms
    return _Bar(name, step.start_ms, end_ms, "cut off" if is_cut_off else "", step.is_failure)


def _encodable(line: str, encoding: str) -> str:
    """The line in characters that the terminal has."""
    try:
        line.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return line.translate(_PLAIN)
    return line
