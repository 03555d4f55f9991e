"""A collector as telemetry sees it: a Sender, and the variables with its address. Does not import OpenTelemetry."""

from __future__ import annotations

from typing import Final, Protocol

from rewake.telemetry.spans import Span

ENDPOINT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Sender(Protocol):
    """Sends spans to a collector. `send` and `close` are called on the tracer's thread."""

    def is_sampled(self, trace_id: str) -> bool:
        """Whether a trace that begins here is recorded."""

    def send(self, spans: list[Span]) -> bool:
        """Send spans; False if the collector did not accept them. May take seconds, does not raise."""

    def close(self) -> None: ...
