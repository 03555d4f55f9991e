"""Replies whose framework journals no model, told under the one that the app gives its agents."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial
from pathlib import Path

import pytest
from tests.unit.agents.recorded import load

from rewake.core.writes import Batch
from rewake.store import rows
from rewake.store.connection import DATABASE_FILE, open_reader
from rewake.telemetry import Telemetry
from rewake.telemetry.agents import declared_model
from rewake.telemetry.exposition import render
from rewake.telemetry.spans import Span, spans_of


class Engine:
    """What the exposition asks of one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def stats(self) -> dict[str, int]:
        return defaultdict(int)


@pytest.mark.parametrize("agent", ["Medical specialist", "medical_specialist", ""])
def test_the_model_of_an_agent(tmp_path: Path, agent: str) -> None:
    connection = open_reader(load("claim_handoffs", tmp_path) / DATABASE_FILE)
    assert declared_model(connection, "ClaimDesk", "message", agent)
    assert declared_model(connection, "ClaimDesk", "nothing", agent) is None
    assert declared_model(connection, "Nobody", "message", agent) is None
    connection.close()


def test_spans_ask_for_the_declared_model_and_claim_no_other(tmp_path: Path) -> None:
    connection = open_reader(load("claim_handoffs", tmp_path) / DATABASE_FILE)
    model = declared_model(connection, "ClaimDesk", "message", "")
    found: list[Span] = []
    for row in connection.execute(f"select {rows.INVOCATION_COLUMNS} from invocation"):
        invocation = rows.invocation_from(row)
        query = f"select {rows.ENTRY_COLUMNS} from journal where invocation_id = ? order by idx"
        journal = [rows.entry_from(entry) for entry in connection.execute(query, (invocation.id,))]
        target = invocation.target
        found += spans_of(invocation, journal, [], partial(declared_model, connection, target.service, target.handler))
    connection.close()
    chats = [span for span in found if span.name.startswith("chat")]
    assert len(chats) == 7
    assert {span.name for span in chats} == {f"chat {model}"}
    assert {span.attributes["gen_ai.request.model"] for span in chats} == {model}
    assert not any("gen_ai.response.model" in span.attributes for span in chats)


def test_tokens_are_counted_under_the_declared_model(tmp_path: Path) -> None:
    data = load("claim_handoffs", tmp_path)
    connection = open_reader(data / DATABASE_FILE)
    model = declared_model(connection, "ClaimDesk", "message", "")
    entries = [rows.entry_from(row) for row in connection.execute(f"select {rows.ENTRY_COLUMNS} from journal")]
    connection.close()
    telemetry = Telemetry()
    telemetry.on_commit(Batch(entries=entries), 0.0)
    text = asyncio.run(render(Engine(data), telemetry))
    assert f'rewake_model_calls_total{{model="{model}"}} 7' in text
    assert f'rewake_model_tokens_total{{model="{model}",type="input"}} 620' in text
    assert "unknown" not in text
