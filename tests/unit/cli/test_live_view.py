"""The live view: what it says of open runs, whatever they are called."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from rewake.cli.live_view import LiveView
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
