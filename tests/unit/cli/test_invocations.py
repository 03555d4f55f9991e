"""What a line of the list says about a run."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from rewake.cli import invocations
from rewake.cli.admin_client import AdminClient
from rewake.cli.invocations import FAILURE_CHARS_MAX, WAITS_MAX, list_row
from rewake.errors import ErrorCode, RewakeError

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


def test_what_is_waited_for_is_asked_for_the_newest_open_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def forgotten(_admin: AdminClient, invocation_id: str) -> NoReturn:
        asked.append(invocation_id)
        raise RewakeError(ErrorCode.INVOCATION_NOT_FOUND, "It is gone.", "")

    monkeypatch.setattr(invocations, "reading_of", forgotten)
    ended = [ROW | {"id": "ended", "status": "completed"}]
    failing = [ROW | {"id": "failing", "status": "backing-off", "last_failure": "no"}]
    open_rows = [ROW | {"id": str(number), "status": "running"} for number in range(WAITS_MAX + 1)]
    assert invocations.waits_in(AdminClient("http://127.0.0.1:1"), ended + failing + open_rows) == {}
    assert asked == [str(number) for number in range(WAITS_MAX)]
