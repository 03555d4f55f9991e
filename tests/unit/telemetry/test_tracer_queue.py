"""What waits for a collector that does not answer: bounded in number, and without payloads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import pytest

from rewake.core.ids import InvocationId
from rewake.core.model import Invocation, Status, Target
from rewake.protocol.discovery import HandlerKind, ServiceType
from rewake.protocol.messages import Success
from rewake.telemetry import tracing
from rewake.telemetry.sent import SentInvocations
from rewake.telemetry.spans import Span
from rewake.telemetry.tracing import MISSED_MAX, QUEUE_MAX, Tracer


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


def test_so_many_that_were_missed_are_sent_at_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(_: object, since_ms: int, limit: int) -> list[Invocation]:
        return [completed(Success(b""))] * limit if since_ms == 7 else []

    monkeypatch.setattr(tracing, "completed_since", found)
    tracer, sent, reading = Tracer(tmp_path, NoSender()), SentInvocations(tmp_path, 7), cast("Any", None)
    tracer._add_missed(reading, sent)
    assert tracer.waiting_count == MISSED_MAX
