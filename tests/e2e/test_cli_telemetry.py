"""Telemetry of `rewake run` as an operator has it: /metrics on the admin port, traces that a kill does not double."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_process import Running

from rewake.core.ids import invocation_id_from_str

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otel")
pytest.importorskip("grpc", reason="needs the extra otel")

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))
from otlp_receiver import http_collector

WAIT_S = 20

APP = """
import asyncio
import os
import restate

desk = restate.Service("Desk")
billing = restate.Service("Billing")


@desk.handler()
async def route(ctx: restate.Context, name: str) -> str:
    await ctx.run_typed("pick", lambda: "billing")
    return await ctx.service_call(pay, name)


@billing.handler()
async def pay(ctx: restate.Context, name: str) -> str:
    await ctx.run_typed("reserve", lambda: 1)
    open("reached", "w").close()
    while not os.path.exists("go"):
        await asyncio.sleep(0.005)
    return await ctx.run_typed("charge", lambda: name)


app = restate.app([desk, billing])
"""


def until(is_so: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def metrics_of(engine: Running) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{engine.admin_port}/metrics", timeout=WAIT_S) as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return str(answer.read().decode())


def test_a_run_over_killed_workers_and_a_killed_engine_is_one_trace_sent_once(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with http_collector() as collector:
        flags = ("run", "app.py", "--otlp-endpoint", collector.endpoint)
        with Running(*flags, cwd=tmp_path) as engine:
            status, _ = engine.call("/Desk/route/send", "Ada")
            assert status == 202
            until((tmp_path / "reached").exists)
            os.kill(engine.worker_pids[0], signal.SIGKILL)
            engine.wait_for("worker_exited")
            engine.wait_for("worker_became_ready")  # the first one
            engine.wait_for("worker_became_ready")
            text = metrics_of(engine)
            assert 'rewake_worker_exits_total{reason="os_signal SIGKILL"} 1' in text
            assert 'rewake_attempt_failures_total{service="Billing",code="RT0010"} 1' in text
            assert 'rewake_invocations{service="Desk",status="running"} 1' in text
            engine.process.kill()
        assert collector.spans == []
        (tmp_path / "go").touch()
        with Running(*flags, cwd=tmp_path) as engine:
            until(lambda: any(span.name == "Desk/route" for span in collector.spans))
            route = invocation_id_from_str(collector.named("Desk/route").attributes["restate.invocation.id"])
            noted = tmp_path / ".rewake" / "traces-sent.json"
            until(lambda: route.hex() in noted.read_text())  # between answer and note is the one gap there is
            engine.process.kill()
        with Running(*flags, cwd=tmp_path) as engine:
            assert engine.call("/Desk/route", "Grace") == (200, "Grace")
            assert engine.stop() == 0
    names = Counter(span.name for span in collector.spans)
    assert names == dict.fromkeys(["Desk/route", "pick", "call Billing/pay", "Billing/pay", "reserve", "charge"], 2)
    assert len({span.span_id for span in collector.spans}) == 12
    assert sorted(Counter(span.trace_id for span in collector.spans).values()) == [6, 6]
    first = next(span for span in collector.spans if span.name == "Billing/pay")
    assert [event["exception.type"] for _, event in first.events] == ["RT0010"]
