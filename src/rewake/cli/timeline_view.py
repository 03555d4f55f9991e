"""A run tree drawn as text: one bar for each invocation and each of its steps, to scale, and who handed over to whom.

Takes rows of sys_invocation and sys_journal, as journal_view.py does, and knows only their public JSON forms. Steps
that take no time (state, input, output) have no bar. Called by `rewake invocations show` and `watch`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from rewake.cli.durations import spoken_duration
from rewake.cli.journal_view import JournalStep, steps_of
from rewake.cli.tables import one_line, shortened
from rewake.cli.times import at_ms

STEPS_MAX: Final = 60
"""Bars of one invocation; the rest is told by a count."""

NAME_CHARS_MAX: Final = 38
BAR_CHARS_MIN: Final = 20
WIDTH_CHARS: Final = 100

_TIMED: Final = frozenset({"Run", "Call", "OneWayCall", "Sleep", "GetPromise", "AttachInvocation"})
_LABELS: Final = {
    "Run": "",
    "Call": "call ",
    "OneWayCall": "send ",
    "GetPromise": "promise ",
    "AttachInvocation": "attach ",
}
_SOLID, _OPEN, _FAILED = "━", "╌", "✗"
_PLAIN: Final = str.maketrans(
    {"━": "=", "╌": "-", "✗": "x", "├": "|", "└": "`", "│": "|", "─": "-", "→": ">", "…": "~"}
)

Row = dict[str, Any]


@dataclass(slots=True)
class Node:
    """One invocation with its steps; children by the id that the step names."""

    row: Row
    steps: list[JournalStep]
    children: list[Node] = field(default_factory=list)

    @property
    def start_ms(self) -> int:
        return at_ms(self.row.get("created_at")) or 0

    @property
    def end_ms(self) -> int | None:
        return at_ms(self.row.get("completed_at"))


@dataclass(slots=True, frozen=True)
class Handover:
    """Work that went from one agent to another. how: handoff, call or send."""

    at_ms: int
    source: str
    target: str
    how: str


def tree_of(root_id: str, rows: Iterable[Row], journals: dict[str, list[Row]]) -> Node:
    """The run of `root_id` with all it called. rows: of sys_invocation.   journals: by invocation id."""
    nodes = {row["id"]: Node(row, steps_of(journals.get(row["id"], []))) for row in rows}
    placed = {root_id}
    for node in nodes.values():
        for step in node.steps:
            if step.child_id is not None and step.child_id in nodes and step.child_id not in placed:
                placed.add(step.child_id)
                node.children.append(nodes[step.child_id])
    return nodes[root_id]


def timeline_lines(root: Node, now_ms: int, *, width_chars: int = WIDTH_CHARS, encoding: str = "utf-8") -> list[str]:
    """The tree with its bars, the scale above."""
    bars = list(_bars(root, "", ""))
    start_ms = root.start_ms
    end_ms = max([start_ms + 1, *(now_ms if bar.end_ms is None else bar.end_ms for bar in bars)])
    names = max(len(bar.name) for bar in bars)
    room = max(width_chars - names - 26, BAR_CHARS_MIN)
    lines = [f"{'':<{names}}  0{spoken_duration(end_ms - start_ms):>{room - 1}}"]
    lines += [bar.line(start_ms, end_ms, names, room) for bar in bars]
    return [_encodable(line, encoding) for line in lines]


def handover_lines(root: Node, encoding: str = "utf-8") -> list[str]:
    """Who handed over to whom, in order; nothing when nobody did."""
    found = sorted(_handovers(root), key=lambda each: each.at_ms)
    if not found:
        return []
    width = max(len(each.source) for each in found)
    taker = max(len(each.target) for each in found)
    return [
        _encodable(
            f"{each.source:>{width}} ──→ {each.target:<{taker}}  {each.how}, "
            f"+{(each.at_ms - root.start_ms) / 1_000:.3f} s",
            encoding,
        )
        for each in found
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


def _bars(node: Node, first: str, rest: str) -> Iterator[_Bar]:
    """The bars of an invocation: its own, its steps, and below a call the callee's."""
    row = node.row
    is_failed = row.get("completion_result") == "failure"
    remark = "failed" if is_failed else "" if row["status"] == "completed" else row["status"]
    yield _Bar(shortened(first + row["target"], NAME_CHARS_MAX), node.start_ms, node.end_ms, remark, is_failed)
    timed = [step for step in node.steps if step.kind in _TIMED and step.start_ms is not None]
    shown, others = timed[:STEPS_MAX], list(node.children)
    for index, step in enumerate(shown):
        child = next((item for item in others if item.row["id"] == step.child_id), None)
        if child is not None:
            others.remove(child)
        is_last = index == len(shown) - 1 and not others
        yield _step_bar(step, rest + ("└ " if is_last else "├ "), node.end_ms)
        if child is not None:
            below = rest + ("  " if is_last else "│ ")
            yield from _bars(child, below + "└ ", below + "  ")
    for index, child in enumerate(others):
        is_last = index == len(others) - 1
        yield from _bars(child, rest + ("└ " if is_last else "├ "), rest + ("  " if is_last else "│ "))
    if len(timed) > STEPS_MAX:
        left_out = f"{rest}  {len(timed) - STEPS_MAX} steps more"
        yield _Bar(left_out, timed[STEPS_MAX].start_ms or 0, node.end_ms, "", is_failed=False)


def _step_bar(step: JournalStep, prefix: str, owner_end_ms: int | None) -> _Bar:
    name = shortened(f"{prefix}{_LABELS.get(step.kind, '')}{step.name or step.kind.lower()}", NAME_CHARS_MAX)
    start_ms = step.start_ms or 0
    end_ms = start_ms if step.kind == "OneWayCall" else step.end_ms
    is_cut_off = end_ms is None and owner_end_ms is not None
    return _Bar(name, start_ms, owner_end_ms if is_cut_off else end_ms, "cut off" if is_cut_off else "", step.is_failed)


# Who handed over to whom


def _handovers(node: Node) -> Iterator[Handover]:
    """Handoffs that a model decided, and calls of other services, of the whole tree."""
    from rewake.agents.decoding import decode_reply
    from rewake.agents.routing import handoff_target

    agent = str(node.row["target"]).partition("/")[0]
    children = {child.row["id"]: child for child in node.children}
    for step in node.steps:
        if step.kind in ("Call", "OneWayCall") and step.child_id in children:
            child = children[step.child_id]
            how = "call" if step.kind == "Call" else "send"
            yield Handover(step.start_ms or 0, agent, one_line(str(child.row["target"])), how)
        reply = decode_reply(step.content) if step.kind == "Run" and step.content else None
        taker = next((name for call in reply.calls if (name := handoff_target(call))), None) if reply else None
        if taker is not None:
            yield Handover(step.end_ms or 0, agent, one_line(taker), "handoff")
            agent = one_line(taker)
    for child in node.children:
        yield from _handovers(child)


def _encodable(line: str, encoding: str) -> str:
    """The line in characters that the terminal has."""
    try:
        line.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return line.translate(_PLAIN)
    return line
