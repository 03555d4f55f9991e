"""One reading of a run: pages, terminal and spans have the same agents, handoffs and tokens, for each framework."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agents.recorded import JOURNALS, load

from rewake.core.ids import invocation_id_from_str
from rewake.runs.agents import agent_trace
from rewake.runs.facts import STATUSES
from rewake.runs.filters import RunFilter
from rewake.runs.local.database import DatabaseReading, reading
from rewake.runs.local.figures import completed_since
from rewake.runs.records import record_from
from rewake.runs.turns import AgentTrace
from rewake.telemetry.spans import Span, spans_of

Handed = Counter[tuple[str, str, str]]
Tokens = dict[tuple[str, str | None], tuple[int, int, int]]


@pytest.fixture(params=sorted(path.stem for path in JOURNALS.glob("*.json")))
def found(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with reading(load(request.param, tmp_path), 1 << 42) as opened:
        yield opened


def traces(found: DatabaseReading) -> list[AgentTrace]:
    """Of the runs that callers started, as the agents page has them."""
    page = found.find(RunFilter(order="oldest"), dict.fromkeys(STATUSES, 0))
    roots = [found.invocation(invocation_id_from_str(run.id)) for run in page.runs if run.invoked_by == "ingress"]
    return [agent_trace(found, root) for root in roots if root is not None]


def spans(found: DatabaseReading) -> list[Span]:
    made: list[Span] = []
    for invocation in completed_since(found, 0, 1_000):
        record = record_from(invocation, found.entries(invocation.id, with_payload=True))
        made += spans_of(record, found.directory)
    return made


def tokens(traces: list[AgentTrace]) -> Tokens:
    sums: Counter[tuple[tuple[str, str | None], str]] = Counter()
    names = {(usage.agent, usage.model) for trace in traces for usage in trace.usage}
    for usage in (usage for trace in traces for usage in trace.usage):
        place = (usage.agent, usage.model)
        sums[place, "calls"] += usage.calls
        sums[place, "in"] += usage.input_tokens
        sums[place, "out"] += usage.output_tokens
    return {name: (sums[name, "calls"], sums[name, "in"], sums[name, "out"]) for name in names}


def tokens_of_spans(spans: list[Span]) -> Tokens:
    sums: dict[tuple[str, str | None], tuple[int, int, int]] = {}
    for facts in (span.attributes for span in spans if span.attributes.get("gen_ai.operation.name") == "chat"):
        model = facts.get("gen_ai.request.model")
        place = (str(facts["gen_ai.agent.name"]), None if model is None else str(model))
        calls, into, out = sums.get(place, (0, 0, 0))
        more_in, more_out = (int(str(facts.get(f"gen_ai.usage.{kind}_tokens", 0))) for kind in ("input", "output"))
        sums[place] = (calls + 1, into + more_in, out + more_out)
    return sums


def test_pages_and_spans_agree(found: DatabaseReading) -> None:
    shown, sent = traces(found), spans(found)
    assert shown
    handed = Handed((item.source, item.target, item.kind) for trace in shown for item in trace.handoffs)
    told = (span.attributes for span in sent)
    assert handed == Handed(
        (str(facts["rewake.handoff.from"]), str(facts["rewake.handoff.to"]), str(facts["rewake.handoff.kind"]))
        for facts in told
        if "rewake.handoff.from" in facts
    )
    assert tokens(shown) == tokens_of_spans(sent)
    named = {str(name) for span in sent if (name := span.attributes.get("gen_ai.agent.name")) is not None}
    named |= {name for source, target, _ in handed for name in (source, target)}
    assert {name for trace in shown for name in trace.agents} == named
