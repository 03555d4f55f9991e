"""A collector as telemetry sees it: what takes spans, and the variables that name it. Knows no OpenTelemetry."""

from __future__ import annotations

from typing import Final, Protocol

from rewake.telemetry.spans import Span

ENDPOINT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Sender(Protocol):
    """The way to a collector. `send` and `close` are called on the tracer's thread."""

    def is_sampled(self, trace_id: str) -> bool:
        """Whether a trace that begins here is recorded."""

    def send(self, spans: list[Span]) -> bool:
        """Hand spans over; False when they were not taken. May take seconds, does not raise."""

    def close(self) -> None: ...
