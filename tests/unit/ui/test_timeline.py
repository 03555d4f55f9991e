"""Steps to a picture: scales, gaps, attempts."""

from __future__ import annotations

import pytest

from rewake.protocol.messages import MessageType
from rewake.ui.reading import EventFact
from rewake.ui.steps import Step
from rewake.ui.timeline import WIDTH, Bar, Scale, attempts_of, overview, waiting_stretches


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
