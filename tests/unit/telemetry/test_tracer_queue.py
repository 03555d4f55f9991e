"""What waits for a collector that does not answer: bounded in number, and without payloads."""

from __future__ import annotations

import sys
from pathlib import Path

from rewake.core.ids import InvocationId
from rewake.core.model import Invocation, Status, Target
from rewake.protocol.discovery import HandlerKind, ServiceType
from rewake.protocol.messages import Success
from rewake.telemetry import tracing
from rewake.telemetry.spans import Span
from rewake.telemetry.tracing import QUEUE_MAX, Tracer


class NoSender:
    def is_sampled(self, trace_id: str) -> bool:
        return True

    def send(self, spans: list[Span]) -> bool:
        return False

    def close(self) -> None:
        pass


def completed(result: Success) -> Invocation:
    return Invocation(
        id=InvocationId(bytes(24)),
        target=Target("Desk", "ask", None, ServiceType.SERVICE, HandlerKind.SHARED),
        status=Status.COMPLETED,
        created_at_ms=1,
        modified_at_ms=2,
        result=result,
    )


def test_results_are_not_kept_for_the_collector(tmp_path: Path) -> None:
    tracer = Tracer(tmp_path, NoSender())
    content = bytes(1 << 20)
    before = sys.getrefcount(content)
    tracer.add(completed(Success(content)))
    assert sys.getrefcount(content) == before
    assert tracer.waiting_count == 1


def test_what_is_beyond_the_limit_is_counted_as_dropped(tmp_path: Path) -> None:
    tracer = Tracer(tmp_path, NoSender())
    for _ in range(QUEUE_MAX + 3):
        tracer.add(completed(tracing._DONE))
    assert tracer.waiting_count == QUEUE_MAX
    assert tracer.span_counts() == {"sent": 0, "dropped": 3}
