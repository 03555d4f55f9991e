"""Handoffs as a drawing: agents in a row, in order of appearance, and a numbered arc for every handoff.

Only geometry: the template draws it. Arcs to the right run above, arcs back below, each as high as it is long.
"""

from __future__ import annotations

from typing import Final

import msgspec

from rewake.runs.turns import AgentTrace, Handoff

NODE_WIDTH: Final = 168
NODE_HEIGHT: Final = 44
_GAP: Final = 76
_MARGIN: Final = 12
_ARC_STEP: Final = 26


class Node(msgspec.Struct, frozen=True):
    name: str
    x: int
    y: int
    detail: str = ""


class Arc(msgspec.Struct, frozen=True):
    """path: for <path d>; label at (x, y). numbers: the handoffs it stands for, in order."""

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


def handoff_graph(trace: AgentTrace) -> Graph | None:
    """The drawing, or None when nobody handed over to anybody."""
    if not trace.handoffs:
        return None
    names = trace.agents[:12]
    place = {name: index for index, name in enumerate(names)}
    arcs_by: dict[tuple[str, str, str], list[Handoff]] = {}
    for item in trace.handoffs:
        if item.source in place and item.target in place and item.source != item.target:
            arcs_by.setdefault((item.source, item.target, item.kind), []).append(item)
    reach_up = max((place[t] - place[s] for s, t, _ in arcs_by if place[t] > place[s]), default=0)
    reach_up = 0 if reach_up == 1 else reach_up
    reach_down = max((place[s] - place[t] for s, t, _ in arcs_by if place[t] < place[s]), default=0)
    top = _MARGIN + (18 + _ARC_STEP * reach_up if reach_up else 0)
    detail = {item.agent: _detail(item.calls, item.input_tokens + item.output_tokens) for item in trace.usage}
    nodes = [
        Node(name, _MARGIN + index * (NODE_WIDTH + _GAP), top, detail.get(name, "")) for name, index in place.items()
    ]
    arcs = [_arc(nodes[place[s]], nodes[place[t]], place[t] - place[s], kind, made)
            for (s, t, kind), made in arcs_by.items()]  # fmt: skip
    return Graph(
        nodes=nodes,
        arcs=arcs,
        width=2 * _MARGIN + len(nodes) * NODE_WIDTH + (len(nodes) - 1) * _GAP,
        height=top + NODE_HEIGHT + _MARGIN + (18 + _ARC_STEP * reach_down if reach_down else 0),
        words=[f"{item.number}. {item.source} to {item.target}" for item in trace.handoffs[:50]],
    )


def _detail(calls: int, tokens: int) -> str:
    return f"{calls} model call{'' if calls == 1 else 's'}" + (f", {tokens:,} tokens" if tokens else "")


def _arc(source: Node, target: Node, reach: int, kind: str, made: list[Handoff]) -> Arc:
    """Next to each other: a straight arrow between the boxes; further apart or back: an arc."""
    numbers = ", ".join(str(item.number) for item in made[:6]) + ("…" if len(made) > 6 else "")
    if reach == 1:
        y = source.y + NODE_HEIGHT // 2
        start, end = source.x + NODE_WIDTH, target.x - 3
        return Arc(f"M{start},{y} L{end},{y}", (start + end) // 2, y - 8, numbers, kind)
    above = reach > 0
    y = source.y if above else source.y + NODE_HEIGHT
    bend = (-1 if above else 1) * (18 + _ARC_STEP * abs(reach))
    start = source.x + NODE_WIDTH // 2 + (18 if above else -18)
    end = target.x + NODE_WIDTH // 2 + (-18 if above else 18)
    stop = y - 3 if above else y + 3
    path = f"M{start},{y} C{start},{y + bend} {end},{y + bend} {end},{stop}"
    return Arc(path, (start + end) // 2, y + round(bend * 0.75) + (-5 if above else 13), numbers, kind)
