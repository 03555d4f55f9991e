"""Sends our spans to a collector with OpenTelemetry's SDK, over HTTP or gRPC.

Its exporters read the standard OTEL_* variables; an endpoint in Rewake's own settings overrides them. This module is
imported only when tracing is on, because the import takes a quarter of a second. Needs the extra `otel`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from rewake.errors import ErrorCode, RewakeError
from rewake.telemetry.collector import ENDPOINT_VARIABLES
from rewake.telemetry.spans import Span

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision
except ImportError as error:
    raise RewakeError(
        ErrorCode.EXTRA_MISSING,
        f"Traces need a package that is not installed: {error.name}.",
        "Install it: pip install 'rewake[otel]'",
    ) from error

PROTOCOL_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOLS: Final = ("grpc", "http/protobuf")
GRPC_PORT: Final = 4317
HTTP_PATH: Final = "/v1/traces"

_KINDS: Final = {
    "internal": trace.SpanKind.INTERNAL,
    "server": trace.SpanKind.SERVER,
    "client": trace.SpanKind.CLIENT,
    "producer": trace.SpanKind.PRODUCER,
}
_NS_PER_MS: Final = 1_000_000

logging.getLogger("opentelemetry").addHandler(logging.NullHandler())  # our own events report failures


class OtlpSender:
    """Sends to the collector at `endpoint`, or to the one in the environment."""

    def __init__(self, endpoint: str | None, version: str) -> None:
        self._exporter = _exporter(endpoint, os.environ)
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler  # reads OTEL_TRACES_SAMPLER
        self._ids = _GivenIds()
        self._ended = _Ended()
        provider = TracerProvider(
            sampler=ALWAYS_ON,  # spans that are not sampled never get here
            resource=_resource(),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer("rewake", version)

    def is_sampled(self, trace_id: str) -> bool:
        return self._sampler.should_sample(None, int(trace_id, 16), "").decision is Decision.RECORD_AND_SAMPLE

    def send(self, spans: list[Span]) -> bool:
        for span in spans:
            self._make(span)
        try:
            return self._exporter.export(self._ended.take()) is SpanExportResult.SUCCESS
        except Exception:  # noqa: BLE001  # whatever the library raises, the spans are kept and tried again
            return False

    def close(self) -> None:
        self._exporter.shutdown()

    def _make(self, span: Span) -> None:
        self._ids.trace_id, self._ids.span_id = int(span.trace_id, 16), int(span.span_id, 16)
        made = self._tracer.start_span(
            span.name,
            context=_parent(span),
            kind=_KINDS[span.kind],
            attributes=span.attributes,
            start_time=span.start_ms * _NS_PER_MS,
        )
        for event in span.events:
            made.add_event(event.name, event.attributes, event.at_ms * _NS_PER_MS)
        if span.error is not None:
            made.set_status(trace.StatusCode.ERROR, span.error)
        made.end(span.end_ms * _NS_PER_MS)


def _parent(span: Span) -> Context:
    if span.parent_id is None:
        return Context()
    parent = trace.SpanContext(
        int(span.trace_id, 16), int(span.parent_id, 16), is_remote=True, trace_flags=trace.TraceFlags.get_default()
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())


def _resource() -> Resource:
    """The resource from OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES; by default the service is `rewake`."""
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: "rewake"}))
    return found


def _exporter(endpoint: str | None, environ: Mapping[str, str]) -> SpanExporter:
    protocol = _protocol(endpoint, environ)
    try:
        if protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

            return GrpcExporter(endpoint=endpoint)
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

        return HttpExporter(endpoint=None if endpoint is None else http_url(endpoint))
    except ImportError as error:
        raise RewakeError(
            ErrorCode.EXTRA_MISSING,
            f"Traces over {protocol} need a package that is not installed: {error.name}.",
            "Install it: pip install 'rewake[otel]'",
        ) from error


def _protocol(endpoint: str | None, environ: Mapping[str, str]) -> str:
    """The environment's protocol, else gRPC for gRPC's own port and HTTP for any other. Raises RewakeError RW1004."""
    url = endpoint or next((environ[name] for name in ENDPOINT_VARIABLES if environ.get(name)), "")
    default = "grpc" if urlsplit(url).port == GRPC_PORT else "http/protobuf"
    protocol = next((environ[name] for name in PROTOCOL_VARIABLES if environ.get(name)), default)
    if protocol not in PROTOCOLS:
        message = f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}."
        raise RewakeError(ErrorCode.SETTING_INVALID, message, f"Use one of {', '.join(PROTOCOLS)}.")
    return protocol


def http_url(endpoint: str) -> str:
    """The URL for traces. An endpoint without a path is the collector's root."""
    return endpoint.rstrip("/") + HTTP_PATH if urlsplit(endpoint).path in ("", "/") else endpoint


class _GivenIds(IdGenerator):
    """Gives the next span the ids that were set."""

    trace_id = 1
    span_id = 1

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Ended(SpanProcessor):
    """Collects ended spans."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        spans, self._spans = self._spans, []
        return spans
