"""What a line of the list says about a run."""

from __future__ import annotations

from typing import Any

import pytest

from rewake.cli.invocations import FAILURE_CHARS_MAX, list_row

ROW = {"id": "inv_1", "target": "Desk/ask"}


@pytest.mark.parametrize(
    ("row", "about"),
    [
        ({"status": "completed"}, "ok"),
        ({"status": "completed", "completion_failure": "[409] cancelled"}, "[409] cancelled"),
        ({"status": "backing-off", "last_failure": "no", "retry_count": 3}, "attempt 3 failed: no"),
        ({"status": "paused", "last_failure": "no"}, "paused by no"),
        ({"status": "running"}, ""),
    ],
)
def test_what_an_operator_wants_to_know(row: dict[str, Any], about: str) -> None:
    assert list_row(ROW | row) == ("inv_1", "Desk/ask", row["status"], None, None, about)


@pytest.mark.parametrize("more", [0, 1])
def test_a_failure_has_so_many_characters(more: int) -> None:
    about = list_row(ROW | {"status": "completed", "completion_failure": "x" * (FAILURE_CHARS_MAX + more)})[-1]
    assert len(about) == FAILURE_CHARS_MAX and about.endswith("…") == bool(more)
