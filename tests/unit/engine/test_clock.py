"""The clock: it hears when somebody sets the wall clock back, and only then."""

from __future__ import annotations

import time

import pytest

from rewake.engine.clock import SET_BACK_MS_MIN, Clock


def test_a_clock_that_is_set_back_is_heard_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wall_ms, steady_ms = [10_000_000], [5_000]
    heard: list[int] = []
    monkeypatch.setattr(time, "time_ns", lambda: wall_ms[0] * 1_000_000)
    monkeypatch.setattr(time, "monotonic_ns", lambda: steady_ms[0] * 1_000_000)
    clock = Clock(heard.append)
    for wall, steady in ((500, 500), (-SET_BACK_MS_MIN + 1, 0), (3_600_000, 0), (-3_600_000, 100), (0, 0)):
        wall_ms[0] += wall
        steady_ms[0] += steady
        assert clock.now_ms() == wall_ms[0]
    assert heard == [3_600_100]
