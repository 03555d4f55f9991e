"""Telemetry: Prometheus metrics and OpenTelemetry traces of an engine.

telemetry.py   the engine's observer: counts, and hands completed invocations to the tracer
histogram.py   counts in buckets                     exposition.py  the text of /metrics, and its route
trace_ids.py   traceparents and span ids             spans.py       spans of a journal; without OpenTelemetry
agents.py      model calls, tools and handoffs       tracing.py     sends spans to a collector, each once
exporting.py   OpenTelemetry's SDK (extra `otel`)    sent.py        remembers the invocations already sent
"""

from rewake.telemetry.exposition import metrics_route
from rewake.telemetry.telemetry import Telemetry

__all__ = ["Telemetry", "metrics_route"]
