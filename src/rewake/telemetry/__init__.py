"""Telemetry: what an engine did, as Prometheus metrics and as OpenTelemetry traces.

telemetry.py   the engine's observer: counts, and hands completed invocations to the tracer
histogram.py   counting into buckets                 exposition.py  the text of /metrics, and its route
trace_ids.py   traceparents and span ids             spans.py       a journal as spans; knows no OpenTelemetry
agents.py      model calls, tools and handoffs       tracing.py     spans to a collector, each once (extra `otel`)
exporting.py   OpenTelemetry's side of it            sent.py        what has been sent already
"""

from rewake.telemetry.exposition import metrics_route
from rewake.telemetry.telemetry import Telemetry

__all__ = ["Telemetry", "metrics_route"]
