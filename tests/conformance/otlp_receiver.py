"""A collector for tests: takes traces over OTLP, HTTP or gRPC, on a port of its own, and keeps the spans it was sent.

`refuse` makes it answer that it is not available. The bytes are decoded with OpenTelemetry's own protobuf types, so
what is asserted is what a real collector would have seen.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc  # type: ignore[import-untyped]  # has no types
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services


class Received:
    """One span as it came in."""

    def __init__(self, span: Any, resource: dict[str, Any]) -> None:
        self.name: str = span.name
        self.trace_id: str = span.trace_id.hex()
        self.span_id: str = span.span_id.hex()
        self.parent_id: str = span.parent_span_id.hex()
        self.kind: int = span.kind
        self.start_ns: int = span.start_time_unix_nano
        self.end_ns: int = span.end_time_unix_nano
        self.status: tuple[int, str] = (span.status.code, span.status.message)
        self.attributes = _values(span.attributes)
        self.events = [(event.name, _values(event.attributes)) for event in span.events]
        self.resource = resource

    def __repr__(self) -> str:
        return f"<{self.name} {self.span_id} under {self.parent_id or 'nothing'}>"


class Collector:
    """What came in, in order; thread-safe enough to be read by a test."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.endpoint = ""
        self.refuse = False
        self.refused_count = 0

    def take(self, request: Any) -> None:
        for group in request.resource_spans:
            resource = _values(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += [Received(span, resource) for span in scope.spans]

    def named(self, name: str) -> Received:
        """The one span of that name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found


@contextmanager
def http_collector() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces", self.path
            if collector.refuse:
                collector.refused_count += 1
                self.send_response(400)  # not among the statuses that exporters try again by themselves
            else:
                collector.take(pb.ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    collector.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def grpc_collector() -> Iterator[Collector]:
    collector = Collector()

    class Servicer(services.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
            collector.take(request)
            return pb.ExportTraceServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    services.add_TraceServiceServicer_to_server(Servicer(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    collector.endpoint = f"http://127.0.0.1:{port}"
    try:
        yield collector
    finally:
        server.stop(None).wait()


def _values(attributes: Any) -> dict[str, Any]:
    return {item.key: _value(item.value) for item in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None
