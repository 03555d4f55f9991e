"""The tree of a run, fetched over the admin API and drawn: the invocation and all it called, down to a limit.

Goes from journal to callee by id, level by level, so that it costs two indexed queries a level however many runs are
stored. What is drawn is timeline_view.py's.
"""

from __future__ import annotations

import shutil
import sys
from typing import Any, Final

from rewake.cli.admin_client import AdminClient, sql_text
from rewake.cli.timeline_view import WIDTH_CHARS, Node, handover_lines, timeline_lines, tree_of

INVOCATIONS_MAX: Final = 100
"""Invocations of one tree that are drawn."""

_COLUMNS: Final = "id, target, status, created_at, completed_at, completion_result"

Row = dict[str, Any]


def picture_lines(admin: AdminClient, row: Row, journal: list[Row], now_ms: int) -> list[str]:
    """The timeline of a run, and below it who handed over to whom."""
    root = fetch_tree(admin, row, journal)
    encoding = sys.stdout.encoding or "ascii"
    width = shutil.get_terminal_size((WIDTH_CHARS, 24)).columns if sys.stdout.isatty() else WIDTH_CHARS
    lines = timeline_lines(root, now_ms, width_chars=width, encoding=encoding)
    handovers = handover_lines(root, encoding)
    return [*lines, "", *handovers] if handovers else lines


def fetch_tree(admin: AdminClient, row: Row, journal: list[Row]) -> Node:
    """The run of `row` with everything below it, as far as it is still stored."""
    rows, journals = [row], {row["id"]: journal}
    level = [row["id"]]
    while level and len(rows) < INVOCATIONS_MAX:
        tree = tree_of(row["id"], rows, journals)
        wanted = [child for child in _called(tree) if child not in journals][: INVOCATIONS_MAX - len(rows)]
        if not wanted:
            break
        texts = ", ".join(map(sql_text, wanted))
        found = admin.query(f"select {_COLUMNS} from sys_invocation where id in ({texts})")
        entries = admin.query(
            "select id, index, entry_type, name, entry_json, appended_at from sys_journal "
            f"where id in ({texts}) order by id, index"
        )
        journals |= {child: [entry for entry in entries if entry["id"] == child] for child in wanted}
        rows += found
        level = wanted
    return tree_of(row["id"], rows, journals)


def _called(tree: Node) -> list[str]:
    """Ids of all callees that the journals of the tree name."""
    remaining, found = [tree], []
    while remaining:
        node = remaining.pop()
        found += [step.child_id for step in node.steps if step.child_id]
        remaining += node.children
    return found
