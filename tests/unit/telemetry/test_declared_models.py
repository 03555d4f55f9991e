"""Replies whose framework journals no model, told under the one that the app gives its agents."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path

from tests.unit.agents.recorded import load

from rewake.core.writes import Batch
from rewake.runs.local.database import local_reading
from rewake.runs.local.figures import completed_since
from rewake.runs.records import record_from
from rewake.telemetry import Telemetry
from rewake.telemetry.exposition import render
from rewake.telemetry.spans import Span, spans_of


class Engine:
    """What the exposition asks of one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def stats(self) -> dict[str, int]:
        return defaultdict(int)


def test_spans_ask_for_the_declared_model_and_claim_no_other(tmp_path: Path) -> None:
    with local_reading(load("claim_handoffs", tmp_path), 1 << 42) as found:
        model = found.directory.roster("ClaimDesk", "message").model_of("")
        spans: list[Span] = []
        for invocation in completed_since(found, 0, 100):
            entries = found.entries(invocation.id, with_payload=True)
            spans += spans_of(record_from(invocation, entries), found.directory)
    chats = [span for span in spans if span.name.startswith("chat")]
    assert len(chats) == 7
    assert {span.name for span in chats} == {f"chat {model}"}
    assert {span.attributes["gen_ai.request.model"] for span in chats} == {model}
    assert not any("gen_ai.response.model" in span.attributes for span in chats)


def test_tokens_are_counted_under_the_declared_model(tmp_path: Path) -> None:
    data = load("claim_handoffs", tmp_path)
    with local_reading(data, 1 << 42) as found:
        model = found.directory.roster("ClaimDesk", "message").model_of("")
        runs = completed_since(found, 0, 100)
        entries = [entry for run in runs for entry in found.entries(run.id, with_payload=True)]
    telemetry = Telemetry()
    telemetry.on_commit(Batch(entries=entries), 0.0)
    text = asyncio.run(render(Engine(data), telemetry))
    assert f'rewake_model_calls_total{{model="{model}"}} 7' in text
    assert f'rewake_model_tokens_total{{model="{model}",type="input"}} 620' in text
    assert "unknown" not in text
