"""Handoffs as a drawing: agents in columns by their distance in handoffs, and a numbered line for every handoff.

Only geometry: the template draws it. A chain of handoffs is a row; a router's specialists are a column beside it. Lines
to the next column, and back to the one before, are straight; one that goes further back runs below everything.
"""

from __future__ import annotations

import unicodedata
from itertools import count
from typing import Final

import msgspec

from rewake import formats
from rewake.runs.turns import AgentTrace, Handoff

NODES_MAX: Final = 12
NODE_HEIGHT: Final = 44
NODE_WIDTH_MIN: Final = 132
NODE_WIDTH_MAX: Final = 264
_PADDING: Final = 12
_GAP: Final = 84
_ROW_GAP: Final = 18
_MARGIN: Final = 12
_LANE: Final = 13
_ARC: Final = 44


class Node(msgspec.Struct, frozen=True):
    """A box. name: as long as it fits.   full_name: all of it."""

    name: str
    x: int
    y: int
    width: int
    detail: str = ""
    full_name: str = ""


class Arc(msgspec.Struct, frozen=True):
    """path: for <path d>; label at (x, y). numbers: the handoffs it shows, in order."""

    path: str
    x: int
    y: int
    numbers: str
    kind: str


class Graph(msgspec.Struct, frozen=True):
    nodes: list[Node]
    arcs: list[Arc]
    width: int
    height: int
    words: list[str]


_Edge = tuple[str, str, str]
"""Source, target, kind."""


def handoff_graph(trace: AgentTrace) -> Graph | None:
    """The drawing, or None when nobody handed over to anybody."""
    if not trace.handoffs:
        return None
    names = trace.agents[:NODES_MAX]
    edges: dict[_Edge, list[Handoff]] = {}
    for item in trace.handoffs:
        if item.source in names and item.target in names and item.source != item.target:
            edges.setdefault((item.source, item.target, item.kind), []).append(item)
    column = _columns(names, edges)
    detail = {item.agent: _detail(item.calls, item.input_tokens + item.output_tokens) for item in trace.usage}
    nodes = _place(names, column, detail)
    arcs = _arcs(edges, nodes, column)
    bottom = max(node.y for node in nodes.values()) + NODE_HEIGHT
    goes_below = any(column[source] - column[target] > 1 for source, target, _ in edges)
    return Graph(
        nodes=list(nodes.values()),
        arcs=arcs,
        width=max(node.x + node.width for node in nodes.values()) + (_GAP if _has_siblings(edges, column) else _MARGIN),
        height=bottom + (_ARC + _MARGIN if goes_below else _MARGIN),
        words=[f"{item.number}. {item.source} to {item.target}" for item in trace.handoffs[:50]],
    )


def _columns(names: list[str], edges: dict[_Edge, list[Handoff]]) -> dict[str, int]:
    """The number of handoffs from the first agent to each, by the shortest way; 0 for an agent without any."""
    column = {names[0]: 0}
    for reached in count(1):
        found = [target for source, target, _ in edges if column.get(source) == reached - 1 and target not in column]
        if not found:
            break
        column |= dict.fromkeys(found, reached)
    return {name: column.get(name, 0) for name in names}


def _has_siblings(edges: dict[_Edge, list[Handoff]], column: dict[str, int]) -> bool:
    last = max(column.values())
    return any(column[source] == column[target] == last for source, target, _ in edges)


def _place(names: list[str], column: dict[str, int], detail: dict[str, str]) -> dict[str, Node]:
    """Boxes of one width, each column in the middle of the height."""
    width = max(_text_width(name, 13) for name in names)
    width = max(width, *(_text_width(text, 11) for text in ["", *detail.values()])) + 2 * _PADDING
    width = min(max(width, NODE_WIDTH_MIN), NODE_WIDTH_MAX)
    step = NODE_HEIGHT + _ROW_GAP
    members = {place: [name for name in names if column[name] == place] for place in column.values()}
    tallest = max(len(each) for each in members.values())
    nodes = {}
    for place, inside in members.items():
        top = _MARGIN + (tallest - len(inside)) * step // 2
        for row, name in enumerate(inside):
            x, y = _MARGIN + place * (width + _GAP), top + row * step
            shown = _fitting(formats.safe(name), width - 2 * _PADDING)
            nodes[name] = Node(shown, x, y, width, detail.get(name, ""), formats.safe(name))
    return {name: nodes[name] for name in names}


def _text_width(text: str, size: int) -> int:
    """About how wide a text is in a sans-serif font; rather too much. size: of the font, in pixels."""
    return round(sum(_char_width(char) for char in text) * size)


def _char_width(char: str) -> float:
    """In shares of the font's size, of a bold DejaVu Sans, which is wider than most."""
    if unicodedata.east_asian_width(char) in "WF":
        return 1.08
    if unicodedata.combining(char):
        return 0.0
    if char in "iljtf. ,:'|":
        return 0.44
    if char in "MWmw@%":
        return 1.1
    return 0.82 if char.isupper() or not char.isascii() else 0.7


def _fitting(name: str, width: int) -> str:
    """The name, cut where the box ends."""
    if _text_width(name, 13) <= width:
        return name
    while name and _text_width(name + "…", 13) > width:
        name = name[:-1]
    return name.rstrip() + "…"


def _detail(calls: int, tokens: int) -> str:
    return f"{calls} model call{'' if calls == 1 else 's'}" + (f", {tokens:,} tokens" if tokens else "")


def _arcs(edges: dict[_Edge, list[Handoff]], nodes: dict[str, Node], column: dict[str, int]) -> list[Arc]:
    """Between the same two agents each line has a lane of its own."""
    lanes: dict[frozenset[str], list[_Edge]] = {}
    for edge in edges:
        lanes.setdefault(frozenset(edge[:2]), []).append(edge)
    found = []
    for edge, made in edges.items():
        source, target, kind = edge
        beside = lanes[frozenset((source, target))]
        offset = round((beside.index(edge) - (len(beside) - 1) / 2) * _LANE)
        numbers = ", ".join(str(item.number) for item in made[:6]) + ("…" if len(made) > 6 else "")
        path, x, y = _path(nodes, source, target, column[target] - column[source], offset)
        found.append(Arc(path, x, y, numbers, kind))
    return found


def _path(nodes: dict[str, Node], source: str, target: str, reach: int, offset: int) -> tuple[str, int, int]:
    """The line and the place of its number. reach: columns to the right.   offset: of its lane."""
    start, end = nodes[source], nodes[target]
    if reach == 0:
        return _beside(start, end, offset)
    if reach < -1:
        return _below(start, end, max(node.y for node in nodes.values()) + NODE_HEIGHT)
    from_x, to_x = (start.x + start.width, end.x - 3) if reach > 0 else (start.x, end.x + end.width + 3)
    from_y, to_y = start.y + NODE_HEIGHT // 2 + offset, end.y + NODE_HEIGHT // 2 + offset
    place = 0.62 if reach > 0 else 0.38  # nearer to the specialist, where lines of a fan are apart
    x, y = from_x + round((to_x - from_x) * place), from_y + round((to_y - from_y) * place)
    return f"M{from_x},{from_y} L{to_x},{to_y}", x, y - 5


def _beside(start: Node, end: Node, offset: int) -> tuple[str, int, int]:
    """From box to box of one column, along its right side."""
    x, from_y, to_y = start.x + start.width, start.y + NODE_HEIGHT // 2, end.y + NODE_HEIGHT // 2
    bend = x + _GAP // 2 + offset
    return f"M{x},{from_y} C{bend},{from_y} {bend},{to_y} {x + 3},{to_y}", bend - 4, (from_y + to_y) // 2 + 4


def _below(start: Node, end: Node, bottom: int) -> tuple[str, int, int]:
    """Back over more than one column, below all boxes."""
    from_x, to_x, y = start.x + start.width // 2, end.x + end.width // 2, bottom + _ARC
    from_y, to_y = start.y + NODE_HEIGHT, end.y + NODE_HEIGHT + 3
    path = f"M{from_x},{from_y} C{from_x},{y} {to_x},{y} {to_x},{to_y}"
    return path, (from_x + to_x) // 2, bottom + round(_ARC * 0.75) + 12
