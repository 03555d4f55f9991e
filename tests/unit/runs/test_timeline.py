"""Steps to a picture: scales, gaps, attempts."""

from __future__ import annotations

import pytest
from tests.unit.runs.written import invocation

from rewake.core.ids import InvocationId
from rewake.core.model import Invocation, Status, Target
from rewake.protocol.discovery import HandlerKind, ServiceType
from rewake.protocol.messages import MessageType
from rewake.runs.facts import EventFact
from rewake.runs.steps import Step
from rewake.runs.timeline import (
    PAUSES_MAX,
    WIDTH,
    AttemptSpan,
    Bar,
    Scale,
    attempts_of,
    overview,
    standstills_of,
    waiting_stretches,
)


def step(start_ms: int, end_ms: int | None, kind: str = "step", index: int = 0) -> Step:
    type_ = MessageType.SLEEP if kind == "sleep" else MessageType.RUN
    return Step(index=index, ordinal=index, type=type_, kind=kind, name="", title="", start_ms=start_ms, end_ms=end_ms)


def test_a_linear_scale() -> None:
    scale = Scale(1_000, 2_000)
    assert [scale.x(at) for at in (0, 1_000, 1_250, 2_000, 9_999)] == [0, 0, 250, WIDTH, WIDTH]
    assert scale.bar(1_500, 1_750, "step") == Bar(500, 250, "step")
    assert scale.bar(1_500, None, "step").width == 500
    assert scale.bar(2_000, 2_000, "step") == Bar(997, 3, "step")
    assert [tick.after_ms for tick in scale.ticks()] == [0, 200, 400, 600, 800, 1_000]


def test_a_moment_is_a_scale_too() -> None:
    assert Scale(5, 5).x(5) == 0


def test_waiting_shrinks() -> None:
    """Two days of sleep between two steps of 100 ms leave most of the width to the steps."""
    day_ms = 86_400_000
    steps = [step(0, 100), step(100, 2 * day_ms, "sleep"), step(2 * day_ms, 2 * day_ms + 100)]
    gaps = waiting_stretches(steps, 0, 2 * day_ms + 100)
    assert gaps == [(100, 2 * day_ms)]
    scale = Scale(0, 2 * day_ms + 100, gaps)
    assert scale.bar(0, 100, "step").width == 480
    assert scale.bar(*gaps[0], "gap").width == 40
    assert scale.x(2 * day_ms + 100) == WIDTH


def test_work_is_no_gap() -> None:
    assert waiting_stretches([step(0, 90_000)], 0, 100_000) == []
    assert waiting_stretches([step(0, None)], 0, 100_000) == []


@pytest.mark.parametrize("ended_at_ms", [None, 900])
def test_attempts(ended_at_ms: int | None) -> None:
    """Each failure ends one; the next begins with the next entry."""
    failures = [EventFact(1, 100, "TransientError", {"error_message": "no", "related_command_name": "x"})]
    failures.append(EventFact(1, 400, "TransientError", {}))
    scale = Scale(0, 1_000)
    made = attempts_of(
        failures,
        [step(10, 50), step(300, 500), step(600, 700)],
        scale,
        running_at_ms=0,
        last_start_at_ms=550,
        ended_at_ms=ended_at_ms,
    )
    assert [(item.start_ms, item.end_ms, item.error) for item in made] == [
        (0, 100, "no"),
        (300, 400, "failed"),
        (550, ended_at_ms or 1_000, None),
    ]


def test_an_overview_has_few_bars() -> None:
    steps = [step(at, at + 1, index=at) for at in range(10_000)]
    assert len(overview(steps, Scale(0, 10_000))) == 1


def test_what_happens_between_attempts() -> None:
    """The delay of a retry, and stretches in which an attempt did nothing but wait."""
    failure = EventFact(1, 1_000, "TransientError", {"error_stacktrace": '  File "a/b.py", line 3, in f\n'})
    steps = [step(0, 500), step(5_000, 5_100), step(5_100, 50_000, "sleep"), step(50_000, 50_100)]
    scale = Scale(0, 100_000)
    first, second = attempts_of([failure], steps, scale, running_at_ms=0, last_start_at_ms=5_000, ended_at_ms=50_100)
    assert (first.delay, first.delay_ms) == (Bar(10, 40, "delay"), 4_000)
    assert first.source is not None
    assert (first.source.file, first.source.line) == ("a/b.py", 3)
    assert (second.delay, second.source) == (None, None)
    assert second.quiet == [Bar(51, 449, "quiet")]
    (only,) = attempts_of([failure], steps[:1], scale, running_at_ms=0, last_start_at_ms=None, ended_at_ms=None)
    assert only.delay_ms == 99_000


@pytest.mark.parametrize(
    ("status", "next_retry_at_ms", "standstill"),
    [(Status.SUSPENDED, None, "suspended"), (Status.PAUSED, None, "paused"), (Status.INVOKED, 2_000, "backing-off"),
     (Status.INVOKED, 900, None), (Status.INVOKED, None, None), (Status.COMPLETED, None, None)],
)  # fmt: skip
def test_why_nothing_runs(status: Status, next_retry_at_ms: int | None, standstill: str | None) -> None:
    target = Target("S", "h", None, ServiceType.SERVICE, HandlerKind.PLAIN)
    invocation = Invocation(
        id=InvocationId(b"x"),
        target=target,
        status=status,
        created_at_ms=0,
        modified_at_ms=600,
        next_retry_at_ms=next_retry_at_ms,
    )
    scale = Scale(0, 1_000)
    attempt = AttemptSpan(number=1, start_ms=0, end_ms=600, error="no", step=None, bar=scale.bar(0, 600, ""))
    found = standstills_of(invocation, [], [], [attempt], scale)
    assert [item.status for item in found] == ([standstill] if standstill else [])
    for item in found:
        assert (item.start_ms, item.end_ms, item.until_ms, item.is_over) == (600, 1_000, next_retry_at_ms, False)
        assert item.bar == Bar(600, 400, "standstill")
    if status is not Status.COMPLETED:
        return
    pauses = [EventFact(1, at_ms, "Paused", {}) for at_ms in (100, 500)]
    over = standstills_of(invocation, pauses, [step(300, 700)], [attempt], scale)
    assert [(item.start_ms, item.end_ms, item.is_over) for item in over] == [(100, 300, True), (500, 700, True)]


def test_the_last_pauses_are_shown() -> None:
    pauses = [EventFact(0, at_ms, "Paused", {}) for at_ms in range(100, 100 + 10 * (PAUSES_MAX + 1), 10)]
    shown = standstills_of(invocation(), pauses, [], [], Scale(0, 1_000))
    assert [each.start_ms for each in shown] == [event.at_ms for event in pauses[1:]]
