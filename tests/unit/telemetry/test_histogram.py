"""Histograms: where values fall, and the text they become."""

from __future__ import annotations

from rewake.telemetry.histogram import Histogram


def test_a_bound_belongs_to_its_bucket_and_buckets_add_up() -> None:
    histogram = Histogram((10, 100, 1_000))
    for value in (0, 10, 11, 100, 5_000):
        histogram.add(value)
    assert list(histogram.lines("run_seconds", 'service="S"', 1_000)) == [
        'run_seconds_bucket{service="S",le="0.01"} 2',
        'run_seconds_bucket{service="S",le="0.1"} 4',
        'run_seconds_bucket{service="S",le="1"} 4',
        'run_seconds_bucket{service="S",le="+Inf"} 5',
        'run_seconds_sum{service="S"} 5.121',
        'run_seconds_count{service="S"} 5',
    ]


def test_without_labels() -> None:
    lines = list(Histogram((1,)).lines("rows", "", 1))
    assert lines == ['rows_bucket{le="1"} 0', 'rows_bucket{le="+Inf"} 0', "rows_sum 0", "rows_count 0"]
