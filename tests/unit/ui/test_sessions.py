"""Sessions: what their runs cost together, counted in bounded time; who spoke last."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.agents.recorded import load

from rewake.core.writes import Batch
from rewake.runs.facts import RunSummary
from rewake.runs.local.database import local_reading
from rewake.runs.spending import Remembered, Usage, sum_runs
from rewake.store.store import Store
from rewake.ui.sessions import (
    CONVERSATION_MAX,
    HISTORY_MAX,
    SESSIONS_MAX,
    STATE_VALUES_MAX,
    SUMMED_MAX,
    SessionPage,
    session_page,
    sessions_page,
    spending_of,
)

NEVER_MS = 1 << 40


def page(name: str, service: str, folder: Path, key: str = "alice") -> SessionPage:
    with local_reading(load(name, folder), 1 << 42) as found:
        return session_page(found, service, key, Remembered(), sum_budget_ms=NEVER_MS)


def test_a_session_is_the_sum_of_its_runs_by_agent_and_model(tmp_path: Path) -> None:
    spending = page("claim_handoffs", "ClaimDesk", tmp_path).spending
    assert (spending.runs_summed, spending.runs) == (3, 3)
    assert [(item.agent, item.calls, item.input_tokens, item.output_tokens) for item in spending.usage] == [
        ("Medical specialist", 4, 334, 59),
        ("Car specialist", 2, 246, 26),
        ("Intake", 1, 40, 17),
    ]
    assert (spending.total.calls, spending.total.input_tokens, spending.total.unpriced_calls) == (7, 620, 0)
    assert spending.total.cost == pytest.approx(sum(item.cost or 0 for item in spending.usage))


@pytest.mark.parametrize(
    ("name", "service", "key", "last_agent"),
    [
        ("claim_handoffs", "ClaimDesk", "alice", "Car specialist"),
        ("claim_subagents", "ClaimTeam", "alice", "medical_specialist"),
        ("chat", "ChatDesk", "bob", None),
    ],
)
def test_who_spoke_last(tmp_path: Path, name: str, service: str, key: str, last_agent: str | None) -> None:
    found = page(name, service, tmp_path, key)
    assert found.last_agent == last_agent
    assert found.conversation
    assert found.history
    assert (found.holder, found.queue, found.is_registered) == (None, [], True)


def test_runs_are_counted_until_the_time_is_up_and_remembered(tmp_path: Path) -> None:
    remembered = Remembered()
    with local_reading(load("claim_handoffs", tmp_path), 1 << 42) as found:
        runs = found.runs_of_key("ClaimDesk", "alice", 10)
        nothing = spending_of(found, runs, remembered, budget_ms=0)
        assert (nothing.runs_summed, nothing.runs, nothing.usage) == (0, 3, [])
        first = spending_of(found, runs[:1], remembered, budget_ms=NEVER_MS)
        assert first.runs_summed == 1
        with_memory = spending_of(found, runs, remembered, budget_ms=0)
        assert (with_memory.runs_summed, with_memory.usage) == (1, first.usage)


def test_what_has_ended_is_counted_once_and_what_runs_each_time() -> None:
    counted: list[str] = []

    def count(run_id: str) -> Iterable[Usage]:
        counted.append(run_id)
        return [Usage("a", "m", 1, 10, 1, 0.5), Usage("b", None, 1, 5, 1, None)]

    remembered = Remembered(runs_max=2)
    runs = [("ended", 1, True), ("open", 1, False)]
    for _ in range(2):
        spending = sum_runs(runs, count, remembered, budget_ms=NEVER_MS)
        assert [(item.calls, item.input_tokens, item.cost) for item in spending.usage] == [(2, 20, 1.0), (2, 10, None)]
        assert (spending.total.cost, spending.total.unpriced_calls) == (1.0, 2)
    assert counted == ["ended", "open", "open"]
    sum_runs([("ended", 2, True)], count, remembered, budget_ms=NEVER_MS)  # restarted since
    assert counted.pop() == "ended"
    sum_runs([("x", 1, True), ("y", 1, True)], count, remembered, budget_ms=NEVER_MS)
    sum_runs([("ended", 1, True)], count, remembered, budget_ms=NEVER_MS)  # forgotten
    assert counted[-3:] == ["x", "y", "ended"]


def test_state_is_shown_by_pages(tmp_path: Path) -> None:
    """Each value was bounded, their number was not: a page of 80 MB."""
    count = 2 * STATE_VALUES_MAX + 7
    state: dict[tuple[str, str, bytes], bytes | None] = {
        ("S", "k", b"v%04d" % number): b'"' + b"x" * 30_000 + b'"' for number in range(count)
    }
    store = Store.open(tmp_path / "data", now_ms=1)
    store.submit(Batch(state=state), lambda error: None)
    names, after, lengths = [], "", []
    with local_reading(store.path.parent, 1 << 42) as found:
        while True:
            shown = session_page(found, "S", "k", Remembered(), after_value=after)
            names += [item.name for item in shown.state]
            lengths.append(len(shown.state))
            assert all(len(item.value.text) <= 20_100 and item.raw is None for item in shown.state)
            if shown.next_value is None:
                break
            after = shown.next_value
    store.close()
    assert lengths == [STATE_VALUES_MAX, STATE_VALUES_MAX, 7]
    assert names == [f"v{number:04d}" for number in range(count)]


RUN = RunSummary(
    id="", service="Desk", handler="ask", key="k", status="succeeded", created_at_ms=0, running_at_ms=None,
    completed_at_ms=1, start_at_ms=None, retry_count=0, next_retry_at_ms=None, invoked_by="ingress", parent=None,
    restarted_from=None, problem=None, modified_at_ms=1,
)  # fmt: skip


class Many:
    """A service with as many of everything as one likes."""

    now_ms = 1

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked: dict[str, int] = {}

    def services(self) -> list[Any]:
        return []

    def service(self, _: str) -> None:
        return None

    def keys_at_work(self, *_: Any) -> dict[str, tuple[int, int]]:
        return {}

    def keys_with_state(self, service: str, *, after: str, contains: str, limit: int) -> list[tuple[str, int, int]]:
        return [(f"k{number:03}", 1, 1) for number in range(self.count)][:limit]

    def state(self, *_: str) -> dict[bytes, bytes]:
        said = [{"role": "user", "content": f"{number}"} for number in range(self.count)]
        return {b"history": json.dumps(said).encode()}

    def state_value(self, *_: str) -> None:
        return None

    def open_runs_of_key(self, *_: str) -> list[Any]:
        return []

    def runs_of_key(self, service: str, key: str, limit: int) -> list[Any]:
        self.asked["runs"] = limit
        return [msgspec.structs.replace(RUN, id=f"{number}") for number in range(self.count)]

    def promises(self, *_: str) -> list[tuple[str, None, None, None]]:
        return [(f"p{number}", None, None, None) for number in range(self.count)]

    def with_inputs(self, runs: list[Any]) -> list[Any]:
        return runs


@pytest.mark.parametrize("more", [0, 1])
def test_keys_are_shown_by_pages(more: int) -> None:
    found: Any = Many(SESSIONS_MAX + more)
    page = sessions_page(found, "Desk", "", "")
    assert len(page.sessions) == SESSIONS_MAX
    assert page.next_after == (f"k{SESSIONS_MAX - 1:03}" if more else None)


def test_of_a_busy_key_the_latest_is_shown() -> None:
    found: Any = Many(CONVERSATION_MAX + HISTORY_MAX)
    page = session_page(found, "Desk", "k", Remembered(), sum_budget_ms=0)
    assert found.asked == {"runs": SUMMED_MAX}
    assert [run.id for run in page.history] == [f"{number}" for number in range(HISTORY_MAX)]
    assert len(page.promises) == HISTORY_MAX
    assert [said.text for said in page.conversation][:1] == [f"{HISTORY_MAX}"]
    assert len(page.conversation) == CONVERSATION_MAX
