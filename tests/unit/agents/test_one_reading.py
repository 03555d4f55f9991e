"""One reading of a run: pages, terminal, spans and metrics have the same agents, handoffs and tokens.

The terminal reads over the admin API, as from a server elsewhere: its SQL and its services, without the sockets.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agents.recorded import JOURNALS, load

from rewake.admin.render import service_json
from rewake.cli.timeline_view import picture_lines
from rewake.clients.admin import AdminClient
from rewake.core.ids import invocation_id_from_str
from rewake.core.model import Invocation
from rewake.core.writes import Batch
from rewake.runs.agents import agent_trace
from rewake.runs.elsewhere.reading import ReadingElsewhere
from rewake.runs.facts import STATUSES
from rewake.runs.filters import RunFilter
from rewake.runs.local.database import DatabaseReading, local_reading
from rewake.runs.local.figures import completed_since
from rewake.runs.reading import Reading
from rewake.runs.records import record_from
from rewake.runs.turns import AgentTrace
from rewake.sql.query import run_query
from rewake.telemetry import Telemetry
from rewake.telemetry.spans import Span, spans_of

NOW_MS = 1 << 42
LINE = re.compile(r" *(.+) ──→ (.+?) *  (handoff|consult|call|send), \+.+ s")

Handed = Counter[tuple[str, str, str]]
Tokens = dict[tuple[str, str | None], tuple[int, ...]]


@pytest.fixture(params=sorted(path.stem for path in JOURNALS.glob("*.json")))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return load(request.param, tmp_path)


@pytest.fixture
def found(folder: Path) -> Iterator[DatabaseReading]:
    with local_reading(folder, NOW_MS) as opened:
        yield opened


class Admin(AdminClient):
    """The admin API of an engine on a folder."""

    def __init__(self, folder: Path, services: list[Any]) -> None:
        super().__init__("http://127.0.0.1:1")
        self._folder, self._services = folder, services

    def query(self, sql: str) -> list[dict[str, Any]]:
        return run_query(self._folder, sql).json_rows()

    def get(self, path: str) -> Any:
        return {"/services": {"services": self._services}}[path]


def roots(found: Reading) -> list[Invocation]:
    """The runs that callers started."""
    page = found.find(RunFilter(order="oldest"), dict.fromkeys(STATUSES, 0))
    made = (found.invocation(invocation_id_from_str(run.id)) for run in page.runs if run.invoked_by == "ingress")
    return [run for run in made if run is not None]


def traces(found: Reading) -> list[AgentTrace]:
    """As the agents page has them."""
    return [agent_trace(found, run) for run in roots(found)]


def spans(found: DatabaseReading) -> list[Span]:
    made: list[Span] = []
    for invocation in completed_since(found, 0, 1_000):
        record = record_from(invocation, found.entries(invocation.id, with_payload=True))
        made += spans_of(record, found.directory)
    return made


def handed(traces: list[AgentTrace]) -> Handed:
    return Handed((item.source, item.target, item.kind) for trace in traces for item in trace.handoffs)


def handed_in(spans: list[Span]) -> Handed:
    shown = [span.attributes for span in spans if "rewake.handoff.from" in span.attributes]
    return Handed(
        (str(facts["rewake.handoff.from"]), str(facts["rewake.handoff.to"]), str(facts["rewake.handoff.kind"]))
        for facts in shown
    )


def tokens(traces: list[AgentTrace]) -> Tokens:
    sums: Tokens = {}
    for usage in (usage for trace in traces for usage in trace.usage):
        _add(sums, (usage.agent, usage.model), usage.calls, usage.input_tokens, usage.output_tokens)
    return sums


def tokens_in(spans: list[Span]) -> Tokens:
    sums: Tokens = {}
    for facts in (span.attributes for span in spans if span.attributes.get("gen_ai.operation.name") == "chat"):
        agent, model = facts["gen_ai.agent.name"], facts.get("gen_ai.request.model")
        used = [facts.get(f"gen_ai.usage.{kind}_tokens", 0) for kind in ("input", "output")]
        _add(sums, (str(agent), None if model is None else str(model)), 1, *(int(str(count)) for count in used))
    return sums


def _add(sums: Tokens, place: tuple[str, str | None], *counts: int) -> None:
    sums[place] = tuple(old + new for old, new in zip(sums.get(place, (0, 0, 0)), counts, strict=True))


def test_pages_and_spans_agree(found: DatabaseReading) -> None:
    shown, sent = traces(found), spans(found)
    assert shown
    assert handed(shown) == handed_in(sent)
    assert tokens(shown) == tokens_in(sent)
    named = {str(name) for span in sent if (name := span.attributes.get("gen_ai.agent.name")) is not None}
    named |= {name for source, target, _ in handed(shown) for name in (source, target)}
    assert {name for trace in shown for name in trace.agents} == named


def test_pages_and_terminal_agree_here_and_elsewhere(folder: Path, found: DatabaseReading) -> None:
    services = [service_json(service, None) for service in found.services()]
    elsewhere = ReadingElsewhere(Admin(folder, services), NOW_MS, is_rewake=True)
    lines = [line for run in roots(elsewhere) for line in picture_lines(elsewhere, run)]
    printed = [parts.groups() for line in lines if (parts := LINE.fullmatch(line)) is not None]
    assert handed(traces(found)) == Handed((source, target, kind) for source, target, kind in printed)
    assert tokens(traces(found)) == tokens(traces(elsewhere))


def test_metrics_count_the_same_tokens(found: DatabaseReading) -> None:
    telemetry = Telemetry()
    runs = completed_since(found, 0, 1_000)
    entries = [entry for run in runs for entry in found.entries(run.id, with_payload=True)]
    telemetry.on_commit(Batch(entries=entries), 0.0)
    telemetry.read_replies()
    unnamed = telemetry.unnamed.values()
    counted = {
        kind: sum(count for (_, of), count in telemetry.tokens.items() if of == kind)
        + sum(each[place] for each in unnamed)
        for place, kind in enumerate(("input", "output"), 1)
    }
    shown = [trace.total for trace in traces(found)]
    assert counted == {
        "input": sum(total.input_tokens for total in shown),
        "output": sum(total.output_tokens for total in shown),
    }
