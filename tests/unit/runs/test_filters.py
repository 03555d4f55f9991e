"""Filters of the list of runs: what an address asks for, and the address of a filter."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.datastructures import QueryParams

from rewake.runs.filters import RunFilter, filter_from


def test_filters_from_an_address() -> None:
    address = "service=A&status=failed&status=bad,paused&order=up&text=+x+&within=1w&since=now&as_of=x"
    assert filter_from(QueryParams(address)) == RunFilter(service="A", status=("paused", "failed"), text="x")


@pytest.mark.parametrize(
    ("address", "fields"),
    [
        ("agent=Car+desk&failure=503&waiting=person&within=24h&order=longest&as_of=12",
         {"agent": "Car desk", "failure": "503", "waiting": True, "within": "24h", "order": "longest", "as_of_ms": 12}),
        ("since=2026-11-22T18:00&until=2026-11-23", {"since": "2026-11-22T18:00", "until": "2026-11-23T23:59"}),
        ("since=2026-11-22T18:00:07%2B02:00&until=2026-11-23T00:00:59Z",
         {"since": "2026-11-22T16:00:07", "until": "2026-11-23T00:00"}),
        ("since=0001-01-01T00:00%2B14:00&until=9999-12-31T23:59-14:00", {}),
    ],
)  # fmt: skip
def test_a_filter_is_its_address(address: str, fields: dict[str, Any]) -> None:
    wanted = filter_from(QueryParams(address))
    assert wanted == RunFilter(**fields)
    assert filter_from(QueryParams(wanted.query())) == wanted
