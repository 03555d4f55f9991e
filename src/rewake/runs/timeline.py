"""Steps as a picture to scale: one row with a bar for each step, and called runs below the step that called them.

Coordinates are thousandths of the width (0 to 1000), so the server can draw for any screen. The scale is linear, or
`work`: stretches of mere waiting shrink to a sliver, so a run that slept for two days still shows its milliseconds.
Attempts are worked out from failures and from the entries between them.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Final

import msgspec

from rewake.core.model import Invocation, Status
from rewake.runs.displays import WAITS
from rewake.runs.facts import EventFact
from rewake.runs.stacktrace import SourceLine, source_line
from rewake.runs.steps import Step

WIDTH: Final = 1_000
BAR_MIN: Final = 3
_GAP_SHARE: Final = 0.15
"""The `work` scale shrinks a stretch of waiting that is longer than this share of the rest."""

_GAPS_MAX: Final = 8
PAUSES_MAX: Final = 10
_QUIET_SHARE: Final = 0.02
_QUIET_MAX: Final = 40
_GAP_WIDTH: Final = 0.04
_TICKS: Final = 5


class Bar(msgspec.Struct, frozen=True):
    """A bar of a row. style: the kind of step, with `open` added until it is done."""

    x: int
    width: int
    style: str


class Tick(msgspec.Struct, frozen=True):
    x: int
    after_ms: int


class AttemptSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, as far as it is known. error: its failure; None if it did not fail.

    quiet: stretches of mere waiting, suspended if they were long.   source: the line that failed.
    delay, delay_ms: from its failure to the next attempt, or until now.
    """

    number: int
    start_ms: int
    end_ms: int
    error: str | None
    step: str | None
    bar: Bar
    source: SourceLine | None = None
    quiet: list[Bar] = []
    delay: Bar | None = None
    delay_ms: int = 0


class Standstill(msgspec.Struct, frozen=True):
    """A stretch without an attempt. status: the reason, `suspended`, `paused` or `backing-off`.

    until_ms: time of the next attempt.   is_over: the run has gone on since.
    """

    status: str
    start_ms: int
    end_ms: int
    bar: Bar
    until_ms: int | None = None
    is_over: bool = False


class Scale:
    """Converts times to places. gaps: (start_ms, end_ms) of stretches to shrink."""

    def __init__(self, start_ms: int, end_ms: int, gaps: list[tuple[int, int]] | None = None) -> None:
        self.start_ms = start_ms
        self.end_ms = max(end_ms, start_ms + 1)
        self.gaps = gaps or []
        edges = [self.start_ms]
        for gap in self.gaps:
            edges += gap
        edges.append(self.end_ms)
        busy_ms = sum(end - start for start, end in zip(edges[::2], edges[1::2], strict=True)) or 1
        share = max(1 - _GAP_WIDTH * len(self.gaps), 0.2)
        gap_width = (1 - share) / len(self.gaps) if self.gaps else 0.0
        self._edges, self._places = edges, [0.0]
        for number, (start, end) in enumerate(pairwise(edges)):
            width = gap_width if number % 2 else share * (end - start) / busy_ms
            self._places.append(self._places[-1] + width)

    def x(self, at_ms: float) -> int:
        """The place of a time, within the picture."""
        bounded = min(max(at_ms, self.start_ms), self.end_ms)
        part = min(bisect_right(self._edges, bounded), len(self._edges) - 1) - 1
        start, end = self._edges[part], self._edges[part + 1]
        inside = (bounded - start) / (end - start) if end > start else 0.0
        low, high = self._places[part], self._places[part + 1]
        return round(WIDTH * min(low + (high - low) * inside, 1.0))

    def bar(self, start_ms: int, end_ms: int | None, style: str) -> Bar:
        """A bar from start to end; without an end it reaches the edge."""
        left = self.x(start_ms)
        right = self.x(self.end_ms if end_ms is None else end_ms)
        width = max(right - left, BAR_MIN)
        return Bar(min(left, WIDTH - BAR_MIN), min(width, WIDTH - min(left, WIDTH - BAR_MIN)), style)

    def ticks(self) -> list[Tick]:
        """A few round times along the axis; on the `work` scale, the edges of the gaps."""
        if self.gaps:
            return [Tick(self.x(edge), edge - self.start_ms) for edge in self._edges[:-1:2]]
        span = self.end_ms - self.start_ms
        step = _round_step(span / _TICKS)
        return [Tick(self.x(self.start_ms + at), at) for at in range(0, span + 1, step)]

    def gap_bars(self) -> list[Bar]:
        return [self.bar(start, end, "gap") for start, end in self.gaps]


def waiting_stretches(
    steps: list[Step], start_ms: int, end_ms: int, share: float = _GAP_SHARE, count_max: int = _GAPS_MAX
) -> list[tuple[int, int]]:
    """Long stretches of mere waiting: no step runs, no entry is made. share: least length, as a part of the whole."""
    moments = {start_ms, end_ms}
    working: list[tuple[int, int]] = []
    for step in steps:
        moments.add(step.start_ms)
        if step.end_ms is not None:
            moments.add(step.end_ms)
        if step.kind not in WAITS and step.end_ms is not None and step.end_ms > step.start_ms:
            working.append((step.start_ms, step.end_ms))
        elif step.kind not in WAITS and step.end_ms is None:
            working.append((step.start_ms, end_ms))
    ordered = sorted(moment for moment in moments if start_ms <= moment <= end_ms)
    total_ms = max(end_ms - start_ms, 1)
    found = [
        (low, high)
        for low, high in pairwise(ordered)
        if high - low > total_ms * share and high - low > 1_000 and not _overlaps(working, low, high)
    ]
    return found[:count_max]


def _overlaps(spans: list[tuple[int, int]], low: int, high: int) -> bool:
    return any(start < high and end > low for start, end in spans)


def attempts_of(
    events: list[EventFact],
    steps: list[Step],
    scale: Scale,
    *,
    running_at_ms: int | None,
    last_start_at_ms: int | None,
    ended_at_ms: int | None,
) -> list[AttemptSpan]:
    """The attempts, computed from failures, entries and the last start."""
    if running_at_ms is None:
        return []
    end_ms = scale.end_ms if ended_at_ms is None else ended_at_ms
    spans = _attempts(events, steps, scale, running_at_ms, last_start_at_ms, end_ms)
    quiet = waiting_stretches(steps, running_at_ms, end_ms, _QUIET_SHARE, _QUIET_MAX)
    starts = [span.start_ms for span in spans[1:]] + [end_ms]
    return [_with_waits(span, next_ms, quiet, scale) for span, next_ms in zip(spans, starts, strict=True)]


def _with_waits(span: AttemptSpan, next_ms: int, quiet: list[tuple[int, int]], scale: Scale) -> AttemptSpan:
    inside = [(max(low, span.start_ms), min(high, span.end_ms)) for low, high in quiet]
    bars = [scale.bar(low, high, "quiet") for low, high in inside if low < high]
    if span.error is None or next_ms <= span.end_ms:
        return msgspec.structs.replace(span, quiet=bars)
    delay = scale.bar(span.end_ms, next_ms, "delay")
    return msgspec.structs.replace(span, quiet=bars, delay=delay, delay_ms=next_ms - span.end_ms)


def _attempts(
    events: list[EventFact],
    steps: list[Step],
    scale: Scale,
    running_at_ms: int,
    last_start_at_ms: int | None,
    end_ms: int,
) -> list[AttemptSpan]:
    failures = [event for event in events if event.kind == "TransientError"]
    starts = sorted(step.start_ms for step in steps)
    spans = []
    start_ms = running_at_ms
    for number, failure in enumerate(failures, 1):
        spans.append(_attempt(scale, number, start_ms, max(failure.at_ms, start_ms), failure))
        following = bisect_right(starts, failure.at_ms)
        next_ms = starts[following] if following < len(starts) else None
        if last_start_at_ms is not None and last_start_at_ms >= failure.at_ms:
            next_ms = min(next_ms, last_start_at_ms) if next_ms is not None else last_start_at_ms
        later = failures[number].at_ms if number < len(failures) else None
        if next_ms is None and later is None:
            return spans
        start_ms = min(value for value in (next_ms, later) if value is not None)
    spans.append(_attempt(scale, len(failures) + 1, start_ms, max(end_ms, start_ms), None))
    return spans


def _attempt(scale: Scale, number: int, start_ms: int, end_ms: int, failure: EventFact | None) -> AttemptSpan:
    data = {} if failure is None else failure.data
    return AttemptSpan(
        number=number,
        start_ms=start_ms,
        end_ms=end_ms,
        error=None if failure is None else str(data.get("error_message", "failed")),
        step=data.get("related_command_name"),
        source=source_line(str(data.get("error_stacktrace") or "")),
        bar=scale.bar(start_ms, end_ms, "attempt" if failure is None else "attempt failed"),
    )


def standstills_of(
    invocation: Invocation, events: list[EventFact], steps: list[Step], attempts: list[AttemptSpan], scale: Scale
) -> list[Standstill]:
    """Past pauses, and the reason why an open run makes no progress. A pause ends at the next entry or attempt."""
    pauses = [event.at_ms for event in events if event.kind == "Paused"]
    if invocation.status is Status.PAUSED:
        pauses = pauses[:-1]
    starts = [step.start_ms for step in steps] + [span.start_ms for span in attempts] + [scale.end_ms]
    starts += [step.end_ms for step in steps if step.end_ms is not None]
    starts += [invocation.last_start_at_ms] if invocation.last_start_at_ms is not None else []
    found = []
    for start_ms in pauses[-PAUSES_MAX:]:
        end_ms = min((at_ms for at_ms in starts if at_ms > start_ms), default=start_ms)
        bar = scale.bar(start_ms, end_ms, "standstill")
        found.append(Standstill("paused", start_ms, end_ms, bar, is_over=True))
    now = _standstill_now(invocation, attempts, scale)
    return found if now is None else [*found, now]


def _standstill_now(invocation: Invocation, attempts: list[AttemptSpan], scale: Scale) -> Standstill | None:
    match invocation.status:
        case Status.SUSPENDED | Status.PAUSED:
            status, start_ms = invocation.status.name.lower(), invocation.modified_at_ms
        case Status.INVOKED if (invocation.next_retry_at_ms or 0) > scale.end_ms:
            status, start_ms = "backing-off", attempts[-1].end_ms if attempts else invocation.modified_at_ms
        case _:
            return None
    bar = scale.bar(start_ms, None, "standstill")
    return Standstill(status, start_ms, scale.end_ms, bar, invocation.next_retry_at_ms)


def overview(steps: list[Step], scale: Scale) -> list[Bar]:
    """All steps of a long run as few bars: touching neighbours of one kind become one bar."""
    lanes: dict[str, list[Bar]] = {}
    for step in steps:
        bar = scale.bar(step.start_ms, step.end_ms, "failed" if step.is_failure else step.kind)
        lane = lanes.setdefault(bar.style, [])
        if lane and bar.x <= lane[-1].x + lane[-1].width:
            last = lane[-1]
            lane[-1] = Bar(last.x, max(last.width, bar.x + bar.width - last.x), bar.style)
        else:
            lane.append(bar)
    return [bar for lane in lanes.values() for bar in lane]


def _round_step(raw_ms: float) -> int:
    for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000,
                 300_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 43_200_000, 86_400_000):  # fmt: skip
        if step >= raw_ms:
            return step
    return int(raw_ms // 86_400_000 + 1) * 86_400_000
