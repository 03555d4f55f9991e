"""What is asked of a server elsewhere, and how much at once."""

from __future__ import annotations

import re
from typing import Any

from rewake.clients.admin import AdminClient
from rewake.core import ids
from rewake.runs.elsewhere import listing
from rewake.runs.elsewhere.journals import AHEAD_MAX, EARLIER_RUNS_MAX, SHORT_BYTES_MAX, SHORT_JOURNAL_MAX, WAITERS_MAX
from rewake.runs.elsewhere.listing import SEARCHED_BYTES_MAX, WAITING_RUNS_MAX
from rewake.runs.elsewhere.reading import INPUT_BYTES_MAX, ReadingElsewhere
from rewake.runs.facts import RunSummary
from rewake.runs.filters import RunFilter


def run_id(number: int) -> str:
    return ids.invocation_id_to_str(number.to_bytes(24, "big"))


SUMMARY = RunSummary(
    id=run_id(1), service="Desk", handler="ask", key=None, status="running", created_at_ms=0, running_at_ms=None,
    completed_at_ms=None, start_at_ms=None, retry_count=0, next_retry_at_ms=None, invoked_by="ingress", parent=None,
    restarted_from=None, problem=None, modified_at_ms=0,
)  # fmt: skip


class Server(AdminClient):
    """Keeps the statements and answers each with the same rows."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        super().__init__("http://127.0.0.1:1")
        self.rows = list(rows)
        self.asked: list[str] = []

    def query(self, sql: str) -> list[dict[str, Any]]:
        self.asked.append(sql)
        return self.rows


def reading(server: Server) -> ReadingElsewhere:
    return ReadingElsewhere(server, 1_795_372_601_000, is_rewake=True)


def test_runs_that_are_asked_for_next_come_along_up_to_a_number() -> None:
    server = Server()
    found = reading(server)
    found._ahead = {run_id(number) for number in range(1, AHEAD_MAX + 11)}
    found.row(run_id(0))
    found.row(run_id(0))
    (statement,) = server.asked
    assert len(re.findall("inv_1", statement)) == AHEAD_MAX + 1
    assert len(found._ahead) == 10


def test_small_values_come_with_a_short_journal_and_none_with_a_long_one() -> None:
    for size, bytes_max in ((SHORT_JOURNAL_MAX, SHORT_BYTES_MAX), (SHORT_JOURNAL_MAX + 1, -1)):
        server = Server()
        found = reading(server)
        found.remember([{"id": run_id(1), "journal_size": size}])
        found.entries(ids.invocation_id_from_str(run_id(1)))
        assert f"raw_length <= {bytes_max} " in server.asked[-1]


def test_earlier_choices_come_from_so_many_runs() -> None:
    server = Server()
    reading(server).earlier_results("Desk", "ask", "Pick specialist")
    assert server.asked[-1].endswith(f"limit {EARLIER_RUNS_MAX}")


def test_of_those_who_may_wait_for_a_promise_so_many_are_looked_at() -> None:
    server = Server()
    reading(server).promise_waiters("Release", "1.0", "review")
    assert any(f"limit {WAITERS_MAX}" in statement for statement in server.asked)


def test_large_inputs_are_neither_shown_nor_searched() -> None:
    server = Server()
    found = reading(server)
    assert f"raw_length <= {SEARCHED_BYTES_MAX} " in "".join(listing.conditions_of(found, RunFilter(text="ä")))
    found.with_inputs([SUMMARY])
    assert server.asked[-1].endswith(f"raw_length <= {INPUT_BYTES_MAX}")


def test_who_waits_for_a_person_is_counted_while_there_are_few() -> None:
    server = Server()
    found = reading(server)
    assert listing.waiting_count(found, WAITING_RUNS_MAX) == 0 and server.asked
    asked_count = len(server.asked)
    assert listing.waiting_count(found, WAITING_RUNS_MAX + 1) is None
    assert len(server.asked) == asked_count
