"""The drawing of handoffs: where boxes and lines are. That texts fit into boxes, a browser shows."""

from __future__ import annotations

import pytest

from rewake.runs.spending import Usage
from rewake.runs.turns import AgentTrace, Handoff
from rewake.ui.graph import NODE_WIDTH_MAX, NODES_MAX, Graph, handoff_graph


def drawn(*handoffs: str, **more: Usage) -> Graph:
    """The drawing of handoffs such as "a>b", or "a-b" for a consultation."""
    made = []
    for number, each in enumerate(handoffs, 1):
        source, target = each.replace("-", ">").split(">")
        made.append(Handoff(source=source, target=target, number=number, kind="consult" if "-" in each else "handoff"))
    names = list(dict.fromkeys(name for item in made for name in (item.source, item.target)))
    graph = handoff_graph(AgentTrace(agents=names, handoffs=made, usage=list(more.values())))
    assert graph is not None
    return graph


def places(graph: Graph) -> dict[str, tuple[int, int]]:
    """Column and row of each box, counted."""
    columns = sorted({node.x for node in graph.nodes})
    rows = {x: sorted(node.y for node in graph.nodes if node.x == x) for x in columns}
    return {node.name: (columns.index(node.x), rows[node.x].index(node.y)) for node in graph.nodes}


def test_nobody_handed_over_is_no_drawing() -> None:
    assert handoff_graph(AgentTrace(agents=["a"])) is None


def test_a_chain_is_a_row() -> None:
    assert places(drawn("a>b", "b>c")) == {"a": (0, 0), "b": (1, 0), "c": (2, 0)}


def test_a_fan_is_a_column_with_straight_lines() -> None:
    graph = drawn("a>b", "a>c", "a>d")
    assert places(graph) == {"a": (0, 0), "b": (1, 0), "c": (1, 1), "d": (1, 2)}
    assert all(" L" in arc.path for arc in graph.arcs)
    assert len({(arc.x, arc.y) for arc in graph.arcs}) == 3, "each number has a place of its own"


def test_each_way_between_two_agents_has_a_line_of_its_own() -> None:
    there, back, asked = drawn("a>b", "b>a", "a-b").arcs
    assert len({arc.path.split(" ")[0].split(",")[1] for arc in (there, back, asked)}) == 3
    assert (there.numbers, back.numbers, asked.kind) == ("1", "2", "consult")


def test_a_long_way_back_is_below_all_boxes() -> None:
    graph = drawn("a>b", "b>c", "c>a")
    bottom = max(node.y for node in graph.nodes) + 44
    assert graph.arcs[2].y > bottom
    assert graph.height > graph.arcs[2].y


def test_specialists_hand_over_beside_their_column() -> None:
    graph = drawn("a>b", "a>c", "b>c")
    right = max(node.x + node.width for node in graph.nodes)
    assert right < graph.arcs[2].x < graph.width


@pytest.mark.parametrize("name", ["m" * 200, "保険" * 60, "a b " * 40])
def test_a_name_is_cut_where_its_box_ends(name: str) -> None:
    (first, second) = drawn(f"{name}>b").nodes
    assert first.width == second.width == NODE_WIDTH_MAX
    assert first.name.endswith("…") and first.full_name == name and second.name == "b"


def test_of_many_agents_the_first_ones_are_drawn() -> None:
    graph = drawn(*(f"a>b{number}" for number in range(NODES_MAX + 3)))
    assert len(graph.nodes) == NODES_MAX
    assert len(graph.arcs) == NODES_MAX - 1


def test_a_box_has_what_its_agent_used() -> None:
    graph = drawn("a>b", first=Usage("a", "m", 2, 151, 32))
    assert [node.detail for node in graph.nodes] == ["2 model calls, 183 tokens", ""]
