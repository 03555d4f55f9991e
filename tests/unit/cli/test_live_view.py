"""The live view: what it says of open runs, whatever they are called."""

from __future__ import annotations

import asyncio
import io
from types import SimpleNamespace
from typing import Any

import pytest

from rewake.cli import live_view
from rewake.cli.live_view import ENTRIES_MAX, SHARE_MAX, LiveView
from rewake.core.ids import invocation_id_to_str
from rewake.runs.facts import STATUSES, RunSummary


def test_a_key_cannot_steer_the_terminal() -> None:
    run = RunSummary(
        id="inv_1",
        service="Chat",
        handler="send",
        key="a\x1b[2J\nb\x9b1m",
        status="pending",
        created_at_ms=0,
        running_at_ms=None,
        completed_at_ms=None,
        start_at_ms=None,
        retry_count=0,
        next_retry_at_ms=None,
        invoked_by="ingress",
        parent=None,
        restarted_from=None,
        problem=None,
        modified_at_ms=0,
    )
    page: Any = SimpleNamespace(runs=[run], counts=dict.fromkeys(STATUSES, 0) | {"pending": 1})
    found: Any = SimpleNamespace(now_ms=0)
    engine: Any = None
    lines = list(LiveView(engine, io.StringIO(), "http://127.0.0.1/ui/")._picture(found, page))
    assert "   Chat/a\\u001b[2J b\\u009b1m/send  waits for its turn" in lines


@pytest.mark.parametrize(("count", "tells_agents"), [(ENTRIES_MAX, True), (ENTRIES_MAX + 1, False)])
def test_agents_of_a_long_journal_are_not_looked_for(
    count: int, tells_agents: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last entries tell the step."""
    asked: list[int] = []
    trace = SimpleNamespace(has_agents=True, turns=[SimpleNamespace(agent="Router")])
    monkeypatch.setattr(live_view, "agent_trace", lambda *_: trace)

    def entries(_: bytes, low: int) -> list[Any]:
        asked.append(low)
        return []

    found: Any = SimpleNamespace(
        invocation=lambda _: SimpleNamespace(pinned_version=6),
        entry_count=lambda _: count,
        entries=entries,
    )
    agent, step = live_view._doing(found, SimpleNamespace(id=invocation_id_to_str(bytes(24))))  # type: ignore[arg-type]
    assert (agent, step) == ("Router" if tells_agents else "", "")
    assert asked == [count - ENTRIES_MAX]


def test_drawing_takes_a_small_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that took a second is followed by so long a pause."""
    clock, pauses = iter([0.0, 1.0]), list[float]()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        raise asyncio.CancelledError

    engine: Any = None
    view = LiveView(engine, io.StringIO(), "")
    monkeypatch.setattr(view, "_look", list)
    monkeypatch.setattr(view, "_lines", SimpleNamespace(show=lambda _: None, close=lambda: None))
    monkeypatch.setattr(live_view, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(asyncio, "sleep", pause)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(view.draw_until_cancelled())
    assert pauses == [1.0 / SHARE_MAX]
