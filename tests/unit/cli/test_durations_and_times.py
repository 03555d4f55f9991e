"""How durations and times look, and how those of the tables are read."""

from __future__ import annotations

import pytest

from rewake.cli.durations import spoken_duration
from rewake.cli.times import at_ms, local_time


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_234, "1.2 s"),
        (250_000, "4 m 10 s"),
        (7_500_000, "2 h 5 m"),
        (90_000_000, "1 d 1 h"),
    ],
)
def test_spoken_duration(duration_ms: int, text: str) -> None:
    assert spoken_duration(duration_ms) == text


def test_times_are_read_with_any_number_of_decimals() -> None:
    assert at_ms("2026-11-22T13:14:50.978000000Z") == at_ms("2026-11-22T13:14:50.978Z") == 1_795_353_290_978
    assert at_ms("2026-11-22T13:14:50Z") == 1_795_353_290_000
    assert at_ms(None) is None


def test_local_time_has_milliseconds() -> None:
    assert local_time(1_795_353_290_078).endswith(":50.078")
