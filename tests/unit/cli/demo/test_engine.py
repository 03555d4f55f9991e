"""When the demo gives up."""

from __future__ import annotations

import pytest

from rewake.cli.demo.engine import FAILURES_MAX, DemoEngine
from rewake.errors import ErrorCode, RewakeError


def test_attempts_may_fail_a_few_times() -> None:
    engine = object.__new__(DemoEngine)  # no process
    engine._failures = [{"message": f"reason {number}"} for number in range(FAILURES_MAX)]
    engine.check()
    engine._failures.append({"message": "the last reason"})
    with pytest.raises(RewakeError, match="the last reason") as caught:
        engine.check()
    assert caught.value.code is ErrorCode.DEMO_FAILED
