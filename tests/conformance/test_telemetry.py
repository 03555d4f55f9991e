"""Traces as a collector receives them, and /metrics as Prometheus reads it, from engines that really run.

One trace per run tree, whoever began it; every span once, whatever crashed, was replayed or restarted.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import restate
from restate import TerminalError
from stage import DEFAULTS, run, until

from rewake.engine import Engine, EngineOptions, InvocationFailed
from rewake.errors import ErrorCode, RewakeError
from rewake.telemetry import Telemetry
from rewake.telemetry.exposition import render
from rewake.telemetry.tracing import Tracer, tracer_for

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otel")
pytest.importorskip("grpc", reason="needs the extra otel")

from otlp_receiver import Collector, Received, grpc_collector, http_collector

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CALLER_TRACE, CALLER_SPAN = CALLER.split("-")[1:3]
CLIENT, SERVER, PRODUCER = 3, 2, 4

seen: dict[str, Any] = {}

desk = restate.Service("Desk")
billing = restate.VirtualObject("Billing")
audit = restate.Service("Audit")


@desk.handler()
async def route(ctx: restate.Context, name: str) -> str:
    seen["desk"] = dict(ctx.request().attempt_headers).get("traceparent")
    await ctx.run_typed("pick", lambda: "billing")
    answer = await ctx.object_call(pay, "c-1", name)
    ctx.service_send(note, name)
    return answer


@billing.handler()
async def pay(ctx: restate.ObjectContext, name: str) -> str:
    seen["billing"] = dict(ctx.request().attempt_headers).get("traceparent")
    return await ctx.run_typed("charge", lambda: f"charged {name}")


@audit.handler()
async def note(ctx: restate.Context, name: str) -> None:
    await ctx.sleep(timedelta(milliseconds=1))


@desk.handler()
async def flaky(ctx: restate.Context, failures: int) -> str:
    seen["tries"] = seen.get("tries", 0) + 1
    await ctx.run_typed("before", lambda: 1)
    if seen["tries"] <= failures:
        raise RuntimeError(f"try {seen['tries']}")
    return "done"


@desk.handler()
async def refuse(ctx: restate.Context) -> None:
    raise TerminalError("no such claim", status_code=404)


@desk.handler()
async def agent(ctx: restate.Context) -> str:
    await ctx.run_typed("call LLM", lambda: _reply("gpt-router", ("transfer_to_billing", "{}")))
    await ctx.run_typed("call LLM", lambda: _reply("gpt-billing", ("look_up", '{"id": 1}')))
    await ctx.run_typed("look_up", lambda: {"found": True})
    await ctx.run_typed("call LLM", lambda: _reply("gpt-billing"))
    return "paid"


def _reply(model: str, call: tuple[str, str] | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "ok"}
    if call is not None:
        function = {"name": call[0], "arguments": call[1]}
        message["tool_calls"] = [{"id": "c1", "type": "function", "function": function}]
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    return {"object": "chat.completion", "model": model, "choices": [{"message": message}], "usage": usage}


@desk.handler()
async def nap(ctx: restate.Context) -> None:
    await ctx.sleep(timedelta(hours=1))


@desk.handler()
async def hang(ctx: restate.Context) -> str:
    await ctx.run_typed("before", lambda: 1)
    if not seen.get("released"):
        seen["hanging"] = True
        await asyncio.Event().wait()
    return "done"


app = restate.app([desk, billing, audit])


@pytest.fixture(autouse=True)
def _forget() -> None:
    seen.clear()


@asynccontextmanager
async def traced(path: Path, collector: Collector) -> AsyncIterator[tuple[Engine, Telemetry]]:
    """An engine whose traces go to the collector; closed, everything has been sent."""
    tracer = tracer_for(path, collector.endpoint, {})
    assert isinstance(tracer, Tracer)
    tracer._interval_s = 0.01
    telemetry = Telemetry(tracer)
    try:
        async with Engine(path, app, options=EngineOptions(defaults=DEFAULTS), observer=telemetry) as engine:
            telemetry.start()
            yield engine, telemetry
    finally:
        await asyncio.to_thread(telemetry.close)


async def call(engine: Engine, handler: str, body: Any = None, traceparent: str | None = None) -> None:
    target = engine.resolve("Desk", handler, None)
    assert target is not None
    data = b"" if body is None else json.dumps(body).encode()
    await engine.invoke(
        target, data, headers=(("content-type", "application/json"),), traceparent=traceparent, wait=True
    )


def parents(spans: list[Received]) -> dict[str, str]:
    """Name -> name of the parent, or its id when it is not among these spans."""
    names = {span.span_id: span.name for span in spans}
    return {span.name: names.get(span.parent_id, span.parent_id) for span in spans}


def test_one_trace_for_a_run_tree_from_the_callers_span_on(tmp_path: Path) -> None:
    async def main() -> None:
        with http_collector() as collector:
            async with traced(tmp_path, collector) as (engine, _):
                await call(engine, "route", "Ada", CALLER)
                await until(lambda: any(span.name == "Audit/note" for span in collector.spans))
        spans = collector.spans
        assert {span.trace_id for span in spans} == {CALLER_TRACE}
        assert parents(spans) == {
            "Desk/route": CALLER_SPAN,
            "pick": "Desk/route",
            "call Billing/pay": "Desk/route",
            "Billing/pay": "call Billing/pay",
            "charge": "Billing/pay",
            "send Audit/note": "Desk/route",
            "Audit/note": "send Audit/note",
            "sleep": "Audit/note",
        }
        kinds = {span.name: span.kind for span in spans}
        assert kinds["Desk/route"] == SERVER
        assert kinds["call Billing/pay"] == CLIENT
        assert kinds["send Audit/note"] == PRODUCER
        root, callee = collector.named("Desk/route"), collector.named("Billing/pay")
        assert root.start_ns <= callee.start_ns <= callee.end_ns <= root.end_ns
        assert callee.attributes["restate.object.key"] == "c-1"
        assert (
            collector.named("call Billing/pay").attributes["restate.callee.id"]
            == (callee.attributes["restate.invocation.id"])
        )
        assert root.resource["service.name"] == "rewake"
        # Handlers are given their invocation's span as the parent of their own.
        assert seen["desk"] == f"00-{CALLER_TRACE}-{root.span_id}-01"
        assert seen["billing"] == f"00-{CALLER_TRACE}-{callee.span_id}-01"

    run(main())


@pytest.mark.parametrize("given", [None, "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01"])
def test_a_run_nobody_traces_begins_a_trace_of_its_own(tmp_path: Path, given: str | None) -> None:
    async def main() -> None:
        with http_collector() as collector:
            async with traced(tmp_path, collector) as (engine, _):
                await call(engine, "route", "Ada", given)
                await call(engine, "refuse", None, given)
                await until(lambda: any(span.name == "Audit/note" for span in collector.spans))
        root, other = collector.named("Desk/route"), collector.named("Desk/refuse")
        assert root.parent_id == other.parent_id == ""
        assert root.trace_id != other.trace_id
        assert collector.named("Billing/pay").trace_id == root.trace_id
        assert other.status == (2, "no such claim")
        assert other.attributes["error.type"] == "404"

    run(main())


def test_the_environment_decides_what_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.0")

    async def main() -> None:
        with http_collector() as collector:
            async with traced(tmp_path, collector) as (engine, _):
                await call(engine, "refuse")
                await call(engine, "refuse", None, CALLER)
                await until(lambda: collector.spans)
        assert [span.trace_id for span in collector.spans] == [CALLER_TRACE]

    run(main())


def test_no_collector_named_means_no_traces(tmp_path: Path) -> None:
    assert tracer_for(tmp_path, None, {}) is None
    assert tracer_for(tmp_path, None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}) is None
    assert (
        tracer_for(tmp_path, None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}) is None
    )
    assert tracer_for(tmp_path, None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}) is not None


def test_a_missing_extra_is_an_error_only_when_traces_were_asked_of_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "rewake.telemetry.exporting", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(RewakeError, match=r"rewake\[otel\]") as told:
        tracer_for(tmp_path, "http://x", {})
    assert told.value.code is ErrorCode.EXTRA_MISSING
    monkeypatch.delitem(sys.modules, "rewake.telemetry.exporting", raising=False)
    assert tracer_for(tmp_path, None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}) is None


def test_what_the_caller_does_not_sample_is_not_sent(tmp_path: Path) -> None:
    async def main() -> None:
        with http_collector() as collector:
            async with traced(tmp_path, collector) as (engine, _):
                await call(engine, "route", "Ada", CALLER[:-2] + "00")
                assert str(seen["billing"]).endswith("-00")
                await call(engine, "refuse")
                await until(lambda: collector.spans)
        assert [span.name for span in collector.spans] == ["Desk/refuse"]

    run(main())


def test_failed_attempts_are_events_and_no_span_comes_twice(tmp_path: Path) -> None:
    async def main() -> None:
        with http_collector() as collector:
            async with traced(tmp_path, collector) as (engine, telemetry):
                await call(engine, "flaky", 3)
                await until(lambda: collector.spans)
                text = await render(engine, telemetry)
        assert Counter(span.name for span in collector.spans) == {"Desk/flaky": 1, "before": 1}
        root = collector.named("Desk/flaky")
        assert root.attributes["rewake.failed_attempts"] == 3
        assert [name for name, _ in root.events] == ["exception"] * 3
        assert "try 1" in root.events[0][1]["exception.message"]
        assert metrics_in(text)['rewake_attempt_failures_total{service="Desk",code="RT0007"}'] == 3

    run(main())


def test_a_run_over_two_lives_of_the_engine_is_sent_once(tmp_path: Path) -> None:
    async def main() -> None:
        with http_collector() as collector:
            async with traced(tmp_path, collector) as (engine, _):
                await engine.send("Desk", "hang")
                await until(lambda: seen.get("hanging"))
            assert collector.spans == []
            seen["released"] = True
            async with traced(tmp_path, collector):
                await until(lambda: collector.spans)
            async with traced(tmp_path, collector) as (engine, _):
                await call(engine, "refuse")
        assert Counter(span.name for span in collector.spans) == {"Desk/hang": 1, "before": 1, "Desk/refuse": 1}

    run(main())


def test_what_completes_while_the_tracer_starts_is_sent_once(tmp_path: Path) -> None:
    """It is in the database when the tracer looks for what was missed, and in the queue as well."""

    async def main() -> None:
        with http_collector() as collector:
            async with traced(tmp_path, collector) as (engine, _):
                await call(engine, "refuse")
                await until(lambda: collector.spans)
            telemetry = Telemetry(tracer_for(tmp_path, collector.endpoint, {}))
            async with Engine(tmp_path, app, options=EngineOptions(defaults=DEFAULTS), observer=telemetry) as engine:
                await call(engine, "agent")
                telemetry.start()
            await asyncio.to_thread(telemetry.close)
        names = Counter(span.name for span in collector.spans)
        assert names["Desk/agent"] == names["Desk/refuse"] == names["chat gpt-router"] == 1

    run(main())


def test_what_the_collector_refuses_is_sent_when_it_is_back(tmp_path: Path) -> None:
    async def main() -> None:
        with http_collector() as collector:
            collector.refuse = True
            async with traced(tmp_path, collector) as (engine, _):
                await call(engine, "refuse")
                await until(lambda: collector.refused_count)
                collector.refuse = False
                await until(lambda: collector.spans)
        assert [span.name for span in collector.spans] == ["Desk/refuse"]

    run(main())


def test_what_was_not_sent_before_the_end_is_sent_by_the_next_engine(tmp_path: Path) -> None:
    async def main() -> None:
        with http_collector() as collector:
            async with traced(tmp_path, collector) as (engine, _):
                await call(engine, "agent")
                await until(lambda: collector.spans)
                collector.refuse = True
                await call(engine, "refuse")
            collector.refuse = False
            before = len(collector.spans)
            async with traced(tmp_path, collector):
                await until(lambda: len(collector.spans) > before)
        assert [span.name for span in collector.spans[before:]] == ["Desk/refuse"]

    run(main())


def test_agents_are_told_in_the_genai_conventions(tmp_path: Path) -> None:
    async def main() -> None:
        with http_collector() as collector:
            async with traced(tmp_path, collector) as (engine, telemetry):
                await call(engine, "agent")
                await until(lambda: collector.spans)
                text = await render(engine, telemetry)
        root, taker = collector.named("Desk/agent"), collector.named("invoke_agent billing")
        router = collector.named("chat gpt-router")
        assert root.attributes["gen_ai.operation.name"] == "invoke_agent"
        assert root.attributes["gen_ai.agent.name"] == "Desk"
        assert router.attributes["gen_ai.operation.name"] == "chat"
        assert router.attributes["gen_ai.request.model"] == "gpt-router"
        assert router.attributes["gen_ai.usage.input_tokens"] == 11
        assert router.attributes["gen_ai.usage.output_tokens"] == 7
        assert router.attributes["gen_ai.agent.name"] == "Desk"
        assert router.attributes["rewake.handoff.to"] == "billing"
        assert router.parent_id == root.span_id
        assert taker.parent_id == root.span_id
        assert taker.attributes["gen_ai.agent.name"] == "billing"
        theirs = [span for span in collector.spans if span.name == "chat gpt-billing"]
        assert {span.parent_id for span in theirs} == {taker.span_id}
        assert {span.attributes["gen_ai.agent.name"] for span in theirs} == {"billing"}
        tool = collector.named("execute_tool look_up")
        assert tool.attributes["gen_ai.tool.name"] == "look_up"
        assert tool.attributes["gen_ai.tool.call.id"] == "c1"
        assert tool.parent_id == taker.span_id
        figures = metrics_in(text)
        assert figures['rewake_model_calls_total{model="gpt-billing"}'] == 2
        assert figures['rewake_model_tokens_total{model="gpt-billing",type="input"}'] == 22
        assert figures['rewake_model_tokens_total{model="gpt-router",type="output"}'] == 7

    run(main())


def test_over_grpc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "claims")

    async def main() -> None:
        with grpc_collector() as collector:
            async with traced(tmp_path, collector) as (engine, _):
                await call(engine, "refuse")
                await until(lambda: collector.spans)
        assert collector.named("Desk/refuse").resource["service.name"] == "claims"

    run(main())


def test_figures_follow_what_happens(tmp_path: Path) -> None:
    async def main() -> None:
        telemetry = Telemetry()
        async with Engine(tmp_path, app, options=EngineOptions(defaults=DEFAULTS), observer=telemetry) as engine:
            for _ in range(3):
                await call(engine, "route", "Ada")
            await call(engine, "refuse")
            seen["hanging"] = False
            await engine.send("Desk", "hang")
            await until(lambda: seen["hanging"])
            await engine.send("Desk", "refuse", delay_ms=3_600_000)
            for end in (engine.cancel, engine.kill):
                ended = await engine.send("Desk", "nap")
                await until(lambda: engine.stats()["attempts_running"] >= 2)
                await end(ended)
                with pytest.raises(InvocationFailed, match="cancelled|killed"):
                    await engine.result(ended)
            figures = metrics_in(await render(engine, telemetry))
        assert figures['rewake_invocations_created_total{service="Desk",handler="route"}'] == 3
        assert figures['rewake_invocations_completed_total{service="Desk",handler="route",outcome="succeeded"}'] == 3
        assert figures['rewake_invocations_completed_total{service="Desk",handler="refuse",outcome="failed"}'] == 1
        assert figures['rewake_invocations_completed_total{service="Desk",handler="nap",outcome="canceled"}'] == 1
        assert figures['rewake_invocations_completed_total{service="Desk",handler="nap",outcome="killed"}'] == 1
        assert figures['rewake_invocation_seconds_count{service="Billing",handler="pay"}'] == 3
        assert figures['rewake_invocation_seconds_bucket{service="Billing",handler="pay",le="+Inf"}'] == 3
        assert figures['rewake_invocations{service="Desk",status="running"}'] == 1
        assert figures['rewake_invocations{service="Desk",status="scheduled"}'] == 1
        assert figures["rewake_attempts_running"] >= 1
        assert figures["rewake_commit_seconds_count"] == figures["rewake_commits_total"] > 0
        assert figures["rewake_commit_rows_sum"] > 20
        assert figures['rewake_database_bytes{file="log"}'] > 0
        buckets = [value for name, value in figures.items() if name.startswith("rewake_commit_seconds_bucket")]
        assert buckets == sorted(buckets)

    run(main())


def metrics_in(text: str) -> dict[str, float]:
    """The samples of a page of metrics. Fails when a family has no type or a sample comes twice."""
    found: dict[str, float] = {}
    types: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types
            types[name] = kind
        elif not line.startswith("# HELP "):
            name, value = line.rsplit(" ", 1)
            family = name.partition("{")[0]
            bare = family.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
            assert family in types or types[bare] == "histogram", line
            assert name not in found
            found[name] = float(value)
    return found
