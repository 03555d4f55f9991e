"""Histograms of whole numbers. A list of counters and a bisection: counting costs a third of a microsecond.

Bounds have the unit of the values; `scale` converts them to seconds in the text for Prometheus.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

RUN_MS: Final = (
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 1_800_000, 21_600_000,
    86_400_000,
)  # fmt: skip
ATTEMPT_MS: Final = RUN_MS[:15]
COMMIT_US: Final = (50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000)
ROWS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)


class Histogram:
    """Counts per bucket, and the sum of the values."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0

    def add(self, value: int) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: str, scale: int) -> Iterator[str]:
        """Lines in Prometheus' format: cumulative buckets, then sum and count. labels: `a="b"` or empty."""
        before = f"{labels}," if labels else ""
        count = 0
        for bound, here in zip(self.bounds, self.counts, strict=False):
            count += here
            yield f'{name}_bucket{{{before}le="{bound / scale:g}"}} {count}'
        count += self.counts[-1]
        yield f'{name}_bucket{{{before}le="+Inf"}} {count}'
        braced = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{braced} {self.total / scale:.10g}"
        yield f"{name}_count{braced} {count}"
