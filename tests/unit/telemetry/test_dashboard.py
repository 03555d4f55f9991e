"""The Grafana dashboard and the documentation: they speak of metrics that exist, and of all of them."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import promql_parser

from rewake.core.model import Status
from rewake.store.store import Store
from rewake.telemetry import Telemetry
from rewake.telemetry.exposition import render
from rewake.telemetry.spans import Span
from rewake.telemetry.tracing import Tracer

DOCS = Path(__file__).parents[3] / "docs"
METRIC = re.compile(r"\b(?:rewake|process)_[a-z_]+")
SUFFIXES = ("_bucket", "_sum", "_count")


class Measured:
    """An engine that has done nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def stats(self) -> dict[str, int]:
        names = (
            "attempts_running attempts_queued attempts_started invocations_in_memory callers_waiting commands commits"
        )
        return dict.fromkeys([*names.split(), "wal_pages"], 0)


class NoSender:
    """Sends nowhere."""

    def is_sampled(self, trace_id: str) -> bool:
        return False

    def send(self, spans: list[Span]) -> bool:
        return False

    def close(self) -> None:
        pass


def exposed(tmp_path: Path) -> set[str]:
    """Families on the page of metrics, those without samples too."""
    store = Store.open(tmp_path, now_ms=0)
    try:
        page = asyncio.run(render(Measured(tmp_path), Telemetry(Tracer(tmp_path, NoSender()))))
    finally:
        store.close()
    return {line.split(" ")[2] for line in page.splitlines() if line.startswith("# TYPE ")}


def test_every_query_of_the_dashboard_names_a_metric_that_exists(tmp_path: Path) -> None:
    dashboard = json.loads((DOCS / "grafana" / "rewake.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    known = exposed(tmp_path)
    named = {name for query in queries for name in METRIC.findall(query)}
    families = {next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name) for name in named}
    assert families <= known
    assert len(queries) > 25
    for query in queries:
        promql_parser.parse(query.replace("$__rate_interval", "1m").replace("$__range", "1h"))


def test_panels_do_not_lie_on_each_other() -> None:
    dashboard = json.loads((DOCS / "grafana" / "rewake.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_documentation_has_every_metric(tmp_path: Path) -> None:
    page = (DOCS / "how-to" / "observe.md").read_text()
    known = exposed(tmp_path)
    assert known <= set(METRIC.findall(page))
    for name in ("scheduled", "pending", "running", "suspended", "paused"):
        assert f"`{name}`" in page
    assert len(Status) == 6
