"""Points in time in each printed form."""

from __future__ import annotations

import pytest

from rewake.timestamps import rfc3339_millis, rfc3339_nanos, rfc3339_offset


@pytest.mark.parametrize(
    ("at_ms", "shown"),
    [
        (0, "1970-01-01T00:00:00.000"),
        (1_795_353_290_978, "2026-11-22T13:14:50.978"),
        (1_795_353_290_007, "2026-11-22T13:14:50.007"),
        (2**62, "9999-12-31T23:59:59.999"),
    ],
)
def test_every_form(at_ms: int, shown: str) -> None:
    assert rfc3339_nanos(at_ms) == f"{shown}000000Z"
    assert rfc3339_millis(at_ms) == f"{shown}Z"
    assert rfc3339_offset(at_ms) == f"{shown}+00:00"
